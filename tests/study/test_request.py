"""A request is checked before anything runs."""

import pytest
import torch

from ood_core import study
from ood_core.checks import InputError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"page": "../made"}, "page is '../made'"),
        ({"page": "made", "scale": "huge"}, "scale is 'huge': input should be 'tiny', 'small' or 'paper'"),
        ({"page": "made", "seeds": 0}, "seeds is 0: input should be greater than or equal to 1"),
        ({"page": "made", "seeds": "many"}, "seeds is 'many'"),
        ({"page": "made", "seeds": 1.5}, "seeds is 1.5"),
        ({"page": "made", "device": "tpu"}, "device is 'tpu'"),
        ({"page": "made", "scale": "paper"}, "no recipes at scale 'paper', expected one of: tiny"),
    ],
)
def test_parameters_are_checked_before_anything_runs(made, values, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        study.run_or_load(**{"page": "made", **values})


def test_gpu_asked_for_where_there_is_none(made):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="torch sees no GPU"):
        study.run_or_load("made", device="cuda")
