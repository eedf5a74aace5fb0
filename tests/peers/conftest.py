"""Other people's packages: skipped where they are not installed, except in CI."""

from __future__ import annotations

import importlib
import os
import warnings
from types import ModuleType

import pytest

from ood_core import _torchvision
from ood_core.checks import InputError

HOW = "{} is not installed ({}). Install it with: pip install '.[test]'"


def installed(name: str) -> ModuleType:
    """A peer's module, or a skip that says how to get it; a failure where CI is set."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW.format(name, error))


@pytest.fixture(scope="session")
def peer() -> ModuleType:
    """pytorch-ood's detectors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its own imports warn of is not ours to mend
        try:
            _torchvision.torchvision()  # opens where a build for CUDA sits beside a torch without
        except InputError as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error).splitlines()[0])
        return installed("pytorch_ood.detector")


@pytest.fixture
def faiss() -> ModuleType:
    """The search by faiss."""
    return installed("faiss")
