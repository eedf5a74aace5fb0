"""Ensembles: means of standardised scores, one file, other images refused."""

import dataclasses

import numpy as np
import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import ArtifactError, InputError, NotFittedError
from ood_core.scorers import artifact

from .cases import outputs


def two():
    """The same images through two models, the second of other units and width."""
    parts = []
    for per_class, seed in (((40, 55, 30, 25), 0), ((7, 9, 8, 6), 1)):
        first = outputs(per_class, seed=seed)
        mixing = torch.randn(6, 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        parts.append([first, Outputs(features=300 * first.features @ mixing, labels=first.labels)])
    return parts


def made():
    return scorers.ensemble([scorers.make("mahalanobis"), scorers.make("knn", k=5, layer="features")])


def test_is_the_mean_of_standardised_scores():
    train, test = two()
    got = made().fit(train).score(test)
    wanted = np.zeros(30)
    for member, part, rows in zip(made().members, train, test, strict=True):
        fitted = member.fit(part).score(part).numpy()
        wanted += (member.score(rows).numpy() - fitted.mean()) / fitted.std() / 2
    np.testing.assert_allclose(got, wanted, rtol=1e-9)
    assert got.dtype == torch.float64


def test_units_of_the_members_do_not_matter():
    train, test = two()
    plain = made().fit(train).score(test)
    bigger = [[part[0], dataclasses.replace(part[1], features=1e6 * part[1].features)] for part in (train, test)]
    assert torch.allclose(made().fit(bigger[0]).score(bigger[1]), plain)
    own = made().fit(train)
    assert torch.allclose(own.score(train).mean(), torch.zeros((), dtype=torch.float64), atol=1e-9)


def test_fitted_members_need_no_further_fit(tmp_path):
    """DESIGN's one line: scorers that were fitted and saved elsewhere, each for its own model."""
    train, test = two()
    members = made().members
    for i, (member, part) in enumerate(zip(members, train, strict=True)):
        member.fit(part).save(tmp_path / str(i))
    got = scorers.ensemble(members).score(test)
    assert torch.equal(got, made().fit(train).score(test))
    assert torch.equal(got, scorers.ensemble([scorers.load(tmp_path / str(i)) for i in range(2)]).score(test))
    with pytest.raises(NotFittedError, match="not fitted in member 1"):
        scorers.ensemble([members[0], scorers.make("knn")]).score(test)


def test_a_member_fitted_again_makes_the_threshold_void(tmp_path):
    train, test = two()
    ensemble = made().fit(train).calibrate(test)
    ensemble.save(tmp_path / "e")
    ensemble.members[0].fit(train[0][20:])
    for use in (ensemble.predict, scorers.ensemble(ensemble.members).predict):
        with pytest.raises(NotFittedError, match=r"calibrate\(held_out_outputs\)"):
            use(test)
    assert ensemble.calibrate(test).predict(test).shape == (30,)
    again = scorers.load(tmp_path / "e")
    assert again.predict(test).shape == (30,)
    again.members[1].fit(test[1])
    with pytest.raises(NotFittedError, match="fitted again"):
        again.predict(test)


def test_fit_scores_of_many_rows_come_from_some_of_them():
    features = torch.randn(5000, 3, dtype=torch.float64).exp()
    whole, shuffled = Outputs(features=features), Outputs(features=features[torch.randperm(5000)])
    scorer = scorers.make("feature_norm").fit(whole)
    scores = scorer.score(whole)
    assert scorer.fit_scores.n == 1000
    assert scorer.fit_scores.mean == pytest.approx(scores.mean().item(), abs=3 * scores.std().item() / 1000**0.5)
    assert scorer.fit_scores.sd == pytest.approx(scores.std().item(), rel=0.2)
    assert scorers.make("feature_norm").fit(shuffled).fit_scores.mean == pytest.approx(scorer.fit_scores.mean)
    # Rows in order of a class or of time: the first 1000 alone would say something else.
    ordered = Outputs(features=features[features[:, 0].argsort()])
    assert scorers.make("feature_norm").fit(ordered).fit_scores.mean == pytest.approx(scorer.fit_scores.mean)
    few = scorers.make("feature_norm").fit(whole[:4]).fit_scores
    assert (few.mean, few.sd, few.n) == (scores[:4].mean().item(), scores[:4].std(correction=0).item(), 4)


def test_one_member_keeps_its_order():
    train, test = two()
    alone = scorers.ensemble([scorers.make("mahalanobis")]).fit(train[:1]).score(test[:1])
    assert torch.equal(alone.argsort(), scorers.make("mahalanobis").fit(train[0]).score(test[0]).argsort())


def test_calibrates_predicts_and_says_what_it_holds():
    train, test = two()
    ensemble = made().fit(train)
    with pytest.raises(NotFittedError, match="ensemble has no threshold"):
        ensemble.predict(test)
    assert ensemble.calibrate(test, id_tpr=0.9).predict(test).sum() == 27
    facts = ensemble.summary()
    assert facts["name"] == "ensemble"
    assert [part["name"] for part in facts["members"]] == ["mahalanobis", "knn"]
    assert all(part["fit_scores"]["n"] == 150 for part in facts["members"])
    assert ensemble.fit(train).calibration is None


def test_a_file_gives_the_same_ensemble(tmp_path):
    train, test = two()
    path = tmp_path / "both.safetensors"
    ensemble = scorers.ensemble([scorers.make("react", then="knn", then_params={"k": 3}), scorers.make("ssd")])
    ensemble.fit(train).calibrate(test).save(path)
    again = scorers.load(path)
    assert torch.equal(again.score(test), ensemble.score(test))
    assert torch.equal(again.predict(test), ensemble.predict(test))
    assert again.summary() == ensemble.summary()
    header, state = artifact.read(path)
    header["members"][1]["version"] = 9
    artifact.write(path, header, state)
    with pytest.raises(ArtifactError, match="holds ssd version 9"):
        scorers.load(path)
    header["members"][1]["version"], header["version"] = 1, 9
    artifact.write(path, header, state)
    with pytest.raises(ArtifactError, match="holds ensemble version 9"):
        scorers.load(path)


def test_refusals(tmp_path):
    train, test = two()
    ensemble = made()
    with pytest.raises(NotFittedError, match="ensemble is not fitted"):
        ensemble.score(test)
    ensemble.fit(train)
    for wrong, reason in (
        (train[0], r"one Outputs, expected a list of 2"),
        (train[:1], r"1 Outputs, expected a list of 2"),
        ([train[0], test[1]], r"outputs of 30, 150 rows"),
        ([train[0], train[1][torch.randperm(150)]], r"other labels, expected the same images"),
    ):
        for use in (ensemble.score, made().fit):
            with pytest.raises(InputError, match=reason):
                use(wrong)
    with pytest.raises(InputError, match=r"no members, expected scorers"):
        scorers.ensemble([])
    for wrong in (3, None, scorers.make("msp")):
        with pytest.raises(InputError, match=rf"ensemble got {type(wrong).__name__}, expected scorers of one model"):
            scorers.ensemble(wrong)
    with pytest.raises(InputError, match=r"ensemble got str, expected scorers of one model each"):
        scorers.ensemble(["knn"])
    same = scorers.make("knn")
    with pytest.raises(InputError, match="one scorer twice"):
        scorers.ensemble([same, same])
    flat = scorers.ensemble([scorers.make("feature_norm")])
    with pytest.raises(InputError, match=r"member 0 gives its training rows one score[\s\S]*Leave it out"):
        flat.fit([Outputs(features=torch.ones(5, 2))])


def test_members_with_a_model_cannot_be_saved(tmp_path):
    class Model(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3]

    rows = Outputs(features=torch.randn(8, 2), inputs=torch.randn(8, 1, 2, 2))
    ensemble = scorers.ensemble([scorers.make("odin", model=Model())]).fit([rows])
    assert ensemble.score([rows]).shape == (8,)
    with pytest.raises(InputError, match="ensemble cannot save odin"):
        ensemble.save(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("knn", {"k": 1}),
        ("knn", {"k": 1, "which": "mean"}),
        ("knn_nan", {"k": 1}),
        ("react", {"then": "knn", "then_params": {"k": 1}}),
    ],
)
def test_a_row_that_finds_itself_gives_no_unit_to_measure_in(name, settings):
    train, test = two()
    # Column by column in memory, lengths are summed in another order: a row is 6e-8 from itself.
    columns = Outputs(train[1].features.float().T.contiguous().T)
    scorer = scorers.make(name, **settings).fit(columns)
    with pytest.raises(InputError, match=r"member 0 gives its training rows one score[\s\S]*exclude_self=True"):
        scorers.ensemble([scorer]).score(test[1:])
    if name == "knn":
        other = scorers.make("knn", exclude_self=True, **settings).fit(columns)
        assert scorers.ensemble([other]).score([columns]).abs().max() < 100


def test_a_spread_of_rounding_is_none():
    level = torch.full((9, 1), 1e6, dtype=torch.float64)
    step = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    for size, refused in ((1e-3, True), (1e2, False)):
        rows = Outputs(features=level + size * step)
        ensemble = scorers.ensemble([scorers.make("feature_norm")])
        if refused:
            with pytest.raises(InputError, match="member 0 gives its training rows one score"):
                ensemble.fit([rows])
        else:
            assert torch.allclose(ensemble.fit([rows]).score([rows]).mean(), torch.zeros((), dtype=torch.float64))


def test_ensembles_of_ensembles_and_bare_tensors_are_refused():
    train, test = two()
    with pytest.raises(InputError, match="ensemble got Ensemble, expected scorers of one model each"):
        scorers.ensemble([made(), scorers.make("knn")])
    ensemble = made().fit(train)
    for wrong, got in (
        ([part.features for part in test], "Tensor, Tensor in its list, expected Outputs"),
        ([test[0], None], "NoneType in its list, expected Outputs"),
        (test[0].features, "one Tensor, expected a list of 2"),
        (None, "one NoneType, expected a list of 2"),
    ):
        for use in (ensemble.score, ensemble.predict, ensemble.calibrate, made().fit):
            if use == ensemble.predict:
                ensemble.calibrate(test)
            with pytest.raises(InputError, match=got):
                use(wrong)


def test_an_ensemble_shows_its_members():
    both = scorers.ensemble([scorers.make("msp"), scorers.make("knn", k=3)])
    assert repr(both).startswith("Ensemble([MSP(layer='logits'")
    assert "k=3" in repr(both)
