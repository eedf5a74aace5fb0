"""Compiled training: the same arithmetic, once for all seeds, its time apart, and said in the run's record."""

import shutil

import pytest
import torch

from ood_core import compilation, study, train
from ood_core.checks import InputError
from ood_core.store import FileCheckpoints
from tests.made_page import changed
from tests.spine import images, recipe


class Counting:
    """A backend that compiles nothing and counts what it is asked to compile."""

    def __init__(self):
        self.count = 0

    def __call__(self, module, _inputs):
        self.count += 1
        return module.forward


@pytest.fixture
def backend(monkeypatch):
    torch._dynamo.reset()
    counting = Counting()
    monkeypatch.setattr(compilation, "BACKEND", counting)
    yield counting
    torch._dynamo.reset()


def same(a, b):
    a, b = a.network.state_dict(), b.network.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


CASES = {
    "cross-entropy": {},
    "bfloat16": {"precision": "bfloat16"},
    "composite": {"head": {"name": "dismax"}, "loss": {"composite": 1.0, "scale": 10}},
    "supcon": {"head": {"name": "projection"}, "loss": {"name": "supcon"}},
    "spectral": {"network": {"name": "resnet8", "width": 2, "spectral": 3.0}},
}


@pytest.mark.parametrize("case", CASES)
def test_it_compiles_before_training_alone_and_nothing_of_that_is_left(backend, monkeypatch, case):
    """Where the backend runs each operation as it is, the bits are those of training without it."""
    made, compiled, before = recipe(**CASES[case]), train._compiled, []

    def counted(*given):
        found = compiled(*given)
        before.append(backend.count)
        return found

    monkeypatch.setattr(train, "_compiled", counted)
    plain = train.fit(made, 0, images())
    assert backend.count == 0
    assert plain.compile_seconds is None
    found = train.fit(made, 0, images(), compiled=True)
    assert before == [backend.count]
    assert backend.count > 0
    assert same(plain, found)
    assert plain.history == found.history
    assert found.compile_seconds > 0


def test_another_seed_finds_it_compiled(backend):
    first = train.fit(recipe(), 0, images(), compiled=True)
    count = backend.count
    second = train.fit(recipe(), 1, images(), compiled=True)
    other = train.fit(recipe(head={"name": "linear"}), 0, images(), compiled=True)  # the same backbone
    assert backend.count == count
    assert max(second.compile_seconds, other.compile_seconds) < first.compile_seconds / 2
    assert not same(first, second)
    assert same(second, train.fit(recipe(), 1, images()))
    train.fit(recipe(network={"name": "resnet8", "width": 3}), 0, images(), compiled=True)
    assert backend.count > count


def test_more_structures_than_torch_would_compile(backend):
    """Torch stops at eight by itself and goes on without."""
    for width in range(1, 12):
        count = backend.count
        train.fit(
            recipe(network={"name": "resnet8", "width": width}, schedule={"epochs": 1}), 0, images(16), compiled=True
        )
        assert backend.count > count


def test_a_run_of_which_a_part_was_compiled_says_so(backend, tmp_path):
    kept = FileCheckpoints(tmp_path / "c.safetensors")
    with pytest.raises(train.InterruptedTraining):
        train.fit(recipe(), 0, images(), checkpoints=kept, stop=lambda: True, compiled=True)
    spent = kept.load().compile_seconds
    assert spent > 0
    assert train.fit(recipe(), 0, images(), checkpoints=kept).compile_seconds == spent


def test_a_failure_is_said_with_a_way_out(monkeypatch):
    def broken(*_):
        raise RuntimeError("no such compiler")

    torch._dynamo.reset()
    monkeypatch.setattr(compilation, "BACKEND", broken)
    with pytest.raises(InputError, match=r"torch.compile failed .*no such compiler") as caught:
        train.fit(recipe(), 0, images(), compiled=True)
    assert "train without --compile" in str(caught.value)


def test_the_record_says_so_and_the_key_does_not(made, backend, monkeypatch, tmp_path):
    made(changed(record=[]))
    plain = study.run_or_load("made", seeds=1).stored["ce", 0]
    assert "compiled" not in plain.info["hardware"]
    assert "compile" not in plain.info["seconds"]
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "others"))
    found = study.run_or_load("made", seeds=1, compiled=True).stored["ce", 0]
    assert found.key == plain.key
    assert found.info["hardware"]["compiled"] is True
    assert found.info["seconds"]["compile"] > 0
    assert found.info["files"]["model.safetensors"] == plain.info["files"]["model.safetensors"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU, and g++ is not here")
def test_the_real_backend_trains_to_the_same_up_to_rounding():
    torch._dynamo.reset()
    made = recipe(schedule={"epochs": 2}, optimiser={"batch": 16, "lr": 0.01})
    plain, found = (train.fit(made, 0, images(), compiled=compiled) for compiled in (False, True))
    torch._dynamo.reset()
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(found.network.state_dict()[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert found.compile_seconds > found.seconds
