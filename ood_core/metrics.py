"""How well scores tell ID from OOD, exactly and from the raw numbers.

Larger score = more in-distribution. ID is the positive class unless a name says otherwise. All results are fractions.
Scores are ranked as given, never rescaled: a sigmoid would tie large float32 scores. Ties are exact in every metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import checks
from .checks import InputError
from .cuts import Groups, Sorted, fewest, groups

Array = NDArray[Any]

__all__ = [
    "accuracy",
    "aupr_in",
    "aupr_out",
    "auroc",
    "detection_accuracy",
    "ece",
    "evaluate",
    "fpr_at_tpr",
    "fpr_ood_positive",
    "mean_over_sets",
    "oscr",
    "pooled_sets",
    "tnr_at_tpr",
]


def auroc(id_scores: Any, ood_scores: Any) -> float:
    """Area under the ROC curve.

    P(s_id > s_ood) + P(s_id = s_ood) / 2, over all pairs

    Args:
        id_scores, ood_scores: (N,) and (M,), numpy or torch, any device; larger = more in-distribution. Of a score
            that grows with OOD, pass the negatives.
    Returns:
        fraction in [0, 1]; one half for a constant score.
    Raises:
        InputError: NaN, infinity, no scores, or another shape.
    Source: Hanley and McNeil 1982; Mann-Whitney U / (N M).
    Example:
        >>> from ood_core import metrics
        >>> round(metrics.auroc([0.9, 0.8, 0.4], [0.5, 0.1]), 4)
        0.8333
    """
    return _auroc(_sorted(id_scores, ood_scores))


def fpr_at_tpr(id_scores: Any, ood_scores: Any, tpr: float = 0.95) -> float:
    """Share of OOD accepted at the largest threshold that accepts the share `tpr` of ID ("FPR95").

    t = max{t : share(s_id >= t) >= tpr},  FPR = share(s_ood >= t)

    Args:
        id_scores, ood_scores: as in `auroc`.
        tpr: share of ID to accept, a fraction in (0, 1].
    Returns:
        fraction in [0, 1]; smaller = better.
    Raises:
        InputError: scores as in `auroc`, or no such share.
    Source: Liang, Li and Srikant 2018, arXiv 1706.02690; here the threshold is a score that occurs.
    Example:
        >>> from ood_core import metrics
        >>> metrics.fpr_at_tpr([0.9, 0.8, 0.4], [0.5, 0.1], tpr=0.6)
        0.0
        >>> metrics.fpr_at_tpr([0.9, 0.8, 0.4], [0.5, 0.1])
        0.5
    """
    return _fpr_at_tpr(_sorted(id_scores, ood_scores), checks.share("tpr", tpr))


def tnr_at_tpr(id_scores: Any, ood_scores: Any, tpr: float = 0.95) -> float:
    """Share of OOD rejected where the share `tpr` of ID is accepted ("TNR at TPR 95"): 1 - `fpr_at_tpr`.

    TNR = share(s_ood < t),  t = max{t : share(s_id >= t) >= tpr}

    Args:
        id_scores, ood_scores: as in `auroc`.
        tpr: share of ID to accept, a fraction in (0, 1].
    Returns:
        fraction in [0, 1]; larger = better.
    Raises:
        InputError: scores as in `auroc`, or no such share.
    Source: Lee et al. 2018, arXiv 1807.03888, whose code takes the threshold nearest to the share.
    Example:
        >>> from ood_core import metrics
        >>> metrics.tnr_at_tpr([0.9, 0.8, 0.4], [0.5, 0.1])
        0.5
    """
    return 1 - fpr_at_tpr(id_scores, ood_scores, tpr)


def fpr_ood_positive(id_scores: Any, ood_scores: Any, tpr: float = 0.95) -> float:
    """Share of ID rejected at the smallest threshold that detects the share `tpr` of OOD: the other "FPR95".

    t = min{t : share(s_ood <= t) >= tpr},  FPR = share(s_id <= t)

    Args:
        id_scores, ood_scores: as in `auroc`.
        tpr: share of OOD to detect, a fraction in (0, 1].
    Returns:
        fraction in [0, 1]; smaller = better. `fpr_at_tpr` with the sets exchanged and the scores negated.
    Raises:
        InputError: scores as in `auroc`, or no such share.
    Source: Hendrycks, Mazeika and Dietterich 2019, arXiv 1812.04606, where OOD is the positive class.
    Example:
        >>> from ood_core import metrics
        >>> round(metrics.fpr_ood_positive([0.9, 0.8, 0.4], [0.5, 0.1]), 4)
        0.3333
    """
    return _fpr_ood_positive(_sorted(id_scores, ood_scores), checks.share("tpr", tpr))


def aupr_in(id_scores: Any, ood_scores: Any) -> float:
    """Average precision with ID as the positive class.

    sum over distinct scores t, descending, of (R(t) - R(next above t)) P(t), with R = share(s_id >= t) and
    P = share of ID among all rows with s >= t (step interpolation)

    Args:
        id_scores, ood_scores: as in `auroc`.
    Returns:
        fraction in [0, 1]; the share of ID rows for a constant score.
    Raises:
        InputError: as in `auroc`.
    Source: Hendrycks and Gimpel 2017, arXiv 1610.02136; steps as in scikit-learn's average_precision_score.
    Example:
        >>> from ood_core import metrics
        >>> round(metrics.aupr_in([0.9, 0.8, 0.4], [0.5, 0.1]), 4)
        0.9167
    """
    rows = _sorted(id_scores, ood_scores)
    return _share((_precision_in(rows, found) for found in groups(rows)), rows.id)


def aupr_out(id_scores: Any, ood_scores: Any) -> float:
    """Average precision with OOD as the positive class: `aupr_in` with the sets exchanged and the scores negated.

    sum over distinct scores t, ascending, of (R(t) - R(next below t)) P(t), with R = share(s_ood <= t) and
    P = share of OOD among all rows with s <= t (step interpolation)

    Args:
        id_scores, ood_scores: as in `auroc`.
    Returns:
        fraction in [0, 1]; the share of OOD rows for a constant score.
    Raises:
        InputError: as in `auroc`.
    Source: Hendrycks and Gimpel 2017, arXiv 1610.02136; steps as in scikit-learn's average_precision_score.
    Example:
        >>> from ood_core import metrics
        >>> round(metrics.aupr_out([0.9, 0.8, 0.4], [0.5, 0.1]), 4)
        0.8333
    """
    rows = _sorted(id_scores, ood_scores)
    return _share(map(_precision_out, groups(rows)), rows.ood)


def detection_accuracy(id_scores: Any, ood_scores: Any) -> float:
    """Best balanced accuracy over thresholds.

    max over t of (share(s_id >= t) + share(s_ood < t)) / 2

    Args:
        id_scores, ood_scores: as in `auroc`.
    Returns:
        fraction in [0.5, 1]; one half where accepting all or none is best.
    Raises:
        InputError: as in `auroc`.
    Source: Liang, Li and Srikant 2018, arXiv 1706.02690, as one minus the detection error.
    Example:
        >>> from ood_core import metrics
        >>> round(metrics.detection_accuracy([0.9, 0.8, 0.4], [0.5, 0.1]), 4)
        0.8333
    """
    rows = _sorted(id_scores, ood_scores)
    return _best(_balanced(rows, found) for found in groups(rows))


def oscr(id_scores: Any, ood_scores: Any, correct: Any) -> float:
    """Area under the rate of ID rows accepted and classified right, against the rate of OOD rows accepted.

    P(correct and s_id > s_ood) + P(correct and s_id = s_ood) / 2, over all pairs; at most the accuracy

    Args:
        id_scores, ood_scores: as in `auroc`.
        correct: bool (N,), ID rows that the network classifies right.
    Returns:
        fraction in [0, 1]; larger = better.
    Raises:
        InputError: scores as in `auroc`, or flags that are not bool or not one an ID row.
    Source: Dhamija et al. 2018, arXiv 1811.04110, with ties counted one half.
    Example:
        >>> from ood_core import metrics
        >>> round(metrics.oscr([0.9, 0.8, 0.4], [0.5, 0.1], correct=[True, True, False]), 4)
        0.6667
    """
    return _oscr(_values("id_scores", id_scores), np.sort(_values("ood_scores", ood_scores)), correct)


def _oscr(id_values: Array, ood_values: Array, correct: Any) -> float:
    """`ood_values` are sorted, `id_values` stand as `correct` does."""
    right = checks.tensor("correct", correct).cpu().numpy()
    if right.shape != id_values.shape or right.dtype != np.bool_:
        raise InputError(
            f"correct is {right.dtype} with shape {right.shape}, expected bool with shape {id_values.shape}.\n"
            "Pass one flag for each ID row, for example logits.argmax(1) == labels."
        )
    hits = np.sort(id_values[right])
    return _auroc(Sorted(hits, ood_values)) * (len(hits) / len(right)) if len(hits) else 0.0


def evaluate(id_scores: Any, ood_scores: Any, correct: Any = None, tpr: float = 0.95) -> dict[str, float]:
    """All metrics of two sets of scores from one sort of each.

    Args:
        id_scores, ood_scores: as in `auroc`.
        correct: bool (N,), ID rows that the network classifies right; adds `oscr`.
        tpr: for the metrics at a fixed rate, a fraction in (0, 1].
    Returns:
        auroc, aupr_in, aupr_out, fpr_at_tpr, fpr_ood_positive, tnr_at_tpr, detection_accuracy, and oscr if asked for;
        fractions.
    Raises:
        InputError: what these raise.
    Example:
        >>> from ood_core import metrics
        >>> round(metrics.evaluate([0.9, 0.8, 0.4], [0.5, 0.1], correct=[True, True, False])["oscr"], 4)
        0.6667
    """
    share = checks.share("tpr", tpr)
    id_values, ood_values = _values("id_scores", id_scores), np.sort(_values("ood_scores", ood_scores))
    rows = Sorted(np.sort(id_values), ood_values)
    sums = ((_pairs(at), _precision_in(rows, at), _precision_out(at), _balanced(rows, at)) for at in groups(rows))
    pairs, precision_in, precision_out, balanced = zip(*sums, strict=True)  # one pass over the merged rows for all
    false_positives = _fpr_at_tpr(rows, share)
    result = {
        "auroc": _area(pairs, rows),
        "aupr_in": _share(precision_in, rows.id),
        "aupr_out": _share(precision_out, rows.ood),
        "fpr_at_tpr": false_positives,
        "fpr_ood_positive": _fpr_ood_positive(rows, share),
        "tnr_at_tpr": 1 - false_positives,
        "detection_accuracy": _best(balanced),
    }
    if correct is not None:
        result["oscr"] = _oscr(id_values, ood_values, correct)
    return result


def mean_over_sets(id_scores: Any, ood_sets: Mapping[str, Any], tpr: float = 0.95) -> dict[str, float]:
    """Mean over OOD sets of each metric ("mean of AUROCs"): every set counts alike, however many images it has.

    1/K sum_k m(s_id, s_k)

    Args:
        id_scores: (N,). ood_sets: scores (M_k,) of each OOD set by name, for example all near sets.
        tpr: as in `evaluate`.
    Returns:
        the metrics of `evaluate` without oscr, fractions. For sets of one size AUROC and `fpr_at_tpr` are those of
        `pooled_sets`; for other sizes, and for all other metrics, they differ.
    Raises:
        InputError: no sets, no dictionary, or what `evaluate` raises.
    Example:
        >>> from ood_core import metrics
        >>> near = {"one": [0.0, 0.0, 0.0], "two": [2.0]}
        >>> metrics.mean_over_sets([1.0, 1.0], near)["auroc"], metrics.pooled_sets([1.0, 1.0], near)["auroc"]
        (0.5, 0.75)
    """
    found = [evaluate(id_scores, scores, tpr=tpr) for scores in _sets(ood_sets).values()]
    return {name: math.fsum(values[name] for values in found) / len(found) for name in found[0]}


def pooled_sets(id_scores: Any, ood_sets: Mapping[str, Any], tpr: float = 0.95) -> dict[str, float]:
    """Each metric of all OOD sets taken as one ("AUROC of the pooled set"): every image counts alike.

    m(s_id, s_1 and ... and s_K), with one threshold for all sets

    Args:
        id_scores, ood_sets, tpr: as in `mean_over_sets`.
    Returns:
        the metrics of `evaluate` without oscr, fractions. The AUROC is the mean of the sets' AUROCs weighted by their
        sizes; so is `fpr_at_tpr`, whose threshold the ID rows set; the others have no such rule.
    Raises:
        InputError: as in `mean_over_sets`.
    Example:
        >>> from ood_core import metrics
        >>> near = {"one": [0.0, 0.0, 0.0], "two": [2.0]}
        >>> found = metrics.pooled_sets([1.0, 1.0], near)
        >>> found["auroc"], found["fpr_at_tpr"]
        (0.75, 0.25)
    """
    return evaluate(id_scores, np.concatenate([_values(name, x) for name, x in _sets(ood_sets).items()]), tpr=tpr)


def accuracy(logits: Any, labels: Any) -> float:
    """Share of rows whose largest logit is the label's; of equal logits the first counts.

    1/N sum_i 1[argmax_c l_ic = y_i]

    Args:
        logits: (N, C). labels: integers (N,) in 0..C-1.
    Returns:
        fraction in [0, 1].
    Raises:
        InputError: NaN, infinity, no rows, another shape, or a label outside 0..C-1.
    Example:
        >>> import torch
        >>> from ood_core import metrics
        >>> round(metrics.accuracy(torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1, 1])), 4)
        0.6667
    """
    x = checks.matrix("logits", logits, unit="C")
    y = checks.labels("labels", labels, x.shape[0], x.shape[1])
    return int((x.argmax(dim=1).cpu() == y.cpu()).sum()) / x.shape[0]


def ece(probabilities: Any, labels: Any, bins: int = 15) -> float:
    """Expected calibration error of the most probable class.

    sum_b (n_b / N) |accuracy_b - mean confidence_b|, bins ((b - 1) / B, b / B] of the largest probability

    Args:
        probabilities: (N, C), rows that sum to 1 (to 1e-2, which float16 needs); logits are refused.
        labels: integers (N,) in 0..C-1.
        bins: B, at least 1; of equal width.
    Returns:
        fraction in [0, 1]; 0 = calibrated.
    Raises:
        InputError: rows that are no probabilities, a label outside 0..C-1, or no bins.
    Source: Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599, equation 3.
    Example:
        >>> import torch
        >>> from ood_core import metrics
        >>> round(metrics.ece(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0])), 4)
        0.35
    """
    p = checks.matrix("probabilities", probabilities, unit="C").cpu().double()
    y = checks.labels("labels", labels, p.shape[0], p.shape[1]).cpu()
    total = p.sum(dim=1)
    if bool((p < 0).any()) or bool((p > 1 + 1e-2).any()) or bool(((total - 1).abs() > 1e-2).any()):
        raise InputError(
            f"probabilities span {float(p.min()):.4g}..{float(p.max()):.4g} with row sums "
            f"{float(total.min()):.4g}..{float(total.max()):.4g}, expected 0..1 with sums of 1.\n"
            "Pass logits.softmax(dim=1)."
        )
    bins = checks.whole("bins", bins, 1, "The usual number is 15.")
    confidence, predicted = p.max(dim=1)
    gap = (predicted == y).double() - confidence
    inner = torch.arange(1, bins, dtype=torch.float64) / bins
    bin_of = torch.bucketize(confidence, inner)  # number of inner edges below the confidence: right-closed bins
    return float(torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_of, gap).abs().sum()) / p.shape[0]


def _sets(ood_sets: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(ood_sets, Mapping) or not ood_sets:
        raise InputError(
            f"ood_sets is {'empty' if isinstance(ood_sets, Mapping) else type(ood_sets).__name__}, expected scores by "
            'name of the set.\nPass a dictionary, for example {"svhn": scores}.'
        )
    groups = [name for name, scores in ood_sets.items() if isinstance(scores, Mapping)]
    if groups:
        raise InputError(
            f"ood_sets holds dictionaries ({', '.join(map(str, groups))}), expected scores by name of the set.\n"
            f"Call it for each group, for example with ood_sets[{groups[0]!r}]."
        )
    return ood_sets


def _values(name: str, scores: Any) -> Array:
    values = checks.vector(name, scores)
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()  # exact; numpy has no bfloat16 and sorts float16 slowly
    return values.cpu().numpy()


def _sorted(id_scores: Any, ood_scores: Any) -> Sorted:
    return Sorted(np.sort(_values("id_scores", id_scores)), np.sort(_values("ood_scores", ood_scores)))


def _auroc(rows: Sorted) -> float:
    return _area(map(_pairs, groups(rows)), rows)


def _area(pairs: Iterable[int], rows: Sorted) -> float:
    return sum(pairs) / (2 * len(rows.id) * len(rows.ood))


def _share(sums: Iterable[float], rows: Array) -> float:
    return min(1.0, math.fsum(sums) / len(rows))


def _best(balanced: Iterable[float]) -> float:
    return max(1.0, *balanced) / 2  # 1: all rows accepted


def _pairs(found: Groups) -> int:
    """Twice the pairs that ID rows win, in integers: all with OOD rows below, and half of those with OOD rows tied."""
    return int(np.dot(found.id, 2 * found.ood_up_to - found.ood))


def _fpr_at_tpr(rows: Sorted, tpr: float) -> float:
    threshold = rows.id[-fewest(len(rows.id), tpr)]
    return (len(rows.ood) - int(np.searchsorted(rows.ood, threshold, "left"))) / len(rows.ood)


def _fpr_ood_positive(rows: Sorted, tpr: float) -> float:
    threshold = rows.ood[fewest(len(rows.ood), tpr) - 1]
    return int(np.searchsorted(rows.id, threshold, "right")) / len(rows.id)


def _precision_in(rows: Sorted, found: Groups) -> float:
    """Sum over ID rows of the share of ID among all rows that score at least as high."""
    of_id = len(rows.id) - found.id_up_to + found.id
    of_ood = len(rows.ood) - found.ood_up_to + found.ood
    return float(np.dot(found.id, of_id / (of_id + of_ood)))


def _precision_out(found: Groups) -> float:
    """Sum over OOD rows of the share of OOD among all rows that score at most as high."""
    return float(np.dot(found.ood, found.ood_up_to / (found.id_up_to + found.ood_up_to)))


def _balanced(rows: Sorted, found: Groups) -> float:
    """The largest sum of the share of ID above a group and the share of OOD in it or below."""
    return float(np.max((len(rows.id) - found.id_up_to) / len(rows.id) + found.ood_up_to / len(rows.ood)))
