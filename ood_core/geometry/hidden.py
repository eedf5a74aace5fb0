"""What a layer's activations say by their signs: entropy of activation and the hidden classifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..precision import widened, working_dtype

_BLOCK = 2**23  # numbers of float64 in one block: 64 MB, of which a few live at once


def activation_entropy(features: Any) -> float:
    """Entropy of whether a unit is on, averaged over units, in nats.

    mean_d H(q_d),  q_d = share of samples with h_d > 0,  H(q) = -q log q - (1 - q) log(1 - q),  0 log 0 = 0

    Args:
        features: (N, D), after the activation; a unit is on above 0 exactly.
    Returns:
        nats in [0, log 2].
    Source: Park et al. 2023, arXiv 2310.05316, equation 7. Departure: the paper names no base of its logarithm.
    Example:
        >>> import torch
        >>> from ood_core import geometry
        >>> features = torch.tensor([[2.0, 1.0], [3.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
        >>> round(geometry.activation_entropy(features), 4)  # units that are on half and three quarters of the time
        0.6277
    """
    x = checks.matrix("features", features)
    on = sum((block > 0).sum(dim=0) for block in torch.split(x, max(1, _BLOCK // x.shape[1])))
    q = torch.as_tensor(on).cpu().double() / len(x)
    return float(-(torch.xlogy(q, q) + torch.xlogy(1 - q, 1 - q)).mean())


def hidden_confidence(features: Any, coefficients: Any) -> Tensor:
    """Logits of the classifier hidden in a layer; their largest is its confidence.

    psi_k = b_k . a,  B = sign(C) with sign(0) = -1

    Args:
        features: a (N, D), activations of the layer.
        coefficients: C (K, D), what turns the layer into logits, as W of the last layer; or (N, K, D), one for each
            sample, as for layers before. Only signs count.
    Returns:
        tensor (N, K), float64 where the device has it.
    Source: Park et al. 2023, arXiv 2310.05316, equation 3.
    Example:
        >>> import torch
        >>> from ood_core import geometry
        >>> weight = torch.tensor([[0.3, -0.2, 0.9], [-0.4, 0.1, 0.5]])  # signs + - + and - + +
        >>> geometry.hidden_confidence(torch.tensor([[2.0, 0.0, 1.0], [0.0, 2.0, 0.0]]), weight)
        tensor([[ 3., -1.],
                [-2.,  2.]], dtype=torch.float64)
    """
    a, c = _activations(features, coefficients)
    return torch.cat([_products(block, _signs(part)) for block, part in _pieces(a, c)])


class HolderBound(NamedTuple):
    """What `holder_bound` gives.

    Attributes:
        gap: ||a||_1 - b_k . a, (N, K), float64 where the device has it.
        bound: ||a||_inf ||sign(a) - b_k||_1, (N, K), as gap.
        violation: how far 0 <= gap <= bound fails at worst, as a share of ||a||_1; rounding leaves about 1e-15.
    """

    gap: Tensor
    bound: Tensor
    violation: float


def holder_bound(features: Any, coefficients: Any) -> HolderBound:
    """Both sides of the bound on the gap between the l1 norm and the hidden logits.

    0 <= ||a||_1 - b_k . a <= ||a||_inf ||sign(a) - b_k||_1,  B = sign(C) with sign(0) = -1, and so for a

    It holds for every vector and every matrix of signs: it checks code, and is no evidence for the theory.

    Args:
        features: a (N, D). coefficients: C (K, D) or (N, K, D), as in `hidden_confidence`.
    Source: Park et al. 2023, arXiv 2310.05316, theorem 3, equation 5.
    Example:
        >>> import torch
        >>> from ood_core import geometry
        >>> weight = torch.tensor([[0.3, -0.2, 0.9], [-0.4, 0.1, 0.5]])
        >>> found = geometry.holder_bound(torch.tensor([[2.0, 0.0, 1.0], [0.0, 2.0, 0.0]]), weight)
        >>> found.gap
        tensor([[0., 4.],
                [4., 0.]], dtype=torch.float64)
        >>> found.bound
        tensor([[ 0.,  8.],
                [12.,  4.]], dtype=torch.float64)
    """
    a, c = _activations(features, coefficients)
    gaps, bounds, worst = [], [], 0.0
    for block, part in _pieces(a, c):
        signs = _signs(part)
        length = block.abs().sum(dim=1, keepdim=True)
        gaps.append(length - _products(block, signs))
        # |s - b| is 1 - s b for signs s and b.
        apart = block.shape[1] - _products(_signs(block), signs)
        bounds.append(block.abs().amax(dim=1, keepdim=True) * apart)
        off = torch.maximum(-gaps[-1], gaps[-1] - bounds[-1]) / length.masked_fill(length == 0, 1.0)
        worst = max(worst, float(off.max()))
    return HolderBound(torch.cat(gaps), torch.cat(bounds), worst)


def _activations(features: Any, coefficients: Any) -> tuple[Tensor, Tensor]:
    a = checks.matrix("features", features)
    c = checks.finite("coefficients", checks.tensor("coefficients", coefficients)).to(a.device)
    if c.ndim not in (2, 3) or c.numel() == 0 or c.shape[-1] != a.shape[1] or (c.ndim == 3 and len(c) != len(a)):
        raise InputError(
            f"coefficients have shape {tuple(c.shape)}, expected (K, {a.shape[1]}) or ({len(a)}, K, {a.shape[1]}).\n"
            "Pass W of the last layer, or one matrix for each sample."
        )
    return a, c


def _pieces(a: Tensor, c: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of samples with the coefficients that they share or have each."""
    rows = max(1, _BLOCK // (a.shape[1] * (c.shape[1] if c.ndim == 3 else 1) + c.shape[-2]))
    for start in range(0, len(a), rows):
        yield widened(a[start : start + rows]), c if c.ndim == 2 else c[start : start + rows]


def _signs(values: Tensor) -> Tensor:
    """+1 above 0, else -1: a sign function with 0 for 0 would give another right side of the bound."""
    return torch.where(values > 0, 1.0, -1.0).to(working_dtype(values))


def _products(rows: Tensor, signs: Tensor) -> Tensor:
    """b_k . a (n, K)."""
    return rows @ signs.T if signs.ndim == 2 else (signs @ rows[:, :, None]).squeeze(2)
