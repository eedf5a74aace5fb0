"""Logit scores on cases small enough for paper, and where float32 or a naive formula breaks."""

import math

import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import InputError
from ood_core.outputs import Head


def score(name, logits, **parameters):
    logits = torch.as_tensor(logits)
    outputs = Outputs(features=torch.ones(len(logits), 1), logits=logits)
    return scorers.make(name, **parameters).fit(outputs).score(outputs).tolist()


def test_by_hand():
    logits = [[0.0, math.log(3)], [2.0, 2.0]]
    assert score("msp", logits) == pytest.approx([0.75, 0.5])
    # odds of 3 to 1 with their square root and their square
    assert score("msp", logits, temperature=2.0) == pytest.approx([3**0.5 / (1 + 3**0.5), 0.5])
    assert score("msp", logits, temperature=0.5) == pytest.approx([0.9, 0.5])
    assert score("max_logit", logits) == pytest.approx([math.log(3), 2])
    assert score("energy", logits) == pytest.approx([math.log(4), 2 + math.log(2)])
    assert score("energy", logits, temperature=2.0) == pytest.approx(
        [2 * math.log(1 + math.sqrt(3)), 2 * (1 + math.log(2))]
    )


def test_large_logits_neither_overflow_nor_lose_their_order():
    assert score("energy", [[1000.0, 1000.0], [-1000.0, -1000.0]]) == pytest.approx(
        [1000 + math.log(2), math.log(2) - 1000]
    )
    assert score("msp", [[1e4, 0.0], [-1e4, -1e4]]) == [1.0, 0.5]
    # In float32 all three probabilities are exactly 1.
    tied = score("msp", torch.tensor([[17.0, 0.0], [20.0, 0.0], [30.0, 0.0]]))
    assert tied[0] < tied[1] < tied[2] < 1


def test_what_a_shift_and_a_permutation_of_classes_do():
    logits = torch.randn(50, 5, dtype=torch.float64)
    for name, moved in (("msp", 0.0), ("max_logit", 3.0), ("energy", 3.0)):
        assert score(name, logits.flip(1) + 3) == pytest.approx([s + moved for s in score(name, logits)], rel=1e-12)


def test_energy_lies_between_the_largest_logit_and_log_c_above_it():
    logits = torch.randn(50, 5, dtype=torch.float64)
    largest, energy = torch.tensor(score("max_logit", logits)), torch.tensor(score("energy", logits))
    assert ((largest < energy) & (energy < largest + math.log(5))).all()
    cold = torch.tensor(score("energy", logits, temperature=1e-3))
    assert torch.allclose(cold, largest, atol=1e-2)


def test_the_minimum_distance_by_hand():
    prototypes = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    rows = torch.tensor([[0.0, 1.0], [3.0, 0.0], [3.0, 4.0]])
    for scale in (1.0, 2.5):
        head = Head("distance", prototypes, scale=scale)
        outputs = Outputs(rows, head.logits(rows), head=head)
        scores = scorers.make("min_distance").fit(outputs).score(outputs)
        assert scores.tolist() == pytest.approx([-scale, -3 * scale, 0])


def test_the_minimum_distance_does_without_the_mean_that_logits_may_hold(tmp_path):
    prototypes, rows = torch.randn(5, 3, dtype=torch.float64), torch.randn(20, 3, dtype=torch.float64)
    plain, plus = (Head("distance", prototypes, scale=2.0, normalized=True, plus_mean=p) for p in (False, True))
    wanted = plain.logits(rows).amax(1)
    outputs = Outputs(rows, plus.logits(rows), head=plus)
    fitted = scorers.make("min_distance").fit(outputs)
    assert torch.allclose(fitted.score(outputs), wanted, rtol=1e-12)
    fitted.save(tmp_path / "s.safetensors")
    assert torch.equal(scorers.load(tmp_path / "s.safetensors").score(outputs), fitted.score(outputs))
    largest = scorers.make("max_logit").fit(outputs).score(outputs)
    assert not torch.allclose(largest, wanted, rtol=0.1)
    shaped = scorers.make("react", quantile=1.0, then="max_logit").fit(outputs)
    shaped.save(tmp_path / "r.safetensors")
    kept = scorers.load(tmp_path / "r.safetensors").score(outputs)
    assert torch.equal(kept, shaped.score(outputs))
    assert torch.allclose(kept, outputs.head.logits(rows.clamp(max=rows.max())).amax(1))


def test_the_minimum_distance_is_refused_where_logits_are_no_distances():
    logits = torch.tensor([[-1.0, -2.0]])
    for kind in ("linear", "unit"):
        head = Head(kind, torch.tensor([[-1.0], [-2.0]]))
        with pytest.raises(InputError, match=f"a {kind} head, expected a distance head"):
            scorers.make("min_distance").fit(Outputs(torch.ones(1, 1), logits, head=head))
    with pytest.raises(InputError, match="logits above 0, expected minus distances"):
        scorers.make("min_distance").fit(Outputs(torch.ones(1, 1), -logits))
    assert scorers.make("min_distance").fit(Outputs(torch.ones(1, 1), logits)).summary()["columns"] == 2


def test_refusals():
    with pytest.raises(InputError, match=r"temperature=0\.0, expected one above 0"):
        scorers.make("energy", temperature=0)
    with pytest.raises(InputError, match=r"msp got temperature=-1\.0, expected one above 0"):
        scorers.make("msp", temperature=-1)
    with pytest.raises(InputError, match="one logit a row, expected at least two"):
        score("msp", [[1.0], [2.0]])
    with pytest.raises(InputError, match="'logits' is not in these outputs"):
        scorers.make("energy").fit(Outputs(features=torch.ones(2, 3)))


ON_LOGITS = ("msp", "max_logit", "energy", "entropy", "kl_matching", "gen", "min_distance", "mmles", "nnguide")
OF_THE_SOFTMAX = ("msp", "entropy", "kl_matching", "gen")
FORMS = {"probabilities": lambda z: z.softmax(dim=1), "log-probabilities": lambda z: z.log_softmax(dim=1)}


def of_many(rows, form=None, dtype=torch.float32):
    """Outputs of a network of ten classes, which may end in a softmax or a log-softmax."""
    logits = 4 * torch.randn(rows, 10, generator=torch.Generator().manual_seed(1))
    given = (FORMS[form](logits) if form else logits).to(dtype)
    return Outputs(torch.randn(rows, 3, generator=torch.Generator().manual_seed(2)), logits=given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ON_LOGITS)
def test_what_is_no_logit_is_refused_unless_it_scores_alike(name, form, dtype):
    given = of_many(200, form, dtype)
    if form == "log-probabilities" and name in OF_THE_SOFTMAX:
        plain, taken = (scorers.make(name).fit(part).score(part) for part in (of_many(200), given))
        if dtype in (torch.float32, torch.float64):
            assert torch.allclose(taken, plain, rtol=1e-4, atol=1e-6)
        return
    with pytest.raises(InputError, match=rf"^{name} got {form}[\s\S]*expected logits[\s\S]*\n.*network's"):
        scorers.make(name).fit(given)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [name for name in ON_LOGITS if name not in ("min_distance", "nnguide")])
def test_a_few_rows_or_one_logit_beside_may_look_like_probabilities(name, form):
    given = of_many(200, form)
    scorers.make(name).fit(given[:9])
    mixed = Outputs(given.features, torch.cat([given.logits[:199], given.logits[199:] + 1]))
    scorers.make(name).fit(mixed).score(given)  # the last row tells that these are logits, in the last block


def test_energy_tells_apart_what_log_probabilities_do_not():
    """Rows of another scale: all of it is in what the log-softmax takes off."""
    near, far = of_many(500), of_many(500).logits + 3
    assert torch.equal(near.logits.log_softmax(dim=1).logsumexp(dim=1).round(decimals=4), torch.zeros(500))
    scorer = scorers.make("energy").fit(near)
    assert torch.allclose(
        scorer.score(Outputs(near.features, logits=far)) - scorer.score(near), torch.tensor(3.0).double()
    )
