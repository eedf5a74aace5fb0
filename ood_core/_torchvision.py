"""The one door to torchvision: also opens where its compiled operators do not match the installed torch."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

import torch

from .checks import InputError

_kept: list[torch.library.Library] = []  # an operator lives as long as the library object that declared it


def torchvision() -> ModuleType:
    """Import torchvision, and declare its missing operators first where a CUDA build sits beside a CPU torch.

    That pair comes from plain `pip install` and fails with "operator torchvision::nms does not exist". Nothing here
    calls those operators; data sets and models need none of them.

    Raises:
        InputError: torchvision is not installed.
    """
    try:
        import torchvision as module
    except ModuleNotFoundError as error:
        raise InputError(
            "torchvision is not installed, expected for image sets that it distributes.\n"
            'Install it with: pip install ".[vision]", or put NAME-SPLIT.npz files under $OOD_DATA.'
        ) from error
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
        import torchvision as module
    return cast(ModuleType, module)
