"""Figures of a page as inline SVG: readable in light and dark, on a phone, and by a screen reader."""

from .against import against
from .bounds import bounded
from .by_seed import by_seed
from .conventions import fpr_conventions
from .drawings import auroc_by_seed, through_training
from .histograms import score_histograms
from .plane import plane
from .scatter import scatter
from .states import paths
from .svg import Figure

__all__ = [
    "Figure",
    "against",
    "auroc_by_seed",
    "bounded",
    "by_seed",
    "fpr_conventions",
    "paths",
    "plane",
    "scatter",
    "score_histograms",
    "through_training",
]
