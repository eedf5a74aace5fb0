"""What a scorer costs, by a clock that is made up."""

from itertools import accumulate
from types import SimpleNamespace

import pytest
import torch

from ood_core import networks
from ood_core.measure import Seen, Sets, cost, jobs, rows
from tests.spine import images, recipe


def test_seconds_to_fit_and_microseconds_an_image_are_those_of_the_middle_round(monkeypatch):
    made = recipe(head={"name": "linear"}, evaluate={"measures": ["cost"], "scores": ["msp"]})
    train, test = images(48), images(30, seed=1)
    net = networks.network(made, train, 0, torch.device("cpu")).eval()
    fits, scores = (1.0, 2.0, 9.0), (0.3, 0.9, 0.6)
    spent = [seconds for fit, score in zip(fits, scores, strict=True) for seconds in (0, fit, 0, score)]
    clock = accumulate(spent)
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    seen = Seen(net, Sets(train, None, test, {}), made, 0, made.epochs)
    found = {row["metric"]: (row["value"], row["n"]) for row in rows(seen, jobs(made, made.epochs), "key")}
    assert found == {
        "fit_seconds": (pytest.approx(2), 48),
        "score_microseconds": (pytest.approx(0.6 / 30 * 1e6), 30),
    }
