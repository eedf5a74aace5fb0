"""A scorer fitted on ID images, and its threshold set on others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import scorers
from .passes import Passes, classes_of


def fitted(
    name: str, settings: Mapping[str, Any], passes: Passes, fitting: list[tuple[Path, int]]
) -> tuple[scorers.Scorer, dict[Path, int]]:
    """A scorer fitted on image files, each with its class index, and the classes that the network predicts for them."""
    passes.whole([fitting[0][0]])  # what does not fit together shows here, and not after all images
    if passes.keeps_images:
        # A scorer that asks the network for gradients learns nothing from the images but their shape. Some from each
        # class are enough, where all of them would fill the memory.
        made = scorers.make(name, **settings, model=passes.classifier.network)
        fitting = [fitting[i] for i in torch.linspace(0, len(fitting) - 1, min(made.sample, len(fitting))).long()]
    else:
        made = scorers.make(name, **settings)
    paths, labels = [path for path, _ in fitting], [label for _, label in fitting]
    rows = passes.whole(paths, labels)
    return made.fit(rows), _by_path(paths, classes_of(rows))


def calibrate(scorer: scorers.Scorer, passes: Passes, held: list[Path], id_tpr: float) -> dict[Path, int]:
    """Set the threshold on held-out images; returns the classes that the network predicts for them.

    Raises:
        InputError: the scorer was fitted on most of them, whatever their files are called.
    """
    if not passes.keeps_images:
        rows = passes.whole(held)
        scorer.calibrate(rows, id_tpr)
        return _by_path(held, classes_of(rows))
    # Images for gradients never lie in memory together, so their scores are known before there is a threshold. A
    # scorer of gradients learns nothing from the fitted rows, so it would refuse none here.
    assert not scorer.learns
    scores, predicted = passes.scores(scorer, held)
    scorer.calibration = scorers.threshold(scores, id_tpr)
    return _by_path(held, predicted)


def _by_path(paths: list[Path], predicted: list[int]) -> dict[Path, int]:
    return dict(zip(paths, predicted, strict=True)) if predicted else {}
