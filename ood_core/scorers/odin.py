"""ODIN: a softmax score after a small step of the image towards its predicted class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..checks import InputError, outline, said
from ..outputs import Outputs
from ..precision import working_dtype
from .base import Scorer
from .logits import require_logits
from .rows import rounding

_TOLERANCE = 1e-2  # of the largest logit: above what TF32 leaves of a whole network, below what another one gives


@dataclass(kw_only=True, eq=False)
class ODIN(Scorer):
    """Maximum softmax probability at a high temperature, of images moved a step towards their predicted class.

    s(x) = max_c softmax(f(x') / T)_c,  x' = x + epsilon sign(grad_x log softmax(f(x) / T)_y),  y = argmax_c f_c(x)

    The model runs in eval mode and in its own precision, also under autocast, on its own device; its modes, parameters
    and gradients are as before when this returns. It is no parameter and never saved: `scorers.load(path, model=m)`.

    Args:
        model: module that maps a batch of `Outputs.inputs` to logits (a tensor, a tuple that begins with it, or an
            object with `.logits`). `fit` refuses one that gives other logits than its outputs hold; where they hold
            none, also a tuple of several matrices.
        temperature: T > 0, in units of the logits.
        epsilon: at least 0, in units of the preprocessed images; 0 leaves them as they are. The paper chooses it on
            OOD images of the test sets.
        layer: "inputs" only: (N, ...) preprocessed images, from extract(..., keep_inputs=True).
    Attributes:
        batch: images that go through the model together.
    Source: Liang, Li and Srikant 2018, arXiv 1706.02690, equations 1 and 2. Departure: sign(0) = 0, and no division
        of the gradient by the channels' deviations, both as in the equations and not as in the authors' code.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = torch.nn.init.eye_(model.weight)
        >>> images = torch.tensor([[1.0, 0.0], [0.5, 0.6]])
        >>> rows = Outputs(features=images, inputs=images)
        >>> scorers.make("odin", model=model, temperature=1.0, epsilon=0.1).fit(rows).score(rows)
        tensor([0.7685, 0.5744], dtype=torch.float64)
    """

    name: ClassVar[str] = "odin"
    needs: ClassVar[tuple[str, ...]] = ("inputs",)
    given: ClassVar[tuple[str, ...]] = ("model",)
    cost: ClassVar[str] = "score two forward passes and one backward pass of the network"
    source: ClassVar[str] = "Liang, Li and Srikant 2018, arXiv 1706.02690"
    learns: ClassVar[bool] = False
    batch: ClassVar[int] = 64
    sample: ClassVar[int] = 128

    temperature: float = 1000.0
    epsilon: float = 0.0014
    layer: str = "inputs"
    model: InitVar[nn.Module | None] = None

    def __post_init__(self, model: nn.Module | None) -> None:
        if model is not None and not isinstance(model, nn.Module):
            raise InputError(f"odin got a {type(model).__name__} as model, expected a torch module.\nPass the network.")
        self._model = model
        super().__post_init__()

    def _check_parameters(self) -> None:
        if self.layer != "inputs":
            raise InputError(
                f"odin got layer={self.layer!r}, expected 'inputs': it moves the images themselves.\nLeave layer out."
            )
        self._require("temperature", self.temperature > 0, "one above 0", "The paper uses 1000.")
        self._require("epsilon", self.epsilon >= 0, "at least 0", "The paper uses 0.0014.")

    def _rows(self, outputs: Outputs) -> Tensor:
        if outputs.inputs is None:
            raise InputError(
                "odin reads the images, which these outputs lack.\nUse extract(model, images, keep_inputs=True)."
            )
        return outputs.inputs.reshape(len(outputs), -1)

    def _layer(self, outputs: Outputs, columns: int | None = None) -> Tensor:
        x = super()._layer(outputs, columns)
        if columns is not None and outputs.inputs is not None and outputs.inputs.shape[1:] != self._shape():
            raise InputError(
                f"odin got images of shape {tuple(outputs.inputs.shape[1:])}, expected {tuple(self._shape())} as in "
                "fit.\nPreprocess all images alike."
            )
        return x

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        assert outputs.inputs is not None
        model = self._network()
        like = self._like(model, x)
        with _evaluating(model), torch.no_grad(), torch.autocast(like.device.type, enabled=False):
            output = self._output(model, outputs.inputs[: self.batch].to(like))
        logits = self._first(output)
        require_logits(self.name, logits, self.memory, or_logarithms=True)
        if outputs.logits is not None:
            self._require_same(logits, outputs.logits[: self.batch])
        elif isinstance(output, list | tuple) and sum(isinstance(x, Tensor) and x.ndim == 2 for x in output) > 1:
            raise InputError(
                "odin's model returned several matrices, expected logits alone: these outputs hold none that would "
                "tell which they are.\nPass a model that returns the logits, or outputs of extract, which hold them."
            )
        return {"shape": torch.tensor(outputs.inputs.shape[1:], dtype=working_dtype(x))}

    def _score(self, x: Tensor) -> Tensor:
        model = self._network()
        like = self._like(model, x)
        shape = self._shape()
        # Where the caller has gradients off, or in inference mode, they are needed all the same.
        whole = torch.autocast(like.device.type, enabled=False)  # `score` sees to the outputs' device alone
        with _evaluating(model), torch.inference_mode(False), torch.enable_grad(), whole:
            scores = [self._of_batch(model, part.to(like).clone().reshape(-1, *shape)) for part in x.split(self.batch)]
        return torch.cat(scores).to(x)

    def _of_batch(self, model: nn.Module, images: Tensor) -> Tensor:
        if self.epsilon > 0:
            images.requires_grad_()
            confidence = self._log_probabilities(model, images).amax(dim=1)
            # Rows share no batch statistics in eval mode: the gradient of the sum holds each row's own.
            (gradient,) = torch.autograd.grad(confidence.sum(), images)
            images = images.detach() + self.epsilon * gradient.sign()
        with torch.no_grad():
            return self._log_probabilities(model, images).amax(dim=1).exp()

    def _log_probabilities(self, model: nn.Module, images: Tensor) -> Tensor:
        logits = self._first(self._output(model, images))
        return (logits.to(working_dtype(logits)) / self.temperature).log_softmax(dim=1)

    def _output(self, model: nn.Module, images: Tensor) -> Any:
        try:
            output = model(images)
        except (InputError, torch.OutOfMemoryError):
            raise
        except (RuntimeError, IndexError, TypeError, ValueError, AssertionError) as error:
            first = next((outline(p) for p in model.parameters()), "none")
            raise InputError(
                f"odin's model failed on images {outline(images)} ({said(error)}), expected images that fit its "
                f"parameters (the first is {first}).\nPass the model that these images were prepared for."
            ) from error
        return getattr(output, "logits", output)

    def _first(self, output: Any) -> Tensor:
        """The logits in what the model returned."""
        logits = output[0] if isinstance(output, list | tuple) and output else output
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(
                f"odin's model returned {got}, expected logits (B, C) with C >= 2.\nWrap it in a module that does so."
            )
        return logits

    def _require_same(self, found: Tensor, given: Tensor) -> None:
        """Refuse a model whose logits are others than those of the outputs, by more than its rounding."""
        advice = "Pass the model of these outputs; one that returns a tuple must return its logits first."
        if found.shape != given.shape:
            raise InputError(
                f"odin's model gives {found.shape[1]} logits an image, expected the {given.shape[1]} of these outputs."
                f"\n{advice}"
            )
        given = given.to(working_dtype(given))
        apart = float((found.to(given) - given).abs().max())
        share = _TOLERANCE + 4 * max(rounding(found), rounding(given))
        if not apart <= share * float(given.abs().max()):
            raise InputError(
                f"odin's model gives other logits than these outputs hold (apart by {apart:.3g}), expected the same.\n"
                f"{advice}"
            )

    def _like(self, model: nn.Module, x: Tensor) -> Tensor:
        """What the images must be like for the model: its precision and its device."""
        return next((p for p in model.parameters() if p.is_floating_point()), x)

    def _network(self) -> nn.Module:
        if self._model is None:
            raise InputError(
                "odin has no model, which no file holds, expected one.\n"
                "Pass it: scorers.make('odin', model=m) or scorers.load(path, model=m)."
            )
        return self._model

    def _shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self._state["shape"])

    def _facts(self) -> dict[str, Any]:
        return {"input_shape": list(self._shape())}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; each module's own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
