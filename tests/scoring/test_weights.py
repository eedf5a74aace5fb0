"""Weights whose names a wrapper has lengthened."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ood_core.checks import InputError
from ood_core.scoring import weights


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
def test_a_wrapper_before_every_name_is_taken_off(tmp_path, prefix):
    path, made, filled = tmp_path / "w.st", network(0), network(1)
    save_file({prefix + key: value for key, value in made.state_dict().items()}, path)
    weights.fill(filled, path, "it")
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in filled.state_dict().items())


def test_names_as_torch_itself_lengthens_them_are_taken(tmp_path):
    path, made = tmp_path / "w.st", network()
    compiled = torch.compile(made, backend="eager")
    for wrapped in (nn.DataParallel(made), compiled, nn.DataParallel(compiled)):
        assert all(key.startswith(weights.WRAPPERS) for key in wrapped.state_dict())
        save_file(wrapped.state_dict(), path)
        weights.fill(network(), path, "it")


def test_a_wrapper_stays_that_some_names_lack_or_that_the_network_has_too(tmp_path):
    path, made = tmp_path / "w.st", network()
    some = {key if key.startswith("2.") else f"module.{key}": value for key, value in made.state_dict().items()}
    save_file(some, path)
    with pytest.raises(InputError, match=r"0.weight is missing[\s\S]* and 11 more"):
        weights.fill(made, path, "it")
    holder = nn.ModuleDict({"module": made})
    save_file(holder.state_dict(), path)
    weights.fill(holder, path, "it")
    save_file({}, path)
    with pytest.raises(InputError, match=r"0.weight is missing"):
        weights.fill(made, path, "it")
