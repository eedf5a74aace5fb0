"""Examples in docstrings run and print what they say; every scorer and every metric has one."""

import doctest
import inspect

import pytest

from ood_core import collapse, metrics, scorers, stats
from ood_core.scorers.ensembles import Ensemble

KINDS = [*(type(scorers.make(name)) for name in scorers.names()), Ensemble]
FUNCTIONS = [getattr(module, name) for module in (metrics, stats, collapse) for name in module.__all__]
DOCUMENTED = [*KINDS, *(thing for thing in FUNCTIONS if ">>>" in inspect.getdoc(thing))]


@pytest.mark.parametrize("thing", DOCUMENTED, ids=lambda thing: f"{thing.__module__}.{thing.__name__}")
def test_the_example_prints_what_it_says(thing):
    (example,) = doctest.DocTestFinder(recurse=False).find(thing, thing.__name__, globs={})
    assert example.examples, "no example, expected one that a reader can paste"
    said = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append)
    assert not said, "".join(said)


def test_every_metric_has_an_example():
    without = [name for name in metrics.__all__ if getattr(metrics, name) not in DOCUMENTED]
    assert without == ["pooled_sets"], "whose example stands with mean_over_sets"
    assert {stats.delong, stats.delong_paired, stats.t_interval, collapse.measure} <= set(DOCUMENTED)
