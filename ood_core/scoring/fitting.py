"""A scorer fitted on ID images, and its threshold set on others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import scorers
from .passes import Passes


def fitted(name: str, settings: Mapping[str, Any], passes: Passes, fitting: list[tuple[Path, int]]) -> scorers.Scorer:
    """A scorer fitted on image files, each with its class index."""
    passes.whole([fitting[0][0]])  # what does not fit together shows here, and not after all images
    if not passes.keeps_images:
        return scorers.make(name, **settings).fit(passes.whole(*map(list, zip(*fitting, strict=True))))
    # A scorer that asks the network for gradients learns nothing from the images but their shape. Some from each
    # class are enough, where all of them would fill the memory.
    made = scorers.make(name, **settings, model=passes.classifier.network)
    some = [fitting[i] for i in torch.linspace(0, len(fitting) - 1, min(made.sample, len(fitting))).long().tolist()]
    return made.fit(passes.whole(*map(list, zip(*some, strict=True))))


def calibrate(scorer: scorers.Scorer, passes: Passes, held: list[Path], id_tpr: float) -> None:
    """Set the threshold on held-out images.

    Raises:
        InputError: the scorer was fitted on most of them, whatever their files are called.
    """
    if not passes.keeps_images:
        scorer.calibrate(passes.whole(held), id_tpr)
        return
    # Images for gradients never lie in memory together, so their scores are known before there is a threshold. A
    # scorer of gradients learns nothing from the fitted rows, so it would refuse none here.
    assert not scorer.learns
    scores, _ = passes.scores(scorer, held)
    scorer.calibration = scorers.threshold(scores, id_tpr)
