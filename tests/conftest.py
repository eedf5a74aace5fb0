"""One strict set-up for all tests: one thread, fixed seeds, and no test may leave torch changed for the next."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests.building import checkout, runs, site  # noqa: F401 (fixtures of the built book)
from tests.made_page import made  # noqa: F401 (a fixture for every test)

settings.register_profile("repeat", deadline=None, derandomize=True)  # the same examples on every machine
settings.load_profile("repeat")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # commands called in this process flush them, and hypothesis needs them
    yield
    assert torch.get_default_dtype() == torch.float32, "a test left another default dtype"
    assert torch.is_grad_enabled(), "a test left gradients off"
    assert torch.get_num_threads() == 1, "a test left another number of threads"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the built site stay in one process, so that it is built once; those of the runs alone in another.

    Both begin first, being the longest.
    """
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if {"site", "checkout"} & asked:
            item.add_marker(pytest.mark.xdist_group("site"))
        elif "runs" in asked:
            item.add_marker(pytest.mark.xdist_group("runs"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
