"""One strict set-up for all tests: one thread, fixed seeds, and no test may leave torch changed for the next."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from ood_core.scorers.base import KINDS
from tests.building import builds, runs, shared, site  # noqa: F401 (fixtures of the built book)
from tests.made_page import made  # noqa: F401 (a fixture for every test)

settings.register_profile("repeat", deadline=None, derandomize=True)  # the same examples on every machine
settings.load_profile("repeat")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # commands called in this process flush them, and hypothesis needs them
    registered = dict(KINDS)
    yield
    KINDS.clear()  # examples in the docs register scorers
    KINDS.update(registered)
    assert torch.get_default_dtype() == torch.float32, "a test left another default dtype"
    assert torch.is_grad_enabled(), "a test left gradients off"
    assert torch.get_num_threads() == 1, "a test left another number of threads"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the trained runs or the built site begins first, being the longest."""
    items.sort(key=lambda item: {"runs", "site", "builds"}.isdisjoint(getattr(item, "fixturenames", ())))
