"""Cross-entropy by hand, with and without the entropic scale."""

import numpy as np
import pytest
import torch

from ood_core.checks import InputError
from ood_core.losses import Batch, objective
from ood_core.recipes.schema import Loss

LOGITS = torch.tensor([[0.0, 0.0], [np.log(3.0), 0.0]], dtype=torch.float64)


def batch(logits, labels):
    return Batch(lambda x: (x, x), logits, torch.tensor(labels), torch.nn.Identity(), torch.Generator())


@pytest.mark.parametrize(("scale", "wrong"), [(1.0, 1 / 4), (2.0, 1 / 10)])
def test_by_hand(scale, wrong):
    """Two rows: even odds, and odds of 3^scale against the label."""
    step = objective(Loss(scale=scale))(batch(LOGITS, [0, 1]))
    assert float(step.loss) == pytest.approx((np.log(2) - np.log(wrong)) / 2)
    assert (int(step.right), step.counted) == (1, 2)


def test_an_unknown_loss_is_refused():
    with pytest.raises(InputError, match="loss is 'hinge'"):
        objective(Loss.model_construct(name="hinge"))
