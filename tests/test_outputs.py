"""Outputs and heads: formulas on paper, refusals, and the names under which layers are found."""

import numpy as np
import pytest
import torch

from ood_core import Outputs
from ood_core.checks import InputError
from ood_core.outputs import RESERVED, Head, unit

H = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.0]])
W = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
B = torch.tensor([0.5, 0.0, -1.0])


def test_heads_by_hand():
    assert Head("linear", W, B).logits(H).tolist() == [[3.5, 8, 6], [0.5, 0, -1], [-0.5, 0, -2]]
    wanted = torch.tensor([[1.1, 1.6, 0.4], [0.5, 0, -1], [-0.5, 0, -2]])  # of (.6, .8), (0, 0), (-1, 0)
    assert torch.allclose(Head("unit", W, B).logits(H), wanted)
    assert Head("linear", W).logits(H).tolist() == [[3, 8, 7], [0, 0, 0], [-1, 0, -1]]
    distance = Head("distance", W, scale=2.0).logits(H)
    assert torch.allclose(distance[0], -2 * torch.tensor([20.0, 13.0, 13.0]).sqrt())
    on_the_sphere = Head("distance", W, normalized=True).logits(H)
    cosine = torch.tensor([0.6, 0.8, 1.4 / 2**0.5])
    assert torch.allclose(on_the_sphere[0], -(2 - 2 * cosine).sqrt())
    assert torch.allclose(on_the_sphere[1], torch.tensor(-1.0))  # the zero vector stays zero
    plus = Head("distance", torch.tensor([[0.0, 0.0], [3.0, 0.0]]), scale=2.0, plus_mean=True).logits(H)
    assert torch.allclose(plus[0], -torch.tensor([10.0 + 9, 8.0 + 9]))  # distances 5 and 4, twice, and their mean
    assert Head("linear", W).classes == 3


def test_distance_heads_keep_near_neighbours_apart():
    prototype = torch.full((1, 2), 1e4)
    near = prototype + torch.tensor([[0.0, 2.0**-8]])
    assert Head("distance", prototype).logits(near).item() == -(2.0**-8)


def test_heads_follow_the_features_type():
    head = Head("unit", W, B)
    for dtype in (torch.float32, torch.float64):
        assert head.logits(H.to(dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_unit_rows_of_half_precision_are_float32(dtype):
    h = torch.randn(200, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    h[0] = 0
    z, exact = unit(h), h.double() / h.double().norm(dim=1, keepdim=True).clamp(min=1e-12)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.double(), exact, rtol=3e-7, atol=0)
    assert Outputs(h).layer("unit").dtype == torch.float32
    for head in (Head("unit", torch.eye(64)), Head("distance", torch.eye(64), normalized=True)):
        assert head.logits(h).dtype == dtype, "logits stay in the features' type"


def test_unit_rows():
    assert torch.allclose(unit(H).norm(dim=1), torch.tensor([1.0, 0.0, 1.0]))
    assert torch.equal(unit(1e10 * H), unit(H))
    tiny = torch.tensor([[1e-15, 0.0]])
    assert torch.allclose(unit(tiny), tiny / 1e-12)  # the floor of the denominator, not a unit vector
    for dtype in (torch.float16, torch.bfloat16):  # float16 has no 1e-12
        assert unit(torch.zeros(2, 3, dtype=dtype)).tolist() == [[0, 0, 0]] * 2


def test_layers_by_name():
    outputs = Outputs(features=H, logits=W, head=Head("unit", W, B), layers={"block": torch.ones(3, 2, 4, 4)})
    assert outputs.layer() is outputs.features
    assert torch.equal(outputs.layer("unit"), unit(H))
    assert outputs.layer("logits") is outputs.logits
    assert torch.equal(outputs.layer("raw_logits"), Head("linear", W, B).logits(H))
    assert outputs.layer("block").shape == (3, 2, 4, 4)
    with pytest.raises(
        InputError, match=r"'pool' is not in these outputs, which hold: features, unit, logits, raw_log"
    ):
        outputs.layer("pool")


def test_layers_that_do_not_exist_are_not_made_up():
    for name in ("logits", "raw_logits"):
        with pytest.raises(InputError, match=rf"'{name}' is not in these outputs, which hold: features, unit\."):
            Outputs(features=H).layer(name)
    with pytest.raises(InputError, match="'raw_logits' is not"):  # a distance head has no W h + b
        Outputs(features=H, head=Head("distance", W)).layer("raw_logits")


def test_a_pair_is_a_linear_head():
    outputs = Outputs(features=H, head=(W, B))
    assert outputs.head.kind == "linear"
    assert torch.equal(outputs.layer("raw_logits"), Head("linear", W, B).logits(H))


def test_the_models_own_last_layer_is_a_linear_head():
    for layer in (torch.nn.Linear(2, 3), torch.nn.Linear(2, 3, bias=False)):
        head = Outputs(H, head=layer).head
        assert head.kind == "linear"
        assert not head.weight.requires_grad
        torch.testing.assert_close(head.logits(H), layer(H).detach())
    with pytest.raises(InputError, match=r"head is a Sequential, expected a Head, \(weight, bias\) or a Linear"):
        Outputs(H, head=torch.nn.Sequential())


def test_correct_rows_follow_from_logits_and_labels():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert Outputs(features=H, logits=logits, labels=[0, 1, 0]).correct.tolist() == [True, True, False]
    assert Outputs(features=H, logits=logits).correct is None
    assert Outputs(features=H, labels=[0, 1, 0]).correct is None
    given = np.array([False, True, True])
    assert Outputs(features=H, logits=logits, labels=[0, 1, 0], correct=given).correct.tolist() == given.tolist()


def test_rows_are_picked_in_every_field():
    outputs = Outputs(
        features=H,
        logits=W,
        labels=[0, 1, 2],
        head=(W, B),
        layers={"block": torch.arange(3.0)[:, None]},
        inputs=torch.arange(3)[:, None],
    )
    for index in (slice(1, 3), torch.tensor([False, True, True]), [1, 2], torch.tensor([1, 2])):
        part = outputs[index]
        assert len(part) == 2
        assert torch.equal(part.features, H[1:])
        assert torch.equal(part.logits, W[1:])
        assert part.labels.tolist() == [1, 2]
        assert part.layers["block"].tolist() == [[1], [2]]
        assert part.inputs.tolist() == [[1], [2]]
        assert part.correct.tolist() == outputs.correct[1:].tolist()
        assert part.head is outputs.head
    with pytest.raises(InputError, match=r"outputs\[i:i \+ 1\]"):
        outputs[1]
    with pytest.raises(InputError, match="at least one row"):
        outputs[3:]
    for index in (
        [True, False],
        [7],
        "features",
        slice("a", None),
        slice(None, None, 0),
        slice(None, None, -1.0),
        None,
    ):
        with pytest.raises(InputError, match=r"index is|expected \(N, D\)"):
            outputs[index]


def test_rows_are_picked_backwards_as_lists_do():
    outputs = Outputs(features=H, labels=[0, 1, 2], layers={"block": torch.arange(3.0)[:, None]})
    for index in (slice(None, None, -1), slice(None, 0, -2), slice(-1, -3, -1), slice(9, None, -1)):
        part = outputs[index]
        assert part.labels.tolist() == [0, 1, 2][index]
        assert part.layers["block"].flatten().tolist() == [0, 1, 2][index]
        assert part.features.tolist() == H.tolist()[index]
    with pytest.raises(InputError, match="at least one row"):
        outputs[0:2:-1]


def test_every_reserved_name_is_a_field_and_no_other_is():
    outputs = Outputs(features=H, logits=W, head=Head("unit", W, B))
    assert all(outputs.layer(name) is not None for name in RESERVED)
    with pytest.raises(InputError, match=rf"which hold: {', '.join(RESERVED)}\."):
        outputs.layer("projection")


def test_arrays_and_gradients_are_taken_as_plain_values():
    assert torch.equal(Outputs(features=H.numpy()).features, H)
    assert Outputs(features=H.half()).features.dtype == torch.float16
    images = Outputs(features=H, inputs=np.ones((3, 1, 8, 8)))
    assert images[:2].inputs.shape == (2, 1, 8, 8)
    assert not Outputs(features=H.clone().requires_grad_()).features.requires_grad


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"features": H[0]}, r"features has shape \(2,\), expected \(N, D\)"),
        ({"features": torch.ones(3, 2, 4, 4)}, r"Pool the spatial axes first"),
        ({"features": H[:0]}, "at least one row and column"),
        ({"features": H.long()}, "int64, expected a floating-point"),
        ({"features": H * torch.nan}, "NaN"),
        ({"features": None}, "features is a NoneType"),
        ({"logits": W[:2]}, r"logits has shape \(2, 2\), expected 3 rows"),
        ({"logits": W / 0}, "logits holds"),
        ({"labels": [0, 1]}, r"labels has shape \(2,\), expected \(3,\)"),
        ({"labels": [0.0, 1.0, 2.0]}, "expected integers"),
        ({"labels": [0, -1, 2]}, r"spans -1\.\.2, expected 0\.\.C-1"),
        ({"layers": {"block": torch.ones(2, 4)}}, r"layers\['block'\] has shape \(2, 4\), expected 3 rows"),
        ({"layers": [W]}, r"layers is a list, expected tensors by name\.\nPass a dictionary"),
        ({"layers": None}, "layers is a NoneType, expected tensors by name"),
        *(({"layers": {name: H}}, f"layers holds '{name}', expected other names than features") for name in RESERVED),
        ({"inputs": torch.ones(4, 1, 8, 8)}, r"inputs has shape \(4, 1, 8, 8\), expected 3 rows"),
        ({"correct": torch.tensor([True])}, "correct has shape"),
        ({"correct": torch.ones(3, 2, dtype=torch.bool)}, r"correct is torch\.bool with shape \(3, 2\), expected bool"),
        ({"correct": [1, 0, 1]}, r"correct is torch\.int64"),
        ({"head": (W, B[:2])}, "head bias has 2 entries, expected 3"),
        ({"features": H.to_sparse()}, r"features is torch.float32, torch.sparse_coo, on cpu, expected plain numbers"),
        ({"features": H.to("meta")}, r"features is .* on meta.*\nLoad meta tensors first"),
        ({"features": H.to(torch.float8_e4m3fn)}, r"features is torch.float8_e4m3fn.*\n.*\.float\(\)"),
        ({"logits": W.to("meta")}, "logits is"),
        ({"inputs": H.to(torch.float8_e5m2)}, "inputs is torch.float8_e5m2"),
        ({"layers": {"block": H.to_sparse()}}, r"layers\['block'\] is"),
        ({"head": (W.to("meta"), B)}, "head weight is"),
        ({"head": (W, B.to(torch.float8_e4m3fn))}, "head bias is"),
        ({"head": W}, r"head is a Tensor, expected a Head, \(weight, bias\)"),
        ({"head": (W.T, B[:2])}, "head weight has 3 columns, expected 2 as the features"),
    ],
)
def test_refusals(fields, reason):
    with pytest.raises(InputError, match=reason):
        Outputs(**{"features": H, **fields})


def test_heads_refuse_what_they_cannot_be():
    with pytest.raises(InputError, match="head kind is 'cosine', expected one of: linear, unit, distance"):
        Head("cosine", W)
    with pytest.raises(InputError, match="a distance head got a bias"):
        Head("distance", W, B)
    with pytest.raises(InputError, match="head weight holds"):
        Head("linear", W * torch.nan)
    with pytest.raises(InputError, match="3 columns, expected 2"):
        Head("linear", W).logits(torch.ones(4, 3))


def test_labels_of_an_ood_set_may_exceed_the_networks_classes():
    out = Outputs(H, logits=H[:, :2], labels=[0, 1, 99])
    assert out.labels.tolist() == [0, 1, 99]
    assert not out.correct[2]


def test_outputs_and_heads_compare_and_print_without_asking_their_numbers():
    head = Head("unit", W, B)
    outputs = Outputs(H, logits=head.logits(H), labels=[0, 1, 2], head=head, layers={"conv": torch.ones(3, 4, 2, 2)})
    twin = Outputs(H, logits=head.logits(H), labels=[0, 1, 2], head=head)
    assert outputs == outputs
    assert outputs != twin
    assert head != Head("unit", W, B)
    assert len({outputs, twin, head}) == 3
    assert repr(head) == "Head('unit', weight=(3, 2) float32, bias=(3,) float32)"
    assert repr(Head("distance", W, scale=2.0, plus_mean=True)) == (
        "Head('distance', weight=(3, 2) float32, scale=2.0, plus_mean=True)"
    )
    assert repr(outputs) == (
        "Outputs(features=(3, 2) float32, logits=(3, 3) float32, labels=(3,) int64, correct=(3,) bool, "
        f"head={head!r}, layers={{'conv': (3, 4, 2, 2) float32}})"
    )
    assert repr(Outputs(H.half())) == "Outputs(features=(3, 2) float16)"
