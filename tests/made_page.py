"""A page of the tests' own: two recipes that train in a fraction of a second, in a store of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ood_core import recipes

PAGE: dict[str, Any] = {
    "seeds": {"tiny": 2},
    "scales": {
        "tiny": {
            "source": "ours",
            "minutes": 0.01,
            "data": {"id_set": "digits"},
            "network": {"name": "resnet8", "width": 2},
            "optimiser": {"batch": 64},
            "schedule": {"epochs": 2},
            "evaluate": {
                "near": ["digits-89"],
                "far": ["noise"],
                "measures": ["accuracy", "collapse", "norms", "ood_norm", "gradient", "norm_cosine"],
                "record": [0.5],
                "scores": [{"scorer": "feature_norm", "through_training": True}, "msp"],
            },
        }
    },
    "recipes": {"ce": {"title": "t"}, "l2": {"title": "t", "head": {"name": "l2"}}},
}


def changed(**evaluate: Any) -> dict[str, Any]:
    """The page with other things to measure."""
    page: dict[str, Any] = yaml.safe_load(yaml.safe_dump(PAGE))
    page["scales"]["tiny"]["evaluate"].update(evaluate)
    return page


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Puts `made.yml` where recipes are looked for; call it to write the page anew."""
    folder = tmp_path / "recipes"
    folder.mkdir()

    def write(page: dict[str, Any]) -> None:
        (folder / "made.yml").write_text(yaml.safe_dump(page))
        recipes.page.cache_clear()

    write(PAGE)
    monkeypatch.setattr(recipes, "FOLDER", folder)
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    yield write
    recipes.page.cache_clear()
