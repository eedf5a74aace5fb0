"""A scorer of a user's own: registered, it is as good as any; what it owes is refused by name where it is missing."""

import pickle
from dataclasses import dataclass

import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import ArtifactError, InputError
from ood_core.scorers.base import KINDS

TRAIN = Outputs(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))


@dataclass(kw_only=True, eq=False)
class Nearest(scorers.Scorer):
    """Minus a power of the distance to the mean."""

    name, cost, source = "own_nearest", "N D", "ours"
    power: float = 1.0

    def _fit(self, x, outputs):
        return {"mean": x.double().mean(dim=0)}

    def _score(self, x):
        return -((x - self._state["mean"]).norm(dim=1) ** self.power)


def test_a_registered_scorer_is_made_saved_loaded_and_combined(tmp_path):
    assert scorers.register(Nearest) is Nearest
    assert scorers.names()[-1] == "own_nearest"
    assert scorers.describe("own_nearest")["parameters"] == {"layer": "features", "power": 1.0}
    scorer = scorers.make("own_nearest", power=2.0).fit(TRAIN)
    expected = -((TRAIN.features.double() - TRAIN.features.double().mean(dim=0)) ** 2).sum(dim=1)
    torch.testing.assert_close(scorer.score(TRAIN), expected)
    scorer.save(tmp_path / "own.safetensors")
    assert torch.equal(scorers.load(tmp_path / "own.safetensors").score(TRAIN), scorer.score(TRAIN))
    both = scorers.ensemble([scorer, scorers.make("feature_norm").fit(TRAIN)])
    both.save(tmp_path / "both.safetensors")
    assert scorers.load(tmp_path / "both.safetensors").score([TRAIN, TRAIN]).shape == (40,)
    behind = scorers.make("react", then="own_nearest").fit(Outputs(TRAIN.features, head=(torch.eye(3),)))
    assert behind.score(TRAIN).shape == (40,)
    scorers.register(Nearest)  # a cell that runs twice
    KINDS.pop("own_nearest")
    with pytest.raises(ArtifactError, match="import the module that registers it"):
        scorers.load(tmp_path / "own.safetensors")


def test_a_file_never_names_another_scorer(tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Tweaked(KINDS["mahalanobis"]):
        def _score(self, x):
            return -super()._score(x)

    tweaked = Tweaked().fit(Outputs(TRAIN.features, labels=torch.arange(40) % 2))
    for save in (tweaked.save, scorers.ensemble([tweaked]).save):
        with pytest.raises(InputError, match="Tweaked is not the scorer that is registered as 'mahalanobis'"):
            save(tmp_path / "s.safetensors")
    with pytest.raises(InputError, match="Nearest is not the scorer"):
        Nearest().fit(TRAIN).save(tmp_path / "s.safetensors")
    assert list(tmp_path.iterdir()) == []
    assert pickle.loads(pickle.dumps(Nearest().fit(TRAIN))).score(TRAIN).shape == (40,)


def made(**body):
    return dataclass(kw_only=True, eq=False)(type("Made", (Nearest,), body))


OWN = {"name": "own_made", "cost": "none", "source": "ours"}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Nearest(), "expected a dataclass derived from scorers.Scorer"),
        (int, "expected a dataclass derived from scorers.Scorer"),
        (made(), "without name, cost, source of its own"),
        (made(**{**OWN, "name": "knn"}), "the name 'knn', which ood_core.scorers.neighbours.KNN has"),
        (made(**OWN, __annotations__={"k": "list"}, k=None), "Made.k has the default None, expected one of type bool,"),
    ],
)
def test_what_a_scorer_owes_is_refused_by_name(kind, message):
    with pytest.raises(InputError, match=message):
        scorers.register(kind)


@pytest.mark.parametrize(("gives", "said"), [(lambda x: x, r"a tensor \(40, 3\)"), (lambda _: [1.0], "a list")])
def test_scores_of_another_form_are_refused(gives, said):
    kind = made(**OWN, _score=lambda self, x: gives(x))
    with pytest.raises(InputError, match=f"own_made._score gave {said}, expected a tensor"):
        kind().fit(TRAIN).score(TRAIN)
