"""The loop: the schedule by hand, bits that repeat, resume that equals no interruption, a clear stop on NaN."""

import dataclasses
import math
import time

import pytest
import torch

from ood_core import train
from ood_core.checks import InputError
from ood_core.recipes.schema import Schedule
from ood_core.store import FileCheckpoints
from tests.spine import images, recipe


def weights(trained):
    return {name: value.clone() for name, value in trained.network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns():
    found = train.fit(recipe(schedule={"epochs": 12}), 0, images(200))
    assert found.history[-1]["accuracy"] > 0.9 > found.history[0]["accuracy"]
    assert found.history[-1]["loss"] < found.history[0]["loss"]
    assert not found.network.training


@pytest.mark.parametrize("head", ["l2", "isomax_plus"])
def test_one_step_by_hand(head):
    """One epoch of one batch: weight decay, on prototypes and scales too, and learning rate as SGD defines them."""
    from ood_core.networks import network

    made = recipe(
        data={"id_set": "digits"},
        head={"name": head},
        optimiser={"batch": 48, "lr": 0.05, "weight_decay": 0.01},
        schedule={"epochs": 1},
    )
    data = images(48)
    before = network(made, data, 0, torch.device("cpu"))
    before.train()
    x, y = before.prepare(torch.from_numpy(data.images)), torch.from_numpy(data.labels)
    torch.nn.functional.cross_entropy(before(x), y).backward()
    after = train.fit(made, 0, data).network
    for (name, p), (_, q) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        expected = p - 0.05 * (p.grad + 0.01 * p)
        torch.testing.assert_close(q, expected, rtol=1e-4, atol=1e-6, msg=name)


def test_same_seed_same_bits_other_seed_other_bits():
    first, again, other = (train.fit(recipe(), seed, images()) for seed in (0, 0, 1))
    assert same(weights(first), weights(again))
    assert first.history == again.history
    assert not same(weights(first), weights(other))


class Memory:
    """Checkpoints that keep every state."""

    def __init__(self):
        self.states = []

    def load(self):
        return self.states[-1] if self.states else None

    def save(self, state):
        self.states.append(state)


class Record(dict):
    """The head's weights by epoch."""

    def __call__(self, net, epoch):
        assert not net.training
        self[epoch] = float(net.head.weight.detach().sum())


LOSSES = [{}, {"loss": {"name": "collapse"}}, {"loss": {"name": "collapse"}, "head": {"name": "linear"}}]


@pytest.mark.parametrize("settings", LOSSES, ids=str)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_resume_equals_no_interruption(tmp_path, at, settings):
    made = recipe(evaluate={"record": [0.25, 0.5, 0.75]}, **settings)
    once, twice = Record(), Record()
    whole = train.fit(made, 0, images(), record=once)
    asked = iter(range(1, 9))
    with pytest.raises(train.InterruptedTraining, match=f"after epoch {at} of 4"):
        train.fit(
            made,
            0,
            images(),
            record=twice,
            checkpoints=FileCheckpoints(tmp_path / "c.safetensors"),
            stop=lambda: next(asked) == at,
        )
    assert list(twice) == list(range(at + 1))
    resumed = train.fit(made, 0, images(), record=twice, checkpoints=FileCheckpoints(tmp_path / "c.safetensors"))
    assert same(weights(whole), weights(resumed))
    assert whole.history == resumed.history
    assert once == twice
    assert list(twice) == [0, 1, 2, 3, 4]


def test_checkpoints_come_by_time_and_not_after_the_last_epoch():
    memory = Memory()
    train.fit(recipe(), 0, images(), checkpoints=memory, checkpoint_seconds=0)
    assert [state.epoch for state in memory.states] == [1, 2, 3]
    memory = Memory()
    train.fit(recipe(), 0, images(), checkpoints=memory, checkpoint_seconds=1e9)
    assert memory.states == []


def test_listed_epochs_are_recorded_and_those_of_every_recipe():
    seen = Record()
    made = recipe(evaluate={"record": [0.25]}, schedule={"epochs": 12})
    train.fit(made, 0, images(), record=seen)
    assert list(seen) == made.kept_epochs() == [0, 2, 3, 4, 6, 8, 10, 12]
    assert made.recorded_epochs() == [0, 3, 12]


def test_every_epoch_has_an_order_of_its_own(monkeypatch):
    """Image by image, as the augmentation is asked for them: all once an epoch, never twice in the same order."""
    asked = []
    batch = train.Augmentation.batch
    monkeypatch.setattr(
        train.Augmentation, "batch", lambda self, index, *rest: asked.append(index.clone()) or batch(self, index, *rest)
    )
    train.fit(recipe(), 0, images(48))
    orders = torch.cat(asked).reshape(4, 48).tolist()
    assert all(sorted(order) == list(range(48)) for order in orders)
    assert len(set(map(tuple, orders))) == 4


def test_recording_does_not_change_training():
    made = recipe(evaluate={"record": [0.5]})
    assert same(weights(train.fit(made, 0, images(), record=Record())), weights(train.fit(made, 0, images())))


def test_seconds_are_of_training_alone_and_go_on_after_a_resume(tmp_path):
    made, kept = recipe(evaluate={"record": [0.5]}), FileCheckpoints(tmp_path / "c.safetensors")

    def slow(_net, _epoch):
        time.sleep(1.5)

    found = train.fit(made, 0, images(), record=slow)
    assert 0 < found.seconds < 1.5
    assert found.cpu_seconds > 0
    with pytest.raises(train.InterruptedTraining):
        train.fit(made, 0, images(), checkpoints=kept, stop=lambda: True)
    kept.save(dataclasses.replace(kept.load(), seconds=100.0, cpu_seconds=50.0))
    resumed = train.fit(made, 0, images(), checkpoints=kept)
    assert 100 < resumed.seconds < 110
    assert 50 < resumed.cpu_seconds < 60


def test_a_shorter_last_batch_is_left_out():
    """50 images in batches of 16 are 3 steps: the rate of the last step says so."""
    history = train.fit(recipe(schedule={"epochs": 2}), 0, images(50)).history
    assert history[-1]["lr"] == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 5 / 6)))


def test_no_epochs_is_the_start():
    seen = Record()
    assert train.fit(recipe(schedule={"epochs": 0}), 0, images(), record=seen).history == []
    assert list(seen) == [0]


def test_nan_stops_with_advice():
    with pytest.raises(train.TrainingError, match="expected a finite number") as caught:
        train.fit(recipe(head={"name": "linear"}, optimiser={"batch": 16, "lr": 1e30}), 0, images())
    assert "Lower optimiser.lr (now 1e+30)" in str(caught.value)


def test_a_finite_loss_that_runs_away_stops_in_its_first_epoch():
    away = recipe(head={"name": "linear"}, optimiser={"batch": 16, "lr": 1e3})
    with pytest.raises(train.TrainingError, match="after epoch 1, expected a finite number of at most") as caught:
        train.fit(away, 0, images(160))
    assert "10 times what it began with" in str(caught.value)
    few = away.model_copy(update={"schedule": away.schedule.model_copy(update={"epochs": 1, "warmup_epochs": 0.0})})
    assert train.fit(few, 0, images(48)).history[0]["loss"] > 100, "of three steps the second may be as high"


def test_a_loss_that_runs_away_later_is_measured_by_the_first_epoch(monkeypatch):
    told = iter([2.0, 19.0, 21.0])

    def epoch(*arguments):
        return {"epoch": arguments[-1], "loss": next(told), "accuracy": 0.5, "lr": 0.1}, 2.5

    monkeypatch.setattr(train, "_epoch", epoch)
    with pytest.raises(train.TrainingError, match="is 21 after epoch 3, expected a finite number of at most 20"):
        train.fit(recipe(schedule={"epochs": 4}), 0, images())


def test_a_loss_near_zero_may_grow(monkeypatch):
    told = iter([1e-9, 1e-3])
    monkeypatch.setattr(train, "_epoch", lambda *_: ({"epoch": 1, "loss": next(told), "accuracy": 1, "lr": 0.1}, 1e-9))
    assert len(train.fit(recipe(schedule={"epochs": 2}), 0, images()).history) == 2


def test_refusals():
    with pytest.raises(InputError, match="has 10 images, expected at least one batch of 16"):
        train.fit(recipe(), 0, images(10))
    with pytest.raises(InputError, match="has no labels"):
        train.fit(recipe(), 0, dataclasses.replace(images(), labels=None))


def test_bfloat16_trains_in_float32_weights():
    found = train.fit(recipe(precision="bfloat16"), 0, images())
    assert {p.dtype for p in found.network.parameters()} == {torch.float32}
    assert math.isfinite(found.history[-1]["loss"])


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        (Schedule(epochs=10), 0, 0.1),
        (Schedule(epochs=10), 50, 0.05),
        (Schedule(epochs=10), 99, 0.1 * 0.5 * (1 + math.cos(math.pi * 0.99))),
        (Schedule(epochs=10, warmup_epochs=1), 0, 0.01),
        (Schedule(epochs=10, warmup_epochs=1), 9, 0.1),
        (Schedule(epochs=10, warmup_epochs=1), 10, 0.1),
        (Schedule(epochs=350, name="step"), 1499, 0.1),
        (Schedule(epochs=350, name="step"), 1500, 0.01),
        (Schedule(epochs=350, name="step"), 2499, 0.01),
        (Schedule(epochs=350, name="step"), 2500, 0.001),
        (Schedule(epochs=60, name="step"), 259, 0.1),  # the papers' 150 and 250 of 350 are 26 and 43 of 60
        (Schedule(epochs=60, name="step"), 260, 0.01),
        (Schedule(epochs=60, name="step"), 430, 0.001),
    ],
)
def test_learning_rate_by_hand(schedule, step, expected):
    assert train.learning_rate(schedule, 0.1, step, 10) == pytest.approx(expected)


def test_steps_are_fused_and_keep_kernels_channels_last(monkeypatch, tmp_path):
    """Both save time and change no number, so that no other test would miss them; a resume keeps them as well."""
    seen, epoch = [], train._epoch
    monkeypatch.setattr(train, "_epoch", lambda *given: seen.append(given[2]) or epoch(*given))
    kept = FileCheckpoints(tmp_path / "c.safetensors")
    with pytest.raises(train.InterruptedTraining):
        train.fit(recipe(), 0, images(), checkpoints=kept, stop=lambda: True)
    train.fit(recipe(), 0, images(), checkpoints=kept)
    assert {optimiser.defaults["fused"] for optimiser in seen} == {True}
    for optimiser in seen:
        kernels = [p for p in optimiser.param_groups[0]["params"] if p.ndim == 4]
        both = [*kernels, *(optimiser.state[p]["momentum_buffer"] for p in kernels)]
        assert any(not p.is_contiguous() for p in both)
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in both)


def test_nesterov_is_another_path():
    plain = train.fit(recipe(), 0, images())
    nesterov = train.fit(recipe(optimiser={"batch": 16, "nesterov": True}), 0, images())
    assert not same(weights(plain), weights(nesterov))
