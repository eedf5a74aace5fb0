"""Soft spectral normalisation against the singular values of the explicit matrix, in float64."""

import math

import pytest
import torch

from ood_core import networks, train
from ood_core.models.spectral import SpectralConv2d
from ood_core.rng import generator
from ood_core.store import FileCheckpoints
from tests.spine import images, recipe

CASES = [(3, 1, (4, 5)), (3, 2, (4, 5)), (3, 2, (5, 6)), (1, 1, (3, 3)), (1, 2, (4, 3)), (5, 2, (6, 6))]


def made(kernel, stride, size, bound=1e9, inputs=2, outputs=3, seed=0):
    conv = SpectralConv2d(inputs, outputs, kernel, stride, size, bound).double()
    conv.fill("weight", conv.weight, generator(seed, "init", "made"))
    return conv


def largest(conv, size):
    """The largest singular value of the convolution written out as a matrix, one unit image a column."""
    if conv.kernel_size[0] == 1:
        return float(torch.linalg.svdvals(conv.weight.detach()[:, :, 0, 0])[0])
    inputs = conv.in_channels * math.prod(size)
    basis = torch.eye(inputs, dtype=torch.float64).reshape(inputs, conv.in_channels, *size)
    matrix = torch.nn.functional.conv2d(basis, conv.weight.detach(), None, conv.stride, conv.padding).flatten(1).T
    return float(torch.linalg.svdvals(matrix)[0])


@pytest.mark.parametrize(("kernel", "stride", "size"), CASES)
def test_many_steps_reach_the_true_largest_singular_value(kernel, stride, size):
    conv = made(kernel, stride, size)
    first = float(conv.eval().sigma().detach())
    for _ in range(2000):  # the two largest lie close together in some cases
        conv.train().sigma()
    true = largest(conv, size)
    assert float(conv.eval().sigma().detach()) == pytest.approx(true, rel=1e-8)
    assert first < true * (1 - 1e-6)  # a random start is below it, so that the steps did something


@pytest.mark.parametrize(("kernel", "stride", "size"), CASES)
def test_one_step_is_one_product_with_the_matrix_and_its_transpose(kernel, stride, size):
    conv = made(kernel, stride, size)
    shape = conv.v.shape
    rows = conv.v.numel()
    basis = torch.eye(rows, dtype=torch.float64).reshape(rows, *shape[-3:])
    matrix = torch.stack([conv._along(one.reshape(shape)).detach().flatten() for one in basis]).T  # (outputs, inputs)
    u = conv.u.flatten().clone()
    v = matrix.T @ u / (matrix.T @ u).norm()
    u = matrix @ v / (matrix @ v).norm()
    found = float(conv.train().sigma().detach())
    assert found == pytest.approx(float(u @ matrix @ v), rel=1e-12)
    torch.testing.assert_close(conv.v.flatten(), v)
    torch.testing.assert_close(conv.u.flatten(), u)


def test_the_bound_is_soft():
    """Above the coefficient the operator comes down to it; below it the convolution is untouched to the bit."""
    size = (4, 4)
    tight, loose = made(3, 1, size, bound=0.5), made(3, 1, size, bound=100.0)
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    for conv in (tight, loose):
        for _ in range(2000):
            conv.train().sigma()
        conv.eval()
    true = largest(tight, size)
    assert true > 0.5
    plain = torch.nn.functional.conv2d(x, tight.weight, None, 1, 1)
    torch.testing.assert_close(tight(x), plain * 0.5 / true)
    assert torch.equal(loose(x), torch.nn.functional.conv2d(x, loose.weight, None, 1, 1))


def test_eval_mode_moves_nothing_and_training_mode_moves_the_vectors():
    conv = made(3, 1, (4, 4), bound=0.5)
    x, before = torch.randn(1, 2, 4, 4, dtype=torch.float64), (conv.u.clone(), conv.v.clone())
    assert torch.equal(conv.eval()(x), conv(x))
    assert torch.equal(conv.u, before[0])
    assert torch.equal(conv.v, before[1])
    conv.train()(x)
    assert not torch.equal(conv.u, before[0])
    assert not torch.equal(conv.v, before[1])
    assert float(conv.u.norm()) == pytest.approx(1)
    assert float(conv.v.norm()) == pytest.approx(1)


def test_gradients_flow_through_sigma_with_the_vectors_held():
    """Against finite differences of the output in eval mode, where the vectors stand still."""
    conv = made(3, 2, (4, 4), bound=0.5).eval()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)

    def output(weight):
        return torch.func.functional_call(conv, {"weight": weight}, x)

    assert torch.autograd.gradcheck(output, (conv.weight.detach().clone().requires_grad_(),))


def test_two_passes_may_wait_for_one_gradient():
    """A loss that passes two batches through the network before it looks back."""
    conv = made(3, 1, (4, 4), bound=0.5).train()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    (conv(x[:1]).sum() + conv(x[1:]).sum()).backward()
    assert torch.isfinite(conv.weight.grad).all()


def test_bfloat16_autocast_keeps_the_bound_in_float32():
    """The convolution runs in bfloat16, on a weight that was divided in float32 and rounded once."""
    conv = made(3, 1, (4, 4), bound=0.5).float().eval()
    x = torch.randn(2, 2, 4, 4).bfloat16()
    weight = (conv.weight / (conv.sigma() / 0.5)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, torch.nn.functional.conv2d(x, weight, None, 1, 1))


SETTINGS = {"name": "resnet8", "width": 2, "spectral": 0.5, "activation": "leaky_relu", "shortcut": "pool"}


def test_networks_start_from_the_weights_of_the_unbounded_one():
    plain = networks.network(recipe(), images(), 3, torch.device("cpu"))
    bounded = networks.network(recipe(network={**SETTINGS, "shortcut": "conv"}), images(), 3, torch.device("cpu"))
    again = networks.network(recipe(network={**SETTINGS, "shortcut": "conv"}), images(), 3, torch.device("cpu"))
    other = networks.network(recipe(network={**SETTINGS, "shortcut": "conv"}), images(), 4, torch.device("cpu"))
    for (name, a), (_, b) in zip(plain.named_parameters(), bounded.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert torch.equal(bounded.backbone.conv1.v, again.backbone.conv1.v)
    assert not torch.equal(bounded.backbone.conv1.v, other.backbone.conv1.v)


def test_resume_equals_no_interruption_with_the_vectors(tmp_path):
    wanted = recipe(network=SETTINGS)
    whole = train.fit(wanted, 0, images())
    asked = iter(range(1, 9))
    kept = FileCheckpoints(tmp_path / "c.safetensors")
    with pytest.raises(train.InterruptedTraining):
        train.fit(wanted, 0, images(), checkpoints=kept, stop=lambda: next(asked) == 2)
    resumed = train.fit(wanted, 0, images(), checkpoints=FileCheckpoints(tmp_path / "c.safetensors"))
    a, b = whole.network.state_dict(), resumed.network.state_dict()
    assert [name for name in a if name.endswith((".u", ".v"))]
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_bounds_every_convolution():
    """After training, the true norms are below the bound but for what one step of the optimiser adds."""
    bound = 0.5
    net = train.fit(recipe(network={**SETTINGS, "spectral": bound}, schedule={"epochs": 8}), 0, images()).network
    convs = [module for module in net.modules() if isinstance(module, SpectralConv2d)]
    assert len(convs) == 7  # stem and two in each of three blocks; pooled shortcuts have none
    for conv in convs:
        size = tuple(conv.v.shape[2:])
        true = largest(conv.double(), size)
        scale = max(1.0, float(conv.sigma().detach()) / bound)
        assert true / scale < 1.05 * bound or true < bound
