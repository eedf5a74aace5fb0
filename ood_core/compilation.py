"""`torch.compile` for backbones: optional, since it takes longer than a short training and changes the last bits."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from .checks import InputError

BACKEND = "inductor"
LIMIT = 64  # structures compiled in one process; torch goes on without compiling after 8, and says nothing


def compiled(backbone: nn.Module) -> Callable[[Tensor], Tensor]:
    """The module as a function that compiles itself when first called, for one shape of images.

    What was compiled is kept by structure, not by module: other seeds of the same network find it there.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, LIMIT)
    return torch.compile(backbone, dynamic=False, backend=BACKEND)


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Within, what is compiled compiles; gives a clock of the wall seconds since its start.

    Raises:
        InputError: there is no compiler, or it failed.
    """
    import torch._dynamo.exc

    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, on what it imports and traces
            yield lambda: time.perf_counter() - start
    except torch._dynamo.exc.TorchDynamoException as error:
        raise InputError(
            f"torch.compile failed ({_reason(error)}), expected a network that it can compile here.\n"
            "Install a C++ compiler such as g++ (on a GPU, triton), or train without --compile."
        ) from error


def _reason(error: BaseException) -> str:
    """The first two lines of what torch says: which backend, and its own error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
