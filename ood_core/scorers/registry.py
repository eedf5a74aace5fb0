"""Scorers by name: those of this package, and those that a user adds."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass

from ..checks import InputError
from .base import KINDS, Scorer


def register(kind: type[Scorer]) -> type[Scorer]:
    """Add a scorer of your own, so that `make`, `load`, `describe`, `then` of a transform and ensembles know its name.

    Usable as a decorator. A file of such a scorer is loaded where the same class has been registered before. The same
    class may be registered again, as when a notebook's cell runs twice.

    Args:
        kind: a keyword-only dataclass derived from `Scorer` with a `name`, `cost` and `source` of its own and a default
            of type bool, int, float, str or dict for every field. It gives `_score(x)`, rows (n, D) in float64 to
            scores (n,), larger = more in-distribution; and where it learns, `_fit(x, outputs)`, which gives tensors by
            name, for `_score` to find in `self._state`.
    Returns:
        the class itself.
    Raises:
        InputError: a class of another kind, something missing, or a name that another scorer has.
    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> @scorers.register
        ... @dataclass(kw_only=True, eq=False)
        ... class Nearest(scorers.Scorer):
        ...     '''Minus the distance to the mean of the training rows.'''
        ...     name, cost, source = "my_nearest", "N D", "ours"
        ...     power: float = 1.0
        ...     def _fit(self, x, outputs):
        ...         return {"mean": x.double().mean(dim=0)}
        ...     def _score(self, x):
        ...         return -(x - self._state["mean"]).norm(dim=1) ** self.power
        >>> rows = Outputs(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> scorers.make("my_nearest").fit(rows).score(rows)
        tensor([-1., -1.], dtype=torch.float64)
    """
    if not inspect.isclass(kind) or not issubclass(kind, Scorer) or not is_dataclass(kind):
        raise InputError(
            f"register got {kind!r}, expected a dataclass derived from scorers.Scorer.\n"
            "Put @dataclass(kw_only=True, eq=False) on a class(scorers.Scorer)."
        )
    missing = [field for field in ("name", "cost", "source") if not isinstance(vars(kind).get(field), str)]
    missing += sorted(kind.__abstractmethods__)
    if missing:
        raise InputError(
            f"register got {kind.__name__} without {', '.join(missing)} of its own, expected them.\n"
            "A name of its own tells its files and rows from those of other scorers."
        )
    kind.check_defaults()
    known = KINDS.get(kind.name)
    if known is not None and (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise InputError(
            f"register got the name {kind.name!r}, which {known.__module__}.{known.__qualname__} has, expected another."
            "\nGive the class a name of its own."
        )
    KINDS[kind.name] = kind
    return kind
