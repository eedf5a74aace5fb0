"""Peak memory, of a process of its own: a bank of training rows is neither copied nor widened."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from ood_core import Outputs, scorers
torch.set_num_threads(1)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def outputs(rows):
    return Outputs(features=torch.empty(rows, 512).normal_().relu_(), logits=torch.empty(rows, 5).normal_())

train, new = outputs(20_000), outputs(100)
for budget in map(int, sys.argv[1:]):
    small = scorers.make("NAME")
    small.memory = budget * 2**20
    small.fit(train[:3000]).score(new)  # what is loaded on first use is no memory of the scorer's
    before = peak()
    scorer = scorers.make("NAME")
    scorer.memory, scorer.sample = budget * 2**20, 100
    scorer.fit(train).score(new)
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit there")
@pytest.mark.parametrize("name", ["knn", "nnguide", "knn_nan"])
def test_neighbours_stay_within_the_budget_above_their_inputs(name):
    """40 MB of training rows: their float64 copy would be 80 MB, their unit vectors 40 MB."""
    command = [sys.executable, "-c", SCRIPT.replace("NAME", name), "16", "256"]
    given_back = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # freed blocks count as freed, whatever their order left behind
    environment = {**os.environ, **given_back}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    grown = done.stdout.split()
    assert float(grown[0]) < 32
    assert float(grown[1]) < 300
