"""Neural collapse of features and last layer: NC1 to NC4, from arrays or fed in batches.

Sums are in float64 where the features' device has it.

With f_{i,c} the feature (D) of sample i of class c, N samples, C classes:

    mu_c = mean_i f_{i,c},  mu_G = mean_c mu_c,  m_c = mu_c - mu_G,  M = [m_1 ... m_C]  (D, C)
    S_W = 1/N sum (f_{i,c} - mu_c)(f_{i,c} - mu_c)^T,  S_B = 1/C M M^T
    nc1             = tr(S_W pinv(S_B)) / C          variability within classes
    nc1_times_c     = tr(S_W pinv(S_B))              the same without the factor, where asked for
    nc2_norm_means  = std_c ||m_c|| / mean_c ||m_c||  (std with C - 1)          equal lengths
    nc2_angle_means = mean over c != c' of |cos(m_c, m_c') + 1/(C - 1)|         equal, largest angles
    nc2_norm_weights, nc2_angle_weights: the same for the rows w_c of W
    nc3             = || W^T / ||W||_F - M / ||M||_F ||_F^2, in [0, 4]          last layer = class means
    nc4             = share of samples with argmax_c(w_c f + b_c) != argmin_c ||f - mu_c||; where a network's own
                      decisions are given, they stand on the left

All go to 0 in collapse. nc1 and nc2 do not depend on rotation, shift or scale of the features.

Source: Papyan, Han and Donoho 2020, arXiv 2008.08186, and the authors' notebook, whose nc1 is nc1_times_c here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from . import checks
from .checks import InputError
from .outputs import Head
from .precision import widened, working_dtype

__all__ = ["Stream", "measure", "norm_statistics"]

_BLOCK = 2**23  # numbers of float64 in one block, of rows or of a number a class; four such live at once: 256 MB
_TINY = 1e-12  # a length below this share of the vectors it was made from is rounding
_RANK = 1e-10  # singular values below this share of the largest are rounding of the float64 sums, at the least


def measure(
    features: Any,
    labels: Any,
    weight: Any = None,
    bias: Any = None,
    num_classes: int | None = None,
    times_c: bool = False,
    decided: Any = None,
) -> dict[str, float]:
    """NC1 to NC4 of a set of features, by the formulas at the top of this module.

    nc1 in thin form: with M = U diag(s) V^T and its first min(C - 1, D) columns, nc1 = sum_k u_k^T S_W u_k / s_k^2,
    which needs no D x D matrix. Columns with s_k <= cut s_1 are rounding and outside the pseudo-inverse, where
    cut = max(1e-10, max(C, D) eps), eps that of the features' type: 2^-23 for float32, 2^-52 for float64. Types of half
    precision count as float32: by their own eps nothing would be left of 512 columns.

    Args:
        features: (N, D), what the last layer takes: raw h for a linear head, h / ||h|| for a unit head.
        labels: integers (N,), each class at least once.
        weight: W (C, D), or a `torch.nn.Linear` or a linear `Head` with its bias; for a distance head the prototypes
            minus their mean, with `decided`, since argmax W f + b is another rule there. Adds nc2_*_weights, nc3, nc4.
        bias: b (C,), for nc4 only.
        num_classes: C; the largest label plus one if left out.
        times_c: adds nc1_times_c, the other convention of nc1's factor.
        decided: classes (N,) that the network decides for, where it does so by another rule than argmax W f + b; adds
            nc4 also without weight.
    Returns:
        dict of floats. Features without spread within classes are legal: nc1 = 0 to rounding.
    Raises:
        InputError: fewer than two classes, a class without samples, a class mean (or a row of W) that coincides with
            the mean of class means (or is zero), so that angles do not exist; NaN; shapes that do not match.
    Example:
        >>> import torch
        >>> from ood_core import collapse
        >>> means = torch.eye(3) - 1 / 3
        >>> found = collapse.measure(means.repeat(4, 1), torch.arange(3).repeat(4), weight=means)
        >>> [name for name, value in found.items() if abs(value) > 1e-6]
        []
    """
    x = checks.matrix("features", features)
    y = checks.labels("labels", labels, x.shape[0], num_classes, every_class=True).to(x.device)
    classes = int(y.max()) + 1
    head = _head(weight, bias, classes, x)
    own = None if decided is None else checks.labels("decided", decided, x.shape[0], classes).to(x.device)
    sums = sum(_class_sums(xb, yb, classes)[0] for xb, yb in _blocks(x, classes, y))
    means = sums / torch.bincount(y)[:, None]
    axes, lengths = _axes(means, _precision(x))
    origin = means.mean(dim=0)  # projected from there, rows and class means are as long as the classes are apart
    centred, within, disagreements = means - origin, torch.zeros_like(lengths), 0
    placed = centred @ axes.T
    for xb, yb, db in _blocks(x, classes, y, y if own is None else own):
        rows = xb - origin
        within += ((rows @ axes.T).sub_(placed[yb]) ** 2).sum(dim=0)
        if own is not None or head is not None:
            decided_for = db if own is not None or head is None else _decisions(xb, head)
            disagreements += int((decided_for != _nearest(rows, centred)).sum())
    result = _report(means, within / len(y), lengths, head, times_c)
    return result if head is None and own is None else {**result, "nc4": disagreements / len(y)}


class Stream:
    """`measure`, fed in batches.

    stream = Stream(num_classes=10, dim=512, weight=W, bias=b)
    for f, y in batches: stream.update(f, y)
    for f, _ in batches: stream.second_pass(f)     # for nc4 alone; leave out with weight=None
    stream.result()

    Keeps the class means and one D x D matrix of scatter within classes, both updated stably (no sum of squares from
    which a square of sums is subtracted).

    Args:
        num_classes: C. dim: D. weight, bias: as in `measure`.
    Source: the update is Chan, Golub and LeVeque 1983.
    Example:
        >>> import torch
        >>> from ood_core import collapse
        >>> x, y = torch.randn(60, 8), torch.arange(60) % 3
        >>> stream = collapse.Stream(num_classes=3, dim=8)
        >>> stream.update(x[:30], y[:30])
        >>> stream.update(x[30:], y[30:])
        >>> round(stream.result()["nc1"], 6) == round(collapse.measure(x, y)["nc1"], 6)
        True
    """

    def __init__(self, num_classes: int, dim: int, weight: Any = None, bias: Any = None) -> None:
        checks.whole("num_classes", num_classes, 2, "Collapse compares classes.")
        checks.whole("dim", dim, 1, "Pass the columns of the features.")
        self._counts = torch.zeros(num_classes, dtype=torch.float64)
        self._means = torch.zeros(num_classes, dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)
        self._head = _head(weight, bias, num_classes, self._means)
        self._second, self._disagreements = 0, 0
        self._eps = 0.0

    def update(self, features: Any, labels: Any) -> None:
        """Add a batch: features (n, D), labels (n,); n may differ from batch to batch, classes may be absent."""
        if self._second:
            raise InputError("update came after second_pass, expected all updates first.\nStart a new Stream.")
        x = checks.matrix("features", features, self._means.shape[1], like="dim says")
        y = checks.labels("labels", labels, x.shape[0], len(self._counts)).to(x.device)
        self._move(x)
        self._eps = max(self._eps, _precision(x))  # the means are as rough as the roughest batch
        for xb, yb in _blocks(x, len(self._counts), y):
            sums, counts = _class_sums(xb, yb, len(self._counts))
            means = sums / counts.clamp(min=1)[:, None]
            centred = xb - means[yb]
            total = (self._counts + counts).clamp(min=1)
            step = means - self._means
            self._scatter += centred.T @ centred + (step * (self._counts * counts / total)[:, None]).T @ step
            self._means += step * (counts / total)[:, None]
            self._counts += counts

    def second_pass(self, features: Any) -> None:
        """Count for nc4 on the same features again, in any order, after all updates."""
        if self._head is None:
            raise InputError("second_pass needs the last layer for nc4.\nPass weight (and bias) to Stream.")
        self._require_every_class()
        x = checks.matrix("features", features, self._means.shape[1], like="dim says")
        self._move(x)
        origin = self._means.mean(dim=0)
        centred = self._means - origin
        for (xb,) in _blocks(x, len(self._counts)):
            nearest = _nearest(xb - origin, centred)
            self._disagreements += int((_decisions(xb, self._head) != nearest).sum())
            self._second += len(xb)

    def result(self, times_c: bool = False) -> dict[str, float]:
        """What `measure` gives for all rows; nc4 only after a complete second pass."""
        self._require_every_class()
        axes, lengths = _axes(self._means, self._eps)
        n = int(self._counts.sum())
        within = ((axes @ self._scatter) * axes).sum(dim=1) / n
        result = _report(self._means, within, lengths, self._head, times_c)
        if self._second not in (0, n):
            raise InputError(
                f"second_pass saw {self._second} rows, expected the {n} of update.\nFeed each row once in each pass."
            )
        return {**result, "nc4": self._disagreements / n} if self._second else result

    def _move(self, x: Tensor) -> None:
        """Follow the features' device."""
        if self._means.device != x.device:
            kept = (self._counts, self._means, self._scatter)
            self._counts, self._means, self._scatter = (part.to(x.device, working_dtype(x)) for part in kept)
            if self._head is not None:
                weight, bias = (part.to(x.device, working_dtype(x)) for part in self._head)
                self._head = weight, bias

    def _require_every_class(self) -> None:
        missing = torch.nonzero(self._counts == 0).flatten().tolist()
        if missing:
            raise InputError(
                f"no sample of class {', '.join(map(str, missing))} was seen, expected all {len(self._counts)}.\n"
                "Feed data that holds every class."
            )


def norm_statistics(features: Any, labels: Any) -> dict[str, float]:
    """Length of the features, its spread within classes and the share of its variance between classes.

    With r = ||h||_2:  norm_mean = mean r;  norm_cv_within = mean over classes of sd_c(r) / mean_c(r), sd with n_c;
    norm_between_share = sum_c n_c (mean_c r - mean r)^2 / sum (r - mean r)^2

    Args:
        features: raw h (N, D). labels: integers (N,), each class at least once.
    Returns:
        dict: norm_mean in the features' units, the other two fractions.
    Raises:
        InputError: lengths that do not vary beyond the rounding of their type (unit features, say): a share of no
            variance does not exist.
    Example:
        >>> import torch
        >>> from ood_core import collapse
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 3.0], [4.0, 0.0], [0.0, 4.0]])
        >>> found = collapse.norm_statistics(features, torch.tensor([0, 0, 1, 1]))
        >>> {name: round(value, 4) for name, value in found.items()}
        {'norm_mean': 3.0, 'norm_cv_within': 0.25, 'norm_between_share': 0.6667}
    """
    x = checks.matrix("features", features)
    y = checks.labels("labels", labels, x.shape[0], every_class=True).to(x.device)
    r = torch.cat([torch.linalg.vector_norm(xb, dim=1) for (xb,) in _blocks(x, 0)])
    mean = r.mean()
    counts = torch.bincount(y).to(r.dtype)
    class_means = torch.zeros_like(counts).index_add_(0, y, r) / counts
    within = torch.zeros_like(counts).index_add_(0, y, (r - class_means[y]) ** 2)
    between = (counts * (class_means - mean) ** 2).sum()
    total = within.sum() + between
    if float((total / len(y)).sqrt()) <= 4 * torch.finfo(x.dtype).eps * float(mean):
        raise InputError(
            f"all features have the length {float(mean):.6g}, expected lengths that vary.\n"
            "Pass raw features, before any normalisation."
        )
    silent = torch.nonzero(class_means == 0).flatten().tolist()
    if silent:
        raise InputError(
            f"all features of class {', '.join(map(str, silent))} are zero, expected a mean length above 0.\n"
            "Look for dead units."
        )
    return {
        "norm_mean": float(mean),
        "norm_cv_within": float(((within / counts).sqrt() / class_means).mean()),
        "norm_between_share": float(between / total),
    }


def _blocks(x: Tensor, classes: int, *labels: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Blocks of rows in float64 with their labels, few enough for as many numbers a row as there are classes."""
    rows = max(1, _BLOCK // max(x.shape[1], classes))
    for part, *own in zip(x.split(rows), *(y.split(rows) for y in labels), strict=True):
        yield widened(part), *own


def _class_sums(x: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Sums (C, D) and counts (C,); on a GPU by a product with the one-hot labels, as adding rows has no order there."""
    counts = torch.bincount(y, minlength=classes).to(x.dtype)
    if x.device.type == "cpu":
        return x.new_zeros(classes, x.shape[1]).index_add_(0, y, x), counts
    return torch.nn.functional.one_hot(y, classes).to(x.dtype).T @ x, counts


def _head(weight: Any, bias: Any, classes: int, like: Tensor) -> tuple[Tensor, Tensor] | None:
    if classes < 2:
        raise InputError(f"labels hold {classes} class, expected at least 2: collapse compares classes.\nPass more.")
    if weight is None:
        if bias is not None:
            raise InputError("bias came without weight, expected both or weight alone.\nPass weight.")
        return None
    if isinstance(weight, Head):
        weight, bias = _parts(weight)
    elif isinstance(weight, nn.Linear):
        weight, bias = weight.weight.detach(), None if weight.bias is None else weight.bias.detach()
    w = checks.matrix("weight", weight, like.shape[1], like="the features")
    b = torch.zeros(len(w)) if bias is None else checks.vector("bias", bias)
    if len(w) != classes or len(b) != classes:
        raise InputError(f"weight has {len(w)} rows and bias {len(b)}, expected {classes} each.\nPass one a class.")
    return w.to(like.device, working_dtype(like)), b.to(like.device, working_dtype(like))


def _parts(head: Head) -> tuple[Tensor, Tensor | None]:
    """W and b of a linear head; other heads take other rows than h, or decide by another rule."""
    if head.kind != "linear":
        how = {
            "unit": "It takes h / ||h||: pass outputs.layer('unit') as features, with head.weight and head.bias.",
            "distance": "Pass the prototypes head.weight minus their mean, with `decided`; there is no head.bias.",
        }
        raise InputError(f"weight is a head of kind {head.kind!r}, expected a linear one.\n{how[head.kind]}")
    return head.weight, head.bias


def _precision(x: Tensor) -> float:
    """Rounding of the values that class means are made of; see `measure` for half precision."""
    return torch.finfo(torch.float64 if x.dtype == torch.float64 else torch.float32).eps


def _axes(means: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Orthonormal axes (K, D) of the centred class means and their singular values (K,), K <= min(C - 1, D)."""
    centred = means - means.mean(dim=0)
    _require_length(centred, means, "the mean of class means, which coincides with that of class")
    _, lengths, axes = torch.linalg.svd(centred, full_matrices=False)
    kept = min(len(means) - 1, means.shape[1])
    cut = max(_RANK, max(means.shape) * eps)
    kept = int((lengths[:kept] > cut * lengths[0]).sum())
    return axes[:kept], lengths[:kept]


def _report(
    means: Tensor, within: Tensor, lengths: Tensor, head: tuple[Tensor, Tensor] | None, times_c: bool
) -> dict[str, float]:
    centred = means - means.mean(dim=0)
    norm, angle = _simplex(centred)
    result = {"nc1": float((within / lengths**2).sum()), "nc2_norm_means": norm, "nc2_angle_means": angle}
    if times_c:
        result["nc1_times_c"] = len(means) * result["nc1"]
    if head is not None:
        weight = head[0]
        _require_length(weight, weight, "a zero row of weight for class")
        norm, angle = _simplex(weight)
        apart = weight / torch.linalg.matrix_norm(weight) - centred / torch.linalg.matrix_norm(centred)
        result |= {"nc2_norm_weights": norm, "nc2_angle_weights": angle, "nc3": float((apart**2).sum())}
    return result


def _simplex(vectors: Tensor) -> tuple[float, float]:
    """Departure of C vectors from equal lengths and from pairwise cosines of -1/(C - 1)."""
    classes = len(vectors)
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    units = vectors / lengths[:, None]
    departure = (units @ units.T + 1 / (classes - 1)).abs()
    off_diagonal = departure.sum() - departure.diagonal().sum()
    return float(lengths.std(correction=1) / lengths.mean()), float(off_diagonal / (classes * (classes - 1)))


def _require_length(vectors: Tensor, made_from: Tensor, what: str) -> None:
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    tiny = max(_TINY, 4 * torch.finfo(vectors.dtype).eps)  # without float64 the sums themselves are rougher
    short = torch.nonzero(lengths <= tiny * torch.linalg.vector_norm(made_from, dim=1).max()).flatten().tolist()
    if short:
        raise InputError(
            f"got {what} {', '.join(map(str, short))}, expected vectors with a direction: NC2 compares their angles.\n"
            "Look for a dead or constant layer."
        )


def _decisions(x: Tensor, head: tuple[Tensor, Tensor]) -> Tensor:
    weight, bias = head
    return (x @ weight.T + bias).argmax(dim=1)


def _nearest(rows: Tensor, means: Tensor) -> Tensor:
    """The nearest mean of each row, by products: both from an origin among them, or features far away would cancel."""
    return ((means**2).sum(dim=1) - rows @ (2 * means).T).argmin(dim=1)
