"""Everything on a GPU, as far as that can be tried without one: tensors lie where CUDA wants them, numbers stay."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from ood_core import Outputs, collapse, geometry, metrics, recipes, scorers, stats, study
from ood_core.runs import Planned, run
from ood_core.scorers import artifact
from ood_core.store import Store

from .pretended_gpu import MPS, PretendedGPU, PretendedMPS, marked
from .scorers import cases
from .scorers.cases import CASES, IDS, VARIANTS, outputs

TIMES = {"fit_seconds", "score_microseconds", "latency_ms", "latency_log_ratio"}
SHAPES = ("react", "ash", "scale")  # what they save of the head and of the scorer behind them are copies
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
    monkeypatch.setattr(cases, "MODEL", CASES[name].given.get("model"))
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


def test_the_pretended_mps_has_no_float64():
    with PretendedMPS():
        there = torch.ones(3, device="mps")
        assert (there + 1).device == MPS
        assert there.cpu().double().dtype == torch.float64
        for wrong in (there.double, lambda: torch.ones(3, dtype=torch.float64).to("mps")):
            with pytest.raises(TypeError, match="doesn't support float64"):
                wrong()


def narrow(part: Outputs) -> Outputs:
    """In float32 and on a device that has nothing wider."""
    kept = {name: getattr(part, name).float() for name in ("features", "logits", "inputs")}
    head = copy.copy(part.head)
    object.__setattr__(head, "weight", head.weight.float())
    object.__setattr__(head, "bias", None if head.bias is None else head.bias.float())
    layers = {name: layer.float() for name, layer in part.layers.items()}
    return Outputs(**kept, labels=part.labels, head=head, layers=layers)


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=IDS)
def test_scorers_work_without_float64_and_stay_as_they_were_fitted(name, settings, monkeypatch, tmp_path):
    monkeypatch.setattr(cases, "HEAD_KIND", CASES[name].head_kind)
    monkeypatch.setattr(cases, "MODEL", CASES[name].given.get("model"))
    train, test, given = narrow(outputs()), narrow(outputs((9, 9, 9, 9), seed=1)), CASES[name].given
    scorer = scorers.make(name, **settings, **given).fit(train)
    before = {key: (value, value.clone()) for key, value in scorer._tensors().items()}
    wanted = scorer.score(test)
    scorer.save(tmp_path / "before")
    with PretendedMPS():
        there = test.to("mps")
        network = {key: copy.deepcopy(value).float().to("mps") for key, value in given.items()}
        found = scorer if not given else scorers.load(tmp_path / "before", **network)
        got = [found.score(there) for _ in range(2)]
        assert all(marked(scores) and scores.dtype == torch.float32 for scores in got)
        assert torch.equal(got[0], got[1])
        made = scorers.make(name, **settings, **network).fit(train.to("mps"))
        made.calibrate(there).predict(there)
        made.summary()
        assert scorers.make(name, **settings, **given).fit(train.to("mps")).score(test).dtype == torch.float64
    assert all(scorer._tensors()[key] is value or name in SHAPES for key, (value, _) in before.items())
    assert all(torch.equal(scorer._tensors()[key], copied) for key, (_, copied) in before.items())
    assert torch.equal(scorer.score(test), wanted)
    scorer.save(tmp_path / "after")
    (old, kept), (new, again) = (artifact.read(tmp_path / name) for name in ("before", "after"))
    assert new == old
    assert all(torch.equal(again[key], value) and again[key].dtype == value.dtype for key, value in kept.items())
    scale = float(wanted.abs().max())
    np.testing.assert_allclose(got[0].cpu().double(), wanted, rtol=1e-3, atol=1e-4 * scale)


def test_moved_tensors_are_kept_until_the_next_fit():
    first, second = narrow(outputs()), narrow(outputs(seed=3))
    scorer = scorers.make("ddu").fit(first)
    with PretendedMPS():
        there = second.to("mps")
        scores = scorer.score(there)
        (_, _, moved) = scorer._moved
        scorer.score(second)
        scorer.score(there)
        assert scorer._moved[2] is moved
        again = scorer.fit(second).score(there)
        assert not torch.equal(again, scores)
        assert torch.equal(again, scorers.make("ddu").fit(second).score(there))


def test_collapse_geometry_and_metrics_work_without_float64():
    part = narrow(outputs())
    here = {"features": part.features, "labels": part.labels}

    def measured(features, labels, device):
        weight, bias = part.head.weight.to(device), part.head.bias.to(device)
        stream = collapse.Stream(4, features.shape[1], weight, bias)
        stream.update(features[:90], labels[:90])
        stream.update(features[90:], labels[90:])
        stream.second_pass(features)
        probabilities = (features @ weight.T + bias).softmax(dim=1)
        return [
            *collapse.measure(features, labels, weight, bias, times_c=True).values(),
            *stream.result().values(),
            *collapse.norm_statistics(features, labels).values(),
            geometry.activation_entropy(features),
            geometry.local_purity(features, labels),
            geometry.silhouette(features, labels),
            *(
                float(value)
                for metric in ("cosine", "euclidean")
                for share in (1.0, 0.3)
                for value in geometry.global_separation(features, labels, share, metric)
            ),
            *(float(value) for value in geometry.hidden_confidence(features, weight).flatten()),
            *(float(value) for value in geometry.holder_bound(features, weight).bound.flatten()),
            metrics.ece(probabilities, labels),
            metrics.auroc(features[:9, 0], features[9:, 0]),
            stats.t_interval(features[:9, 0]).high,
        ]

    wanted = measured(**here, device="cpu")
    with PretendedMPS():
        got = measured(**{key: value.to("mps") for key, value in here.items()}, device="mps")
    assert got == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_separation_in_blocks_settles_numbers_of_either_type_bit_by_bit(metric, monkeypatch):
    monkeypatch.setattr(geometry.separation, "_BLOCK", 100)
    part = narrow(outputs())
    wanted = geometry.global_separation(part.features, part.labels, 0.3, metric)
    with PretendedMPS():
        got = geometry.global_separation(part.features.to("mps"), part.labels.to("mps"), 0.3, metric)
        assert got.dtype == torch.float32
    assert got.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


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
