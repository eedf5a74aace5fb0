"""Products of bfloat16 by float32 kernels: what the rounded operands give in float64, and nothing else touched."""

import pytest
import torch
import torch.nn.functional as F

from ood_core import bfloat16, precision, study, train
from tests.made_page import changed
from tests.spine import images, recipe

CPU = torch.device("cpu")
ULP = 2.0**-8  # two neighbours differ by at most this share


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(precision, "fast_bfloat16", lambda: False)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def convolution(x, w):
    return F.conv2d(x, w, stride=2, padding=1)


def linear(x, w):
    return F.linear(x, w, bias=w.flatten()[: len(w)])


CASES = {"convolution": (convolution, (8, 6, 9, 9), (5, 6, 3, 3)), "linear": (linear, (8, 40), (5, 40))}


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_rounded_operands(case, monkeypatch):
    product, *shapes = CASES[case]
    taken, rounded = [], bfloat16._rounded
    monkeypatch.setattr(bfloat16, "_rounded", lambda value: (taken.append(value), rounded(value))[1])
    operands = [drawn(*shape).requires_grad_() for shape in shapes]
    exact = [x.detach().bfloat16().double().requires_grad_() for x in operands]
    with bfloat16.autocast(CPU):
        made = product(*operands)
    assert taken, "else these are the kernels of bfloat16"
    expected = product(*exact)
    onward = drawn(*made.shape).bfloat16()
    made.backward(onward)
    expected.backward(onward.double())
    assert made.dtype == torch.bfloat16
    for found, wanted in [(made, expected), *((x.grad, y.grad) for x, y in zip(operands, exact, strict=True))]:
        torch.testing.assert_close(found.double(), wanted, rtol=ULP, atol=1e-2 * ULP)
        # unrounded operands give other digits almost everywhere
        assert (found.detach().bfloat16() == wanted.detach().bfloat16()).float().mean() > 0.97
    assert all(x.grad.dtype == torch.float32 for x in operands)


@pytest.mark.usefixtures("slow")
def test_what_asks_for_its_own_precision_keeps_it():
    x, w = drawn(4, 30), drawn(3, 30)
    plain = F.linear(x, w)
    with bfloat16.autocast(CPU):
        with torch.autocast("cpu", enabled=False):
            assert torch.equal(F.linear(x, w), plain)
        assert (x @ w.T).dtype == torch.bfloat16  # products of other names: autocast alone
    with bfloat16.autocast(CPU, enabled=False):
        assert torch.equal(F.linear(x, w), plain)
    assert torch.equal(F.linear(x, w), plain)


def test_fast_processors_use_their_own(monkeypatch):
    monkeypatch.setattr(bfloat16, "_Float32Kernels", None)  # would fail if entered
    monkeypatch.setattr(precision, "fast_bfloat16", lambda: True)
    with bfloat16.autocast(CPU):
        assert F.linear(drawn(4, 30), drawn(3, 30)).dtype == torch.bfloat16
    monkeypatch.setattr(precision, "fast_bfloat16", lambda: False)
    with bfloat16.autocast(CPU, enabled=False):  # nor does float32 pay for being watched
        assert F.linear(drawn(4, 30), drawn(3, 30)).dtype == torch.float32


def test_training_is_the_same_up_to_rounding(monkeypatch):
    losses, taken, rounded = {}, [], bfloat16._rounded
    monkeypatch.setattr(bfloat16, "_rounded", lambda value: (taken.append(value), rounded(value))[1])
    for native in (True, False):
        monkeypatch.setattr(precision, "fast_bfloat16", lambda native=native: native)
        made = train.fit(recipe(precision="bfloat16", schedule={"epochs": 2}), 0, images(200))
        losses[native] = [row["loss"] for row in made.history]
        assert bool(taken) is not native
    assert losses[False] == pytest.approx(losses[True], rel=0.02)


@pytest.mark.parametrize("native", [True, False])
def test_the_record_says_which(made, monkeypatch, native):
    monkeypatch.setattr(precision, "fast_bfloat16", lambda: native)
    page = changed(record=[])
    page["scales"]["tiny"]["precision"] = "bfloat16"
    made(page)
    ran = study.run_or_load("made", seeds=1, jobs=1).stored["ce", 0]
    assert ran.info["hardware"]["bfloat16"] == ("native" if native else "float32 kernels")
