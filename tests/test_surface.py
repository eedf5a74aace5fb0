"""The door: few names, and an import that brings in nothing heavy."""

import inspect
import subprocess
import sys

import pytest

import ood_core
from ood_core import collapse, geometry, metrics, scorers, stats

HEAVY = ("torch", "scipy", "sklearn", "pandas", "statsmodels", "torchvision", "matplotlib", "ood_core.features")


def test_the_promised_names_are_there():
    names = ["Head", "Outputs", "collapse", "extract", "geometry", "metrics", "scorers", "stats"]
    assert sorted(ood_core.__all__) == names
    for name in ood_core.__all__:
        assert getattr(ood_core, name) is not None
    assert set(ood_core.__all__) <= set(dir(ood_core))
    with pytest.raises(AttributeError, match="no attribute 'extrac'"):
        _ = ood_core.extrac


def test_what_is_found_when_asked_for_is_listed_before_it_is():
    code = "import ood_core, sys; print('extract' in dir(ood_core), 'ood_core.features' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_importing_the_entry_point_runs_nothing():
    code = "import ood_core.__main__; print('imported')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "imported\n"), done.stderr


def test_importing_is_light():
    code = f"import sys, ood_core; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [collapse, geometry, metrics, scorers, stats], ids=lambda m: m.__name__)
def test_every_public_name_is_documented(module):
    for name in module.__all__:
        thing = getattr(module, name)
        assert inspect.getdoc(thing), f"{module.__name__}.{name} has no docstring"
        for method, member in inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else ():
            if not method.startswith("_"):
                assert inspect.getdoc(member), f"{name}.{method} has no docstring"
