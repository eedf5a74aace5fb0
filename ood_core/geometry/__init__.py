"""How classes and clusters lie in a feature space, and the classifier hidden in a layer.

Beside `collapse`, whose measures go to 0 at one configuration; these take any embedding, with labels or clusters.
Sums are in float64 where the features' device has it.
"""

from .hidden import HolderBound, activation_entropy, hidden_confidence, holder_bound
from .partitions import cluster_purity, local_purity, nmi, silhouette
from .separation import global_separation

__all__ = [
    "HolderBound",
    "activation_entropy",
    "cluster_purity",
    "global_separation",
    "hidden_confidence",
    "holder_bound",
    "local_purity",
    "nmi",
    "silhouette",
]
