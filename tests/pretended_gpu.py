"""A GPU that is not there: tensors that say "cuda" and refuse what CUDA would refuse, on the CPU's own arithmetic.

Within `PretendedGPU()` a tensor that was made on "cuda", moved there, or computed from such tensors is marked. Marked
and unmarked tensors do not mix, and numpy does not take a marked one. The numbers are those of the CPU: what is tested
is where tensors lie, which no machine without a GPU would notice. `PretendedMPS()` is Apple's, "mps": it refuses
float64 as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode

CUDA, MPS = torch.device("cuda", 0), torch.device("mps")
_MARK = "_on_pretended_gpu"
_MOVES = {Tensor.to, Tensor.cpu, Tensor.cuda, Tensor.type, Tensor.data.__set__, Tensor.copy_}
_NO_ARITHMETIC = {torch._has_compatible_shallow_copy_type, Tensor.__deepcopy__}
_COPY = Parameter.__deepcopy__
_NUMPY = {Tensor.numpy, Tensor.__array__}


def marked(x: Any) -> bool:
    return isinstance(x, Tensor) and getattr(x, _MARK, False)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _mark(value: Any, on: bool) -> None:
    for tensor in _tensors(value):
        setattr(tensor, _MARK, on)


def _copied(self: Parameter, memo: dict[int, Any]) -> Any:
    """`Parameter.__deepcopy__`, which no mode hears of."""
    known = id(self) in memo
    copied = _COPY(self, memo)
    if not known:
        _mark(copied, marked(self))
    return copied


class PretendedGPU(TorchFunctionMode):
    """Context in which "cuda" can be used."""

    place = CUDA

    def __enter__(self) -> Any:
        self._patches = pytest.MonkeyPatch()
        self._patches.setattr(Parameter, "__deepcopy__", _copied)
        self._patches.setattr(torch.cuda, "is_available", lambda: True)
        self._patches.setattr(torch.cuda, "get_device_name", lambda *_: "pretended GPU")
        self._patches.setattr(torch.cuda, "synchronize", lambda *_: None)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.undo()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (Tensor.device.__get__, Tensor.is_cuda.__get__) and marked(args[0]):
            return self.place if func == Tensor.device.__get__ else self.place == CUDA
        if func in _NUMPY and marked(args[0]):
            raise TypeError(f"can't convert {self.place} device type tensor to numpy. Use Tensor.cpu() first.")
        if func in _MOVES:
            return self._taken(self._move(func, args, kwargs))
        asked = kwargs.get("device")
        on = any(marked(x) for x in _tensors(args[:1] if func == Tensor.__deepcopy__ else [args, kwargs]))
        if asked is not None:
            on, kwargs["device"] = self._is_here(asked), "cpu"
        else:
            _refuse_mixing(func, args, kwargs)
        found = func(*args, **kwargs)
        if on or asked is not None:
            _mark(found, on)
        return self._taken(found)

    def _is_here(self, device: Any) -> bool:
        return device is not None and torch.device(device).type == self.place.type

    def _taken(self, found: Any) -> Any:
        """What was made, unless the device has no such type."""
        return found

    def _move(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func == Tensor.data.__set__:
            func(*args)
            _mark(args[0], marked(args[1]))
            return None
        if func is Tensor.copy_:
            return func(*args, **kwargs)
        x, *rest = args
        on = marked(x)
        if func is Tensor.cpu or func is Tensor.cuda:
            on, rest = func is Tensor.cuda, []
        for place in [*rest, *kwargs.values()]:
            if isinstance(place, Tensor):
                on = marked(place)
            elif isinstance(place, str | torch.device):
                on = self._is_here(place)
        rest = ["cpu" if isinstance(a, str | torch.device) else a for a in rest]
        kwargs = {key: "cpu" if key == "device" else value for key, value in kwargs.items()}
        moved = Tensor.to(x, *rest, **kwargs) if rest or kwargs else x
        if on == marked(x):
            _mark(moved, on)
            return moved
        moved = moved.clone() if moved is x or moved.data_ptr() == x.data_ptr() else moved
        _mark(moved, on)
        return moved


class PretendedMPS(PretendedGPU):
    """Context in which "mps" can be used, which has no float64."""

    place = MPS

    def _taken(self, found: Any) -> Any:
        if any(marked(x) and x.dtype in (torch.float64, torch.complex128) for x in _tensors(found)):
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return found


def _refuse_mixing(func: Any, args: Any, kwargs: Any) -> None:
    """As CUDA does: numbers without axes may come from the CPU, and so may indices into a tensor on the GPU."""
    if func in _NO_ARITHMETIC:
        return
    if func is Tensor.__getitem__ or func is Tensor.__setitem__:
        wrong = not marked(args[0]) and any(marked(x) for x in _tensors(args[1]))
    else:
        found = list(_tensors([args, kwargs]))
        on = any(marked(x) for x in found)
        wrong = on and any(not marked(x) and x.ndim > 0 for x in found)
    if wrong:
        name = getattr(func, "__name__", str(func))
        raise RuntimeError(f"Expected all tensors to be on the same device in {name}, found a GPU and cpu")
