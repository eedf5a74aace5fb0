"""A peer that is not installed: a skip that says how to get it, and a failure in CI."""

import pytest

from tests.peers.conftest import installed


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_peer_is_a_failure_in_ci_alone(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"no_such_peer is not installed .*pip install '\.\[test\]'"):
        installed("no_such_peer")
