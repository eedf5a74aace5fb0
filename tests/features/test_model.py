"""The model of a pass: left as it was, watched through torch.compile, and refused where that cannot be."""

import pytest
import torch
from torch import nn

from ood_core import extract
from ood_core.checks import InputError
from tests.features.cases import Small
from tests.pretended_gpu import PretendedGPU, marked


class Split(Small):
    """Its last layer lies on the CPU, wherever the others are, and the features go there."""

    def forward(self, x):
        return self.fc(self.body(x).cpu())


class Loaded(nn.Linear):
    """Weights that are there only while it runs, as those of a model that is offloaded."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.kept = [(name, value.detach()) for name, value in self.named_parameters()]
        self.to("meta")

    def forward(self, x):
        return nn.functional.linear(x, **dict(self.kept))


def test_the_model_is_left_as_it_was(model, x):
    model.norm.eval()  # a mix of modes must come back as it was
    before = {name: value.clone() for name, value in model.state_dict().items()}
    extract(model, x, layers=["conv"])
    assert model.training
    assert not model.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_hooks_go_even_when_the_model_fails(model):
    with pytest.raises(InputError, match="failed on its first batch"):
        extract(model, torch.randn(2, 4, 6, 6))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.training


def places(model):
    return [(name, marked(value), value.is_meta) for name, value in model.state_dict().items()]


def test_a_model_over_several_devices_stays_over_them(model, x):
    expected = extract(model, x, layers=["conv"])
    split = Split()
    split.load_state_dict(model.state_dict())
    with PretendedGPU():
        for part in (split.conv, split.norm, split.hidden):
            part.to("cuda")
        before = places(split)
        out = extract(split, x, layers=["conv"])
        assert places(split) == before
        for device in ("cpu", "cuda"):
            with pytest.raises(InputError, match=r"tensors of Split lie on cuda:0 and cpu, expected all on one device"):
                extract(split, x, device=device)
        assert places(split) == before
        assert not any(marked(value) for value in (out.features, out.logits, out.layer("conv"), out.head.weight))
    for layer in ("features", "logits", "conv"):
        assert torch.equal(out.layer(layer), expected.layer(layer))
    assert torch.equal(out.head.weight, model.fc.weight)


def test_a_model_is_moved_to_the_device_and_back(model, x):
    expected = extract(model, x)
    with PretendedGPU():
        seen = []
        model.register_forward_pre_hook(lambda _, inputs: seen.append(marked(inputs[0])))
        out = extract(model, x, device="cuda")
        assert not any(on for _, on, _ in places(model))
        model.to("cuda")
        extract(model, x)
        extract(model, x, device="cpu")
        assert all(on for _, on, _ in places(model))
    assert seen == [True] * 4 + [False] * 2
    assert torch.equal(out.logits, expected.logits)


@pytest.mark.parametrize("part", ["fc", "all"])
def test_weights_that_are_there_only_while_they_run_are_left_where_they_are(part, x):
    class Early(nn.Sequential):
        """Its buffer says where it runs."""

        def __init__(self, *parts):
            super().__init__(*parts)
            self.register_buffer("mean", torch.zeros(()))

    first = nn.Linear(108, 7) if part == "fc" else Loaded(108, 7)
    net = Early(nn.Flatten(), first, nn.ReLU(), Loaded(7, 4))
    before = places(net)
    out = extract(net, x)
    with torch.no_grad():
        assert torch.equal(out.logits, net(x))
        assert torch.equal(out.features, net[:3](x))
    assert out.head is None
    assert places(net) == before
    with pytest.raises(InputError, match=r"device is 'cpu', and the tensors of Early lie on [\s\S]*Leave device out"):
        extract(net, x, device="cpu")
    assert places(net) == before


def test_weights_that_are_not_there_at_all_are_told(model, x):
    model.to("meta")
    with pytest.raises(InputError, match=r"Small failed on its first batch[\s\S]*conv.weight is on meta.*load the wei"):
        extract(model, x)
    with pytest.raises(InputError, match="the tensors of Small lie on meta, expected all on one device that holds"):
        extract(model, x, device="cpu")
    images = torch.nn.Sequential(nn.Flatten(), nn.Linear(108, 4, device="meta"))
    images.register_forward_pre_hook(lambda _, inputs: (inputs[0].to("meta"),))
    with pytest.raises(InputError, match=r"gave logits on the meta device, expected numbers: its weights are not load"):
        extract(images, x)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            lambda x: x[0],
            r"Small failed on its first batch, torch.float32 \(3, 6, 6\) on cpu \(\w+Error: .*\), expected images that "
            r"fit its parameters \(the first, conv.weight, is torch.float32 \(5, 3, 3, 3\) on cpu\).\n.*image\[None\]",
        ),
        (
            lambda x: x.double(),
            r"first batch, torch.float64 [\s\S]*images.to\(torch.float32\), or a model in torch.float64",
        ),
        (
            lambda x: x.numpy().astype(float),
            r'torch.float64 \(11, 3, 6, 6\)[\s\S]*Pass images.astype\("float32"\), or a model in torch.float64\.',
        ),
        (lambda x: [x.double()], r"Pass batches of torch.float32, or a model in torch.float64\."),
        (lambda x: x[:, :2], r"first batch, torch.float32 \(11, 2, 6, 6\)"),
    ],
    ids=["one image", "another type", "an array's own type", "batches", "channels"],
)
def test_images_in_another_form_are_told_with_what_the_model_has(model, x, images, message):
    with pytest.raises(InputError, match=message):
        extract(model, images(x))


def test_an_array_for_a_type_that_numpy_lacks(model, x):
    with pytest.raises(InputError, match=r"Pass torch.from_numpy\(images\).to\(torch.bfloat16\), or"):
        extract(model.bfloat16(), x.numpy())
    assert len(extract(model, torch.from_numpy(x.numpy()).to(torch.bfloat16))) == 11


def test_what_fails_after_the_first_batch_comes_as_it_is(model, x):
    with pytest.raises(RuntimeError, match="channels"):
        extract(model, [x, x[:, :2]])

    def full(*_):
        raise torch.OutOfMemoryError("no room")

    model.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        extract(model, x)


@pytest.fixture
def compiled(model, x):
    """Compiled and run: torch calls no hooks in it from then on."""
    made = torch.compile(model.eval(), backend="eager")
    with torch.no_grad():
        made(x)
    return made


def test_a_compiled_model_gives_what_it_gave_before(model, compiled, x):
    expected = extract(model, x, layers=["conv", "hidden"])
    out = extract(compiled, x, layers=["conv", "_orig_mod.hidden"])
    for name in ("features", "logits", "conv"):
        assert torch.equal(out.layer(name), expected.layer(name))
    assert torch.equal(out.layer("_orig_mod.hidden"), expected.layer("hidden"))
    assert torch.equal(extract(compiled, x, layer="conv").features, expected.layer("conv"))
    assert torch.equal(out.head.weight, model.fc.weight)
    assert not any(m._forward_hooks for m in model.modules())


def test_compiled_parts_show_their_layers(model, compiled, x):
    net = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (3, 6, 6)), compiled)
    out = extract(net, x, layers=["2._orig_mod.conv"])
    expected = extract(model, x, layers=["conv"])
    assert torch.equal(out.features, expected.features)
    assert torch.equal(out.layer("2._orig_mod.conv"), expected.layer("conv"))
    model.compile(backend="eager")
    with torch.no_grad():
        model(x)
    assert torch.equal(extract(model, x, layers=["conv"]).layer("conv"), expected.layer("conv"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("how", ["trace", "script"])
def test_what_torch_jit_made_is_refused_by_name(how):
    net, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(5, 4)
    made = torch.jit.trace(net, x) if how == "trace" else torch.jit.script(net)
    for given in ({}, {"layer": "1"}, {"layers": ["0"]}):
        with pytest.raises(
            InputError, match=r"model is a \w+ made by torch.jit[\s\S]*Pass the module that was traced or"
        ):
            extract(made, x, **given)
    with pytest.raises(InputError, match=r"Sequential ran no linear layer[\s\S]*What torch.jit made runs its layers"):
        extract(nn.Sequential(made), x)
    with pytest.raises(InputError, match=r"layer '0.1'"):
        extract(nn.Sequential(made), x, layer="0.1")
    assert extract(nn.Sequential(made, nn.Linear(3, 2)), x).features.shape == (5, 3)


@pytest.mark.parametrize("wrap", [lambda made: made, lambda made: nn.Sequential(made, nn.Linear(4, 2))])
def test_what_torch_export_made_is_refused_by_name(model, x, wrap):
    made = wrap(torch.export.export(model.eval(), (x,)).module())
    with pytest.raises(InputError, match=r"made by torch.export, which[\s\S]*Pass the module that was exported\."):
        extract(made, x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: extract(m.forward, x), "model is a method, expected a torch.nn.Module"),
        (lambda m, x: extract(Small, x), "model is the class Small, expected a torch.nn.Module"),
        (lambda m, x: extract(m, x, device="cuda:99"), "device is 'cuda:99', which torch cannot use"),
        (lambda m, x: extract(m, x, device="gpu"), "device is 'gpu', which torch cannot use"),
        (lambda m, x: extract(m, x, device="meta"), "device is 'meta', which holds no numbers"),
    ],
)
def test_refusals(model, x, call, message):
    with pytest.raises(InputError, match=message):
        call(model, x)
