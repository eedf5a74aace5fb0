"""Neural collapse by definition: explicit D x D matrices, the pseudo-inverse, loops over pairs of classes."""

import numpy as np


def measure(features, labels, weight=None, bias=None):
    classes, n = int(labels.max()) + 1, len(labels)
    given, features = features.dtype, features.astype(np.float64)
    means = np.array([features[labels == c].mean(axis=0) for c in range(classes)])
    centred = means - means.mean(axis=0)
    within = sum(np.outer(f - means[y], f - means[y]) for f, y in zip(features, labels, strict=True)) / n
    # By M+ and not by S_B, whose eigenvalues are squares: float64 holds none of them below 1e-16 of the largest.
    cut = max(1e-10, max(centred.shape) * (2.0**-52 if given == np.float64 else 2.0**-23))
    inverse = np.linalg.pinv(centred.T, rcond=cut)
    result = {"nc1": np.trace(within @ (classes * inverse.T @ inverse)) / classes}
    result["nc2_norm_means"], result["nc2_angle_means"] = simplex(centred)
    if weight is not None:
        result["nc2_norm_weights"], result["nc2_angle_weights"] = simplex(weight)
        unit_weight, unit_means = weight / np.sqrt((weight**2).sum()), centred / np.sqrt((centred**2).sum())
        result["nc3"] = ((unit_weight - unit_means) ** 2).sum()
        offset = np.zeros(classes) if bias is None else bias
        decided = [max(range(classes), key=lambda c: weight[c] @ f + offset[c]) for f in features]
        nearest = [min(range(classes), key=lambda c: np.linalg.norm(f - means[c])) for f in features]
        result["nc4"] = np.mean(np.array(decided) != np.array(nearest))
    return result


def simplex(vectors):
    classes = len(vectors)
    lengths = [np.linalg.norm(v) for v in vectors]
    off = [
        abs(vectors[a] @ vectors[b] / (lengths[a] * lengths[b]) + 1 / (classes - 1))
        for a in range(classes)
        for b in range(classes)
        if a != b
    ]
    return np.std(lengths, ddof=1) / np.mean(lengths), np.mean(off)


def norm_statistics(features, labels):
    lengths = np.array([np.sqrt(np.sum(f * f)) for f in features])
    groups = [lengths[labels == c] for c in np.unique(labels)]
    explained = sum(len(g) * (g.mean() - lengths.mean()) ** 2 for g in groups)
    return {
        "norm_mean": lengths.mean(),
        "norm_cv_within": np.mean([g.std() / g.mean() for g in groups]),
        "norm_between_share": explained / ((lengths - lengths.mean()) ** 2).sum(),
    }
