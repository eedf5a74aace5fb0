"""The steps by which files and folders are written and replaced, each of which may be the last."""

import pkgutil
from contextlib import contextmanager

import pytest

MAY_FAIL = ("pathlib.Path.mkdir", "pathlib.Path.rename", "pathlib.Path.replace", "ood_core.files._write")
STEPS = (*MAY_FAIL, "ood_core.files._sync", "shutil.rmtree")


@contextmanager
def before_each_step(act, steps=STEPS):
    """Within, `act` is called with 0, 1, 2 and so on before each step; gives the list of these numbers."""
    taken = []

    def wrapped(step):
        def stepping(*given, **named):
            taken.append(len(taken))
            act(taken[-1])
            return step(*given, **named)

        return stepping

    with pytest.MonkeyPatch.context() as patch:
        for name in steps:
            patch.setattr(name, wrapped(pkgutil.resolve_name(name)))
        yield taken


def fail_at(step, error):
    """What raises an error before one step and does nothing before the others."""

    def act(number):
        if number == step:
            raise error

    return act
