"""Examples in docstrings run and print what they say; every scorer and every public function has one."""

import doctest
import inspect

import pytest

from ood_core import collapse, extract, geometry, metrics, outputs, scorers, stats
from ood_core.scorers.ensembles import Ensemble

KINDS = [*(type(scorers.make(name)) for name in scorers.names()), Ensemble]
MODULES = (scorers, metrics, stats, collapse, geometry)
PUBLIC = [getattr(module, name) for module in MODULES for name in module.__all__]
# What a function returns needs no example beside that function's.
FUNCTIONS = [thing for thing in PUBLIC if not inspect.isclass(thing)]
DOCUMENTED = [*KINDS, *FUNCTIONS, extract, outputs.Outputs, outputs.Head, outputs.unit, collapse.Stream]


@pytest.mark.parametrize("thing", DOCUMENTED, ids=lambda thing: f"{thing.__module__}.{thing.__name__}")
def test_the_example_prints_what_it_says(thing):
    (example,) = doctest.DocTestFinder(recurse=False).find(thing, thing.__name__, globs={})
    assert example.examples, "no example, expected one that a reader can paste"
    said = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append)
    assert not said, "".join(said)
    assert all(step.want for step in example.examples[-1:]), "shows nothing, expected what comes out"
