"""Neural collapse itself as a loss, in place of cross-entropy. The form is ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import parallel
from ..checks import InputError
from ..recipes.schema import Loss
from .batch import Batch, Step

_TINY = 1e-12  # in denominators: classes that coincide, or features without any spread, have a stated answer


class Collapse:
    """The sum of four departures from neural collapse, on the features of one batch and the last layer's weights.

    With f_i (D,) the feature of image i as the last layer takes it (h, or h / ||h|| for an L2 head), N images, the k
    classes P that are in the batch, and everything below over these classes alone:

        mu_c = mean of f over class c,  mu = mean_c mu_c,  m_c = mu_c - mu,  w'_c = w_c - mean_c w_c
        S_W = 1/N sum_i ||f_i - mu_c(i)||^2,  S_B = 1/k sum_c ||m_c||^2
        G = [<m_a, m_b>] / sum_c ||m_c||^2,  E = (I - 1/k) / (k - 1), the Gram matrix of a simplex of k vertices
        o_c = w_c mu + b_c + <w'_c, m_c> / 2,  r = (1/k) sum_c (o_c - mean_c o_c)^2 / (||W'||_F ||M||_F / k)^2

        NC1 = S_W / (S_W + S_B)                         share of the variance that lies within classes
        NC2 = ||G - E||_F^2                             class means equally long and equally far apart
        NC3 = ||W' / ||W'||_F - M / ||M||_F||_F^2       last layer = class means
        NC4 = log(1 + r)                                no class is favoured but by its mean
        loss = NC1 + NC2 + NC3 + NC4

    Where W' is a multiple of M, whatever the lengths of the m_c, the network decides by the nearest class mean exactly
    if r is zero, so the last term stands for NC4, which itself has no gradient. No term is negative; NC1 is at most 1,
    NC2 at most 2, NC3 at most 4. All are 0 together exactly at a simplex with self-dual weights; any k vertices of a
    simplex are one again, so a class that is absent from the batch changes nothing there. No term depends on the scale
    of features or of weights and bias.

    A class of one image adds nothing to S_W. A batch of one class has no collapse to speak of: its loss is 0 with a
    gradient of 0. In float32 or better, also under autocast. In several processes the batch is that of all.

    Source: ours, after the measures of Papyan et al. 2020, arXiv 2008.08186. Haas et al. (2209.08378, section 4.2)
        train on a loss of collapse measures as well; its formula was not found.
    """

    views = 1

    def __init__(self, _: Loss) -> None:
        pass

    def __call__(self, batch: Batch) -> Step:
        features, logits = batch.forward(batch.images)
        head: Any = batch.head
        if not hasattr(head, "on"):
            raise InputError(
                f"loss is 'collapse' with the head {type(head).__name__}, expected weights that act on features.\n"
                "Use head linear or l2."
            )
        with torch.autocast(features.device.type, enabled=False):
            seen, labels = parallel.gathered(head.on(features.to(head.weight.dtype))), parallel.everyone(batch.labels)
            loss = torch.stack(list(terms(seen, labels, head.weight, head.bias).values())).sum()
        right = (logits.detach().argmax(dim=1) == batch.labels).sum()
        return Step(loss, right, len(batch.labels))


def terms(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None = None) -> dict[str, Tensor]:
    """The four terms of `Collapse` by name, each a scalar with a gradient.

    Args:
        features: (N, D) as the last layer takes them. labels: int64 (N,). weight: (C, D). bias: (C,), 0 if left out.
    """
    present, place = labels.unique(return_inverse=True)
    k, like = len(present), features
    if k < 2:
        nothing = 0 * (features.sum() + weight.sum())
        return dict.fromkeys(("nc1", "nc2", "nc3", "nc4"), nothing)
    one_hot = nn.functional.one_hot(place, k).to(like.dtype)  # (N, k); a product, deterministic on every device
    means = one_hot.T @ features / one_hot.sum(dim=0)[:, None]
    middle = means.mean(dim=0)
    m = means - middle  # (k, D)
    w = weight[present] - weight[present].mean(dim=0)
    size = (m**2).sum() + _TINY  # ||M||_F^2
    spread = ((features - means[place]) ** 2).sum() / len(labels)
    gram = (torch.eye(k, dtype=like.dtype, device=like.device) - 1 / k) / (k - 1)
    own = w / ((w**2).sum() + _TINY).sqrt()
    offset = weight[present] @ middle + (w * m).sum(dim=1) / 2 + (0 if bias is None else bias[present])
    uneven = ((offset - offset.mean()) ** 2).mean() * k**2 / (((w**2).sum() + _TINY) * size)
    return {
        "nc1": spread / (spread + size / k),
        "nc2": ((m @ m.T / size - gram) ** 2).sum(),
        "nc3": ((own - m / size.sqrt()) ** 2).sum(),
        "nc4": uneven.log1p(),
    }
