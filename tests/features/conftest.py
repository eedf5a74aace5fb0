"""The model and the images that most tests of extraction share."""

import pytest
import torch

from tests.features.cases import Small


@pytest.fixture
def model():
    made = Small()
    for _ in range(3):  # running statistics that differ from a batch's
        made(torch.randn(16, 3, 6, 6))
    return made.train()


@pytest.fixture
def x():
    return torch.randn(11, 3, 6, 6)
