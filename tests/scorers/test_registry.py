"""What every scorer in the registry owes: its definition, independent rows, files, refusals, no NaN."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ood_core import Outputs, scorers
from ood_core.checks import InputError, NotFittedError
from ood_core.outputs import HEAD_KINDS, Head
from ood_core.scorers import artifact

from . import cases
from .cases import CASES, DIM, IDS, VARIANTS, expected, outputs, wide_outputs

each = pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=IDS)
each_name = pytest.mark.parametrize("name", scorers.names())
with_labels = pytest.mark.parametrize("name", [n for n in scorers.names() if "labels" in scorers.describe(n)["needs"]])
with_layers = pytest.mark.parametrize("name", [n for n in scorers.names() if scorers.describe(n)["layer"] != "inputs"])


@pytest.fixture(autouse=True)
def _what_the_scorer_at_hand_works_on(request, monkeypatch):
    """Outputs behind its kind of head, and what `make` and `load` need beside parameters."""
    callspec = getattr(request.node, "callspec", None)
    name = callspec.params.get("name") if callspec else None
    if name in CASES:
        monkeypatch.setattr(cases, "HEAD_KIND", CASES[name].head_kind)
        monkeypatch.setattr(cases, "MODEL", CASES[name].given.get("model"))
        make, load, given = scorers.make, scorers.load, CASES[name].given
        monkeypatch.setattr(scorers, "make", lambda name, **parameters: make(name, **{**given, **parameters}))
        monkeypatch.setattr(scorers, "load", lambda path: load(path, **given))


def close(got, wanted, rtol=1e-6):
    np.testing.assert_allclose(got.double().numpy(), wanted, rtol=rtol, atol=1e-12 * np.abs(wanted).max())


def broken(base: Outputs, change) -> Outputs:
    """The same outputs with every layer changed in the same way."""
    return dataclasses.replace(
        base,
        features=change(base.features),
        logits=change(base.logits),
        layers={key: change(value) for key, value in base.layers.items()},
        inputs=change(base.inputs.flatten(1)).reshape(base.inputs.shape),
        correct=None,
    )


def test_every_scorer_has_an_oracle_and_every_parameter_a_trial():
    assert set(CASES) == set(scorers.names())
    for name, case in CASES.items():
        tried = {key for settings in case.settings for key in settings} | {"layer"}
        assert tried >= set(scorers.describe(name)["parameters"]), name


@each
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_agrees_with_its_definition(name, settings, scale):
    train, test = outputs(scale=scale), outputs((7, 9, 8, 6), scale=scale, seed=1)
    got = scorers.make(name, **settings).fit(train).score(test)
    assert got.shape == (30,)
    assert got.dtype == torch.float64
    close(got, expected(name, settings, train, test))


# Left out: a network of the small images, and a definition that takes a minute.
WIDE = [name for name in scorers.names() if name not in ("odin", "kl_matching")]


@pytest.mark.parametrize("name", WIDE)
def test_agrees_with_its_definition_in_many_dimensions_and_classes(name):
    train, test = wide_outputs(), wide_outputs(1, seed=1)[:6]
    got = scorers.make(name).fit(train).score(test)
    close(got, expected(name, {}, train, test))


DEFAULTS = {
    "msp": {"temperature": 1.0},
    "max_logit": {},
    "energy": {"temperature": 1.0},  # Liu et al. 2020: T = 1 for all results
    "entropy": {"temperature": 1.0},
    "kl_matching": {"classes": "predicted"},
    "gen": {"gamma": 0.1, "M": 100},  # Liu, Lochman and Zach 2023, for ImageNet
    "min_distance": {},
    "mmles": {},
    "feature_norm": {"p": 2.0},  # Haas, Yolland and Rabus 2024
    "nan": {},
    "active_count": {},
    "ddu": {"ridge": 1e-4, "jitter": "relative"},
    "mahalanobis": {"ridge": 1e-4},
    "relative_mahalanobis": {"ridge": 1e-4},
    "knn": {"k": 50, "which": "kth", "exclude_self": False},  # Sun et al. 2022: k = 50 for CIFAR-10
    "nnguide": {"k": 10, "ratio": 1.0, "seed": 0},  # Park, Jung and Teoh 2023: k = 10
    "cluster": {
        "distance": "euclidean",
        "centres": "class_means",
        "clusters": 0,
        "seed": 0,
        "n_init": 20,
        "pca": 0,
        "ridge": 1e-4,
        "threshold": "global",
    },
    "ssd": {"clusters": 1, "ridge": 1e-4, "seed": 0, "n_init": 20},  # Sehwag, Chiang and Mittal 2021: one cluster
    "cluster_leaky": {"distance": "euclidean", "ridge": 1e-4},
    "knn_nan": {"on": "unit", "clip": 0.0, "k": 50, "which": "kth", "squared": False},
    "ssd_nan": {
        "on": "unit",
        "clip": 0.0,
        "clusters": 1,
        "ridge": 1e-4,
        "seed": 0,
        "n_init": 20,
        "squared": True,
    },
    "react_nan": {"quantile": 0.95},  # the authors' code for arXiv 2309.14888
    "vim": {"dim": 0},
    "residual": {"dim": 0, "origin": "head"},
    "neco": {"dim": 0, "share": 0.9, "scaling": "standard", "times": "none"},
    "nci": {"alpha": 1e-4, "p": 1.0},  # Liu and Qin 2025: p = 1
    "fdbd": {},
    "she": {},
    "react": {"then": "energy", "then_params": {}, "quantile": 0.9},  # Sun, Guo and Li 2021: the 90th percentile
    "ash": {"then": "energy", "then_params": {}, "variant": "s", "quantile": 0.9},
    "scale": {"then": "energy", "then_params": {}, "quantile": 0.85},  # Xu et al. 2024: the 85th percentile
    "odin": {"temperature": 1000.0, "epsilon": 0.0014},  # Liang, Li and Srikant 2018
}


def test_defaults_are_the_published_ones():
    """Where a docstring names a paper's number it is this one; the others would change rows that are recorded."""
    found = {name: scorers.describe(name)["parameters"] for name in scorers.names()}
    assert {name: {k: v for k, v in found[name].items() if k != "layer"} for name in found} == DEFAULTS
    unit = {name for name in found if found[name]["layer"] == "unit"}
    assert unit == {"knn", "nnguide", "ssd"}


ROTATED = ["feature_norm", "ddu", "mahalanobis", "relative_mahalanobis", "knn", "nnguide", "cluster", "cluster_leaky"]
ROTATED += ["vim", "residual", "fdbd", "she"]


@each_name
@examples(max_examples=4)
@given(
    per_class=st.lists(st.integers(16, 40), min_size=4, max_size=4),
    seed=st.integers(0, 99),
    cut=st.integers(1, 19),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_laws_hold_on_any_sample(name, per_class, seed, cut, dtype):
    """Rows in another order, in two batches or, where directions do not matter, turned together, score the same."""
    train, test = outputs(per_class, dtype=dtype, seed=seed), outputs((5, 5, 5, 5), dtype=dtype, seed=seed + 100)
    generator = torch.Generator().manual_seed(seed)
    order, other = torch.randperm(len(train), generator=generator), torch.randperm(len(test), generator=generator)
    plain = scorers.make(name).fit(train).score(test)
    moved = scorers.make(name).fit(train[order])
    parts = torch.cat([moved.score(test[other][:cut]), moved.score(test[other][cut:])])
    close(parts, plain[other].numpy(), 1e-8)
    if name in ROTATED:
        turn = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64)).Q
        turned = [
            dataclasses.replace(
                part,
                features=part.features.double() @ turn,
                head=dataclasses.replace(part.head, weight=part.head.weight @ turn),
            )
            for part in (train, test)
        ]
        close(
            scorers.make(name).fit(turned[0]).score(turned[1]), plain.numpy(), 1e-5 if dtype == torch.float32 else 1e-7
        )


UNIT = [
    (name, settings)
    for name, settings in VARIANTS
    if "unit"
    in (settings.get("layer", scorers.describe(name)["layer"]), scorers.describe(name)["parameters"].get("on"))
]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("name", "settings"), UNIT, ids=[i for i, v in zip(IDS, VARIANTS, strict=True) if v in UNIT])
def test_unit_features_of_half_precision_keep_the_digits_of_float32(name, settings, dtype):
    parts = [broken(part, lambda t: t.to(dtype)) for part in (outputs(), outputs((7, 9, 8, 6), seed=1))]
    wide = [broken(part, torch.Tensor.double) for part in parts]
    got, wanted = (scorers.make(name, **settings).fit(train).score(test) for train, test in (parts, wide))
    # Quotients rounded to half precision were off by 2e-4 (float16) to 2e-2.
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5 * float(wanted.abs().max()))


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_takes_lower_precision_and_sums_in_float64(name, settings, dtype):
    train, test = outputs(dtype=dtype), outputs((7, 9, 8, 6), dtype=dtype, seed=1)
    scorer = scorers.make(name, **settings).fit(train)
    close(scorer.score(test), expected(name, settings, train, test))
    assert test.features.dtype == dtype


@each
def test_does_not_depend_on_the_order_of_rows(name, settings):
    train, test = outputs(), outputs((7, 9, 8, 6), seed=1)
    shuffled, order = torch.randperm(len(train)), torch.randperm(len(test))
    plain = scorers.make(name, **settings).fit(train).score(test)
    close(scorers.make(name, **settings).fit(train[shuffled]).score(test[order]), plain[order].numpy(), 1e-9)


@each
def test_does_not_depend_on_batches_or_blocks(name, settings):
    train, test = outputs(), outputs((7, 9, 8, 6), seed=1)
    scorer = scorers.make(name, **settings).fit(train)
    whole = scorer.score(test).numpy()
    close(torch.cat([scorer.score(test[i : i + 1]) for i in range(len(test))]), whole, 1e-9)
    close(torch.cat([scorer.score(test[:17]), scorer.score(test[17:])]), whole, 1e-9)
    small = scorers.make(name, **settings)
    small.memory = 1  # one row a block, in fit and in score
    small.sample = 3  # of which the second is slow
    close(small.fit(train).score(test), whole, 1e-9)


@each
def test_blocks_stay_within_the_budget(name, settings, monkeypatch):
    train, test = outputs(), outputs((700, 900, 800, 600), seed=1)
    scorer = scorers.make(name, **settings).fit(train)
    scorer.memory = 2**15
    seen = []
    inner = type(scorer)._score

    def watched(self, x):
        seen.append(x.numel() * x.element_size())
        return inner(self, x)

    monkeypatch.setattr(type(scorer), "_score", watched)
    scorer.score(test)
    assert len(seen) > 1
    assert max(seen) <= 2**15


@each
def test_leaves_its_inputs_alone(name, settings):
    train, test = outputs(), outputs((7, 9, 8, 6), seed=1)
    before = [part.layer(layer).clone() for part in (train, test) for layer in ("features", "logits", "mixed")]
    scorers.make(name, **settings).fit(train).calibrate(test).predict(test)
    after = [part.layer(layer) for part in (train, test) for layer in ("features", "logits", "mixed")]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@each
def test_a_file_gives_the_same_scorer(name, settings, tmp_path):
    train, test = outputs(), outputs((7, 9, 8, 6), seed=1)
    scorer = scorers.make(name, **settings).fit(train)
    path = tmp_path / "scorer.safetensors"
    scorer.save(path)
    assert scorers.load(path).calibration is None
    scorer.calibrate(outputs((20, 20, 20, 20), seed=2), id_tpr=0.9).save(path)
    again = scorers.load(path)
    assert torch.equal(again.score(test), scorer.score(test))
    assert torch.equal(again.predict(test), scorer.predict(test))
    assert again.params == scorer.params
    assert again.summary() == scorer.summary()


@each
def test_fitting_again_replaces_and_drops_the_threshold(name, settings):
    first, second, test = outputs(), outputs((30, 20, 25, 35), seed=3), outputs((7, 9, 8, 6), seed=1)
    scorer = scorers.make(name, **settings)
    assert scorer.fit(first) is scorer
    scorer.calibrate(test)
    scorer.fit(second)
    assert scorer.calibration is None
    assert torch.equal(scorer.score(test), scorers.make(name, **settings).fit(second).score(test))


@each_name
def test_says_that_it_is_not_fitted(name, tmp_path):
    scorer, test = scorers.make(name), outputs()
    for use in (scorer.score, scorer.predict, scorer.calibrate, lambda _: scorer.summary()):
        with pytest.raises(NotFittedError, match=r"not fitted[\s\S]*Call fit"):
            use(test)
    with pytest.raises(NotFittedError, match="before save"):
        scorer.save(tmp_path / "x")
    with pytest.raises(NotFittedError, match=r"no threshold[\s\S]*calibrate"):
        scorer.fit(test).predict(test)


@each
def test_refuses_another_width_nan_and_things_that_are_no_outputs(name, settings):
    train = outputs()
    scorer = scorers.make(name, **settings).fit(train)
    narrow = Outputs(
        features=train.features[:, :5],
        logits=train.logits[:, :3],
        head=Head(train.head.kind, train.head.weight[:3, :5], None if train.head.bias is None else train.head.bias[:3]),
        layers={"mixed": train.layers["mixed"][:, :5]},
        inputs=train.inputs[..., :2],
    )
    with pytest.raises(InputError, match=r"columns, expected \d as in fit"):
        scorer.score(narrow)
    with pytest.raises(InputError, match="expected Outputs"):
        scorer.score(train.features)
    bad = outputs()
    for values in (bad.features, bad.logits, bad.layers["mixed"], bad.inputs.view(len(bad), -1)):
        values[3, 1] = torch.nan  # after the checks of Outputs
    for use in (scorer.score, scorers.make(name, **settings).fit):
        with pytest.raises(InputError, match="NaN"):
            use(bad)


@with_layers
def test_refuses_a_layer_that_is_missing_or_not_flat(name):
    train = outputs()
    with pytest.raises(InputError, match="'projection' is not in these outputs"):
        scorers.make(name, layer="projection").fit(train)
    spatial = dataclasses.replace(train, layers={"block": torch.ones(len(train), 3, 2, 2)})
    with pytest.raises(InputError, match=r"expected \(N, D\)[\s\S]*mean\(dim=\(2, 3\)\)"):
        scorers.make(name, layer="block").fit(spatial)


@each
@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_every_kind_of_head_works_or_is_refused_by_name(name, settings, kind):
    train, test = outputs(head_kind=kind), outputs((7, 9, 8, 6), seed=1, head_kind=kind)
    try:
        scores = scorers.make(name, **settings).fit(train).score(test)
    except InputError as refusal:
        said = str(refusal)
        unnamed = kind == "distance" and "raw_logits" in said  # a layer that such a head has not
        assert unnamed or f"{kind} head" in said
        assert kind != CASES[name].head_kind
    else:
        close(scores, expected(name, settings, train, test))


@with_labels
def test_refuses_missing_labels_and_missing_classes(name):
    train = outputs()
    with pytest.raises(InputError, match=rf"{name} learns from labels"):
        scorers.make(name).fit(dataclasses.replace(train, labels=None))
    with pytest.raises(InputError, match="no sample of class 3"):  # the last class: only the network tells it exists
        scorers.make(name).fit(train[train.labels < 3])
    headless = dataclasses.replace(train[train.labels < 3], logits=None)
    with pytest.raises(InputError, match="no sample of class 3"):
        scorers.make(name).fit(headless)
    with pytest.raises(InputError, match="no sample of class 1"):
        scorers.make(name).fit(dataclasses.replace(train[train.labels != 1], logits=None, head=None))


AWKWARD = {
    "constant": lambda x: torch.full_like(x, 0.1),
    "zero": torch.zeros_like,
    "a dead unit": lambda x: x.index_fill(1, torch.tensor([1]), 0.0),
    "all but one dead": lambda x: x.index_fill(1, torch.arange(1, x.shape[1]), 0.0),
    "one value in all columns": lambda x: x[:, :1].expand_as(x).clone(),
    "large offset": lambda x: x + 1e6,
    "huge": lambda x: x * torch.finfo(x.dtype).max ** 0.5,
    "minute": lambda x: x * torch.finfo(x.dtype).tiny ** 0.5,
    "collapsed to three points": lambda x: x[torch.arange(len(x)) % 3],
    "of one length": lambda x: x / x.norm(dim=1, keepdim=True),
    "half precision": lambda x: x.half().to(x.dtype),
}


def finite_or_refused(name, settings, fitted_on, scored):
    try:
        scores = scorers.make(name, **settings).fit(fitted_on).score(scored)
    except InputError as refusal:
        got, _, advice = str(refusal).partition("\n")
        assert any(text in got for text in ("expected", "which these outputs lack", "is not in these outputs"))
        assert advice.endswith(".")
    else:
        assert torch.isfinite(scores).all()


@each
@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_layers_give_finite_scores_or_a_reason(name, settings, kind, dtype):
    train, test = outputs(dtype=dtype), outputs((7, 9, 8, 6), dtype=dtype, seed=1)
    finite_or_refused(name, settings, broken(train, AWKWARD[kind]), test)
    finite_or_refused(name, settings, train, broken(test, AWKWARD[kind]))


@each
@pytest.mark.parametrize("few", [(1, 1, 1, 1), (2, 1, 1, 1), (60, 1, 1, 1)])
def test_fewer_rows_than_columns_give_finite_scores_or_a_reason(name, settings, few):
    finite_or_refused(name, settings, outputs(few), outputs((7, 9, 8, 6), seed=1))


@each
def test_one_class_gives_finite_scores_or_a_reason(name, settings):
    train, test = outputs((40, 0, 0, 0)), outputs((7, 9, 8, 6), seed=1)
    for alone in (train, dataclasses.replace(train, logits=None, head=None)):
        finite_or_refused(name, settings, alone, test)


@each_name
def test_describes_itself(name):
    about = scorers.describe(name)
    assert about["about"].endswith(".")
    assert about["name"] == name
    assert about["layer"] == about["parameters"]["layer"] == scorers.make(name).layer
    assert about["version"] == scorers.version(name) >= 1
    assert about["cost"]
    assert any(year in about["source"] for year in map(str, range(1990, 2030)))
    document = type(scorers.make(name)).__doc__
    assert "s(x) = " in document
    assert "Source: " in document
    for parameter in about["parameters"]:
        assert f"{parameter}: " in document, f"{parameter} is not documented"
    json.dumps(about)


@each
def test_names_its_parameters(name, settings):
    scorer = scorers.make(name, **settings)
    assert scorer.params == {key: value for key, value in settings.items() if key != "layer"}
    assert scorer.layer == settings.get("layer", scorers.describe(name)["layer"])
    summary = json.loads(json.dumps(scorer.fit(outputs()).summary(), allow_nan=False))
    assert summary["name"] == name
    assert summary["columns"] == (4 if "logits" in scorer.layer else DIM)
    for parameter in scorer.parameters():
        with pytest.raises(InputError, match="Make a new scorer"):
            setattr(scorer, parameter, getattr(scorer, parameter))


@each_name
def test_refuses_unknown_and_mistyped_parameters(name):
    with pytest.raises(InputError, match=rf"{name} got sharpness, expected only: .*layer"):
        scorers.make(name, sharpness=1)
    for parameter, default in scorers.describe(name)["parameters"].items():
        wrong = (
            (7, None) if isinstance(default, str) else ("7", None, 1 if isinstance(default, bool) else True, math.nan)
        )
        for value in wrong:
            with pytest.raises(InputError, match=rf"{parameter}={value!r}"):
                scorers.make(name, **{parameter: value})


SWITCHES = [("knn", "exclude_self", False), ("knn_nan", "squared", False), ("ssd_nan", "squared", True)]


@pytest.mark.parametrize(("name", "switch", "default"), SWITCHES)
def test_a_switch_is_true_or_false_and_recorded_as_it_always_was(name, switch, default, tmp_path):
    assert scorers.describe(name)["parameters"][switch] is default
    train, test = outputs(), outputs((7, 9, 8, 6), seed=1)
    for value, recorded in ((True, "yes"), (False, "no")):
        made, known = scorers.make(name, **{switch: value}), scorers.make(name, **{switch: recorded})
        assert getattr(made, switch) is getattr(known, switch) is value
        assert made.params == known.params == ({} if value is default else {switch: recorded})
        assert torch.equal(made.fit(train).score(test), known.fit(train).score(test))
        made.save(tmp_path / "scorer")
        assert artifact.read(tmp_path / "scorer")[0]["parameters"][switch] == recorded
        assert getattr(scorers.load(tmp_path / "scorer"), switch) is value
    behind = scorers.make("scale", then=name, then_params={switch: not default})
    assert behind.params["then_params"] == {switch: "no" if default else "yes"}
    with pytest.raises(
        InputError, match=rf"{name} got {switch}='maybe' \(str\), expected a truth value such as {default}"
    ):
        scorers.make(name, **{switch: "maybe"})


@each_name
def test_a_parameter_has_the_same_range_in_every_scorer(name):
    for parameter in scorers.describe(name)["parameters"].keys() & {"k", "n_init", "ridge", "seed", "temperature", "M"}:
        with pytest.raises(
            InputError, match=rf"{name} got {parameter}=-1[.0]*, expected (at least|one above) [01]\.?\n"
        ):
            scorers.make(name, **{parameter: -1})


def test_one_thing_of_two_names_and_two_things_of_one_name_are_told_apart():
    """Renaming would part recorded rows from their claims, so the words must say what is what."""
    about = {name: " ".join((scorers._kind(name).__doc__ or "").split()) for name in scorers.names()}
    phrases = {
        "level c that activations are clipped at, as a quantile of all N D training activations: a": "level",
        "quantile: share of the units of a row": "share",
        "on: what the distance is measured on, of the rows that `layer` names:": "on",
    }
    said = {name: {phrases[p] for p in phrases if p in text} for name, text in about.items()}
    level, share, both = {"level"}, {"share"}, {"level", "on"}
    meant = {"react": level, "react_nan": level, "knn_nan": both, "ssd_nan": both, "ash": share, "scale": share}
    assert {name: words for name, words in said.items() if words} == meant
    asked = {name for name in about if scorers.describe(name)["parameters"].keys() & {"quantile", "clip", "on"}}
    assert asked == meant.keys()


def test_refuses_an_unknown_name():
    for use in (scorers.make, scorers.version, scorers.describe):
        with pytest.raises(InputError, match=r"scorer is 'enrgy', expected one of: .*energy"):
            use("enrgy")
