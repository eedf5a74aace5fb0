"""Times of one decision: which calls are made, in which order, and what is said of them."""

import math
import time

import pytest
import torch

from ood_core import scorers
from ood_core.measure import jobs, latency, rows
from ood_core.outputs import Outputs

from .test_posteriors import seen_by


def test_every_round_makes_all_calls_and_the_warm_up_is_left_out():
    told = []

    def works():
        told.append("works")
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass

    calls = {"sleeps": lambda: (told.append("sleeps"), time.sleep(0.05)), "works": works}
    seconds = latency.interleaved(calls, 3, 2, torch.device("cpu"))
    assert told == ["sleeps", "sleeps", "works", "works"] * 5  # each follows one of its own
    assert [len(times) for times in seconds.values()] == [3, 3]
    assert min(seconds["works"]) >= 0.02 > max(seconds["sleeps"])  # processor time: waiting costs nothing


def test_contenders_give_the_scores_they_are_named_after():
    net = seen_by().net
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    calls = latency.contenders(net, x)
    with torch.no_grad():
        logits = net(x)
    given = Outputs(logits, logits, inputs=x)
    for name, made in (("entropy", scorers.make("entropy")), ("odin", scorers.make("odin", model=net))):
        assert torch.equal(calls[name](), made.fit(given).score(given))
    softmax = calls["msp"]()
    assert softmax.shape == (6,)
    assert not torch.equal(softmax, scorers.make("msp").fit(given).score(given))  # under another head
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.head.formula().kind == "distance"


def test_rows_hold_medians_and_logs_of_their_ratios(monkeypatch):
    seen = seen_by(measures=["latency"])
    told = []

    def made_up(calls, rounds, warm_up, device):
        told.append((list(calls), rounds, device.type))
        return {"msp": [2.0, 1.0, 9.0], "entropy": [3.0, 4.0, 9.0], "odin": [8.0, 8.0, 9.0]}

    monkeypatch.setattr(latency, "interleaved", made_up)
    todo = [job for job in jobs(seen.recipe, seen.epoch) if job.measure == "latency"]
    found = rows(seen, todo, "key")
    assert told == [(["msp", "entropy", "odin"], latency.ROUNDS, "cpu")] * 2
    for protocol in ("batch 1", "batch 64"):
        own = {(r["scorer"], r["metric"]): r["value"] for r in found if r["protocol"] == protocol}
        assert own == {
            ("msp", "latency_ms"): 2000,
            ("entropy", "latency_ms"): 4000,
            ("odin", "latency_ms"): 8000,
            ("entropy", "latency_log_ratio"): pytest.approx(math.log(1.5)),  # of 1.5, 4 and 1, not of the medians
            ("odin", "latency_log_ratio"): pytest.approx(math.log(4)),
        }
    assert {row["layer"] for row in found} == {"logits"}


def test_preprocessing_costs_more_than_a_pass():
    """Two passes and a way back: a bound far below what is measured, so that a busy machine does not fail it."""
    seen = seen_by(measures=["latency"], network={"name": "resnet20", "width": 4})
    todo = [job for job in jobs(seen.recipe, seen.epoch) if job.measure == "latency"]
    found = {(r["scorer"], r["protocol"]): r["value"] for r in rows(seen, todo, "key") if "log" in r["metric"]}
    assert found["odin", "batch 64"] > math.log(1.5)
