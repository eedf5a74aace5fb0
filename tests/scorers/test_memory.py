"""Peak memory, of a process of its own: training rows are neither copied nor widened as a whole."""

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
    x, logits = torch.empty(rows, 512).normal_().relu_(), torch.empty(rows, 5).normal_()
    return Outputs(features=x, logits=logits, labels=torch.arange(rows) % 5)

train, new = outputs(20_000), outputs(int(sys.argv[1]))
for budget in map(int, sys.argv[2:]):
    small = scorers.make(NAME)
    small.memory = budget * 2**20
    small.fit(train[:3000]).score(new[:100])  # what is loaded on first use is no memory of the scorer's
    before = peak()
    scorer = scorers.make(NAME)
    scorer.memory, scorer.sample = budget * 2**20, 100
    scorer.fit(train).score(new)
    print(peak() - before)
"""


def grown(made: str, queries: int = 100, budgets: tuple[int, ...] = (16, 256)) -> list[float]:
    """MB above the inputs with budgets in MB, for 40 MB of training rows."""
    command = [sys.executable, "-c", SCRIPT.replace("NAME", made), *map(str, (queries, *budgets))]
    given_back = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # freed blocks count as freed, whatever their order left behind
    environment = {**os.environ, **given_back}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [float(number) for number in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit there")
@pytest.mark.parametrize("name", ["knn", "nnguide", "knn_nan"])
def test_neighbours_stay_within_the_budget_above_their_inputs(name):
    """Their float64 copy would be 80 MB, their unit vectors 40 MB."""
    small, large = grown(f'"{name}"')
    assert small < 32
    assert large < 300


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit there")
def test_large_searches_stay_within_the_budget_too():
    """Large enough for the candidates from bfloat16."""
    small, large = grown('"knn"', 4000, (128, 256))
    assert small < 150
    assert large < 300


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit there")
@pytest.mark.parametrize("made", ['"ssd"', '"mahalanobis", layer="unit"', '"nan"'])
def test_fits_see_their_rows_in_pieces(made):
    """Unit vectors of all rows would be 40 MB, all rows in float64 80 MB, matrices of 512 columns are 2 MB each."""
    small, large = grown(made)
    assert small < 24
    assert large < 60


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit there")
def test_scoring_leaves_no_holes_between_blocks():
    """Rows are widened in blocks of half a megabyte: a result kept behind each of them would cost all 230 MB."""
    script = (
        SCRIPT.partition("train, new =")[0]
        + """
rows = outputs(60_000)
scorer = scorers.make("feature_norm").fit(rows)
before = peak()
scorer.score(rows)
print(peak() - before)
"""
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60
