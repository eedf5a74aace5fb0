"""Real image sets in tests: used wherever they are at hand, and never passed over silently."""

from __future__ import annotations

import os

import pytest

from ood_core import data


def real(name: str, split: str) -> data.ImageSet:
    """A split, or a skip that says what to set; where CI was given a folder, a failure."""
    if data.where(name, split) == "missing":
        if "OOD_DATA" not in os.environ:
            pytest.skip("OOD_DATA is not set: tests on real image sets need a folder that holds them")
        if "CI" in os.environ:
            pytest.fail(f"{name}/{split} is not under $OOD_DATA, and CI was given one")
        pytest.skip(f"{name}/{split} is not under $OOD_DATA; python -m ood_core data list says how to get it")
    return data.load(name, split)
