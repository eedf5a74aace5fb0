"""Groups of equal scores: blocks of any size give the counts of all rows at once."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_core import cuts, metrics

few = st.lists(st.integers(0, 8), min_size=1, max_size=30)  # many ties
many = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)
blocks = st.integers(1, 9)


@given(few | many, few | many, blocks)
def test_counts_are_those_of_every_distinct_score(inside, outside, block):
    rows = cuts.Sorted(np.sort(np.array(inside, float)), np.sort(np.array(outside, float)))
    with mock.patch.object(cuts, "BLOCK", block):
        found = list(cuts.groups(rows))
    scores = np.unique([*inside, *outside])
    counted = [[int((part == t).sum()), int((part <= t).sum())] for t in scores for part in rows]
    of_id, of_ood = counted[::2], counted[1::2]
    for name, wanted in (("id", 0), ("id_up_to", 1)):
        assert np.concatenate([getattr(block, name) for block in found]).tolist() == [row[wanted] for row in of_id]
    for name, wanted in (("ood", 0), ("ood_up_to", 1)):
        assert np.concatenate([getattr(block, name) for block in found]).tolist() == [row[wanted] for row in of_ood]


@given(few | many, few | many, blocks)
def test_metrics_do_not_depend_on_the_blocks(inside, outside, block):
    whole = metrics.evaluate(inside, outside)
    with mock.patch.object(cuts, "BLOCK", block):
        assert metrics.evaluate(inside, outside) == pytest.approx(whole, abs=1e-15)


def test_a_block_ends_where_its_limit_says_and_never_within_a_group():
    rows = cuts.Sorted(np.array([0.0, 1.0, 1.0, 1.0, 2.0]), np.array([1.0, 5.0, 6.0, 7.0, 8.0]))
    with mock.patch.object(cuts, "BLOCK", 2):
        found = list(cuts.groups(rows))
    assert [block.id.tolist() for block in found] == [[1], [3], [1, 0], [0, 0], [0]]  # from 0, 1, 2, 6 and 8 on


@pytest.mark.parametrize(
    ("count", "share", "wanted"),
    [
        (100, 0.07, 7),
        (100, 0.95, 95),
        (3, 0.95, 3),
        (20, 1e-9, 1),
        (7, 1.0, 7),
        (100, 0.29, 29),
        (10**9, 0.95, 950_000_000),
    ],
)
def test_the_fewest_rows_that_make_a_share(count, share, wanted):
    assert cuts.fewest(count, share) == wanted


@given(st.integers(1, 10**12), st.floats(1e-9, 1))
def test_one_row_less_is_not_enough(count, share):
    k = cuts.fewest(count, share)
    assert 1 <= k <= count
    assert k / count >= share
    assert k == 1 or (k - 1) / count < share
