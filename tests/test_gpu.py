"""Everything on a GPU, as far as that can be tried without one: tensors lie where CUDA wants them, numbers stay."""

import copy

import pandas as pd
import pytest
import torch

from ood_core import recipes, scorers, study
from ood_core.runs import Planned, run
from ood_core.store import Store

from .pretended_gpu import PretendedGPU, marked
from .scorers import cases
from .scorers.cases import CASES, IDS, VARIANTS, outputs

TIMES = {"fit_seconds", "score_microseconds", "latency_ms", "latency_log_ratio"}
RUNS = [
    ("l2-norm", "l2"),
    ("l2-collapse", "l2-ddu"),
    ("nan", "mlp"),
    ("clusters", "supcon"),
    ("isomax", "isomax"),
    ("isomax", "dismax-composite"),
]


def test_the_pretended_gpu_refuses_what_a_gpu_would():
    with PretendedGPU():
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        assert (there + 1).device == torch.nn.Linear(3, 2).to("cuda")(there).device == torch.device("cuda", 0)
        assert there.cpu().device == torch.zeros_like(there, device="cpu").device == here.device
        assert (there[here > 0] * torch.tensor(2.0)).is_cuda
        for wrong in (lambda: here + there, lambda: torch.stack([here, there]), lambda: here[there > 0]):
            with pytest.raises(RuntimeError, match="same device"):
                wrong()
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
            there.numpy()
    assert there.device == here.device


def test_outputs_move_whole():
    whole = outputs()
    with PretendedGPU():
        there = whole.to("cuda")
        tensors = [there.features, there.logits, there.labels, there.inputs, there.correct, *there.layers.values()]
        assert all(marked(x) for x in (*tensors, there.head.weight, there.head.bias))
        back = there.to("cpu")
    assert not any(marked(x) for x in (back.features, back.head.weight))
    assert torch.equal(back.features, whole.features)
    assert set(back.layers) == set(whole.layers)


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=IDS)
def test_scorers_work_where_the_outputs_are(name, settings, monkeypatch):
    monkeypatch.setattr(cases, "HEAD_KIND", CASES[name].head_kind)
    train, test, given = outputs(), outputs((9, 9, 9, 9), seed=1), CASES[name].given
    wanted = scorers.make(name, **settings, **given).fit(train).score(test)
    with PretendedGPU():
        there = {key: copy.deepcopy(value).to("cuda") for key, value in given.items()}
        scorer = scorers.make(name, **settings, **there).fit(train.to("cuda"))
        got = scorer.score(test.to("cuda"))
        assert marked(got)
        assert marked(scorer.calibrate(test.to("cuda")).predict(test.to("cuda")))
        scorer.summary()
        assert torch.equal(got.cpu(), wanted)
        assert torch.equal(scorer.score(test), wanted)  # fitted there, used here


@pytest.mark.parametrize(("page", "name"), RUNS)
def test_runs_train_and_measure_on_it(page, name, tmp_path):
    recipe = recipes.load(page, "tiny")[name]
    short = {"schedule": {"epochs": 2}, "evaluate": {"record": ()}}
    recipe = recipe.model_copy(
        update={part: getattr(recipe, part).model_copy(update=changes) for part, changes in short.items()}
    )
    planned = Planned((recipe,), 0, "key", "to train")
    here = run(planned, Store(tmp_path / "here"), torch.device("cpu"))
    with PretendedGPU():
        assert study.Request.check(page=page).torch_device.type == "cuda"
        there = run(planned, Store(tmp_path / "there"), torch.device("cuda"))
    assert there.info["hardware"]["name"] == "pretended GPU"
    pd.testing.assert_frame_equal(there.history(), here.history())
    mine, theirs = (found.rows().query("metric not in @TIMES") for found in (here, there))
    assert len(mine) > 50
    pd.testing.assert_frame_equal(theirs, mine)
