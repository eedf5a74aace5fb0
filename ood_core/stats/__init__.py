"""Intervals and tests. Seeds are the unit of replication; `delong` is the one that treats images as the sample.

scipy is imported where it is used, so that importing this package stays light.
"""

from .areas import delong, delong_paired
from .correlations import spearman, spearman_interval
from .estimates import Contrast, Correlation, Interval, Spread
from .means import holm, p_of_mean, paired, pitman_morgan, t_interval
from .resampling import bootstrap

__all__ = [
    "Contrast",
    "Correlation",
    "Interval",
    "Spread",
    "bootstrap",
    "delong",
    "delong_paired",
    "holm",
    "p_of_mean",
    "paired",
    "pitman_morgan",
    "spearman",
    "spearman_interval",
    "t_interval",
]
