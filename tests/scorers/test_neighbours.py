"""Nearest neighbours on paper, against scikit-learn and the plain search, at every kind of scale and tie."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from ood_core import Head, Outputs, scorers
from ood_core.checks import InputError
from ood_core.outputs import unit
from ood_core.scorers import nearest as search
from ood_core.scorers import products as inner

MEMORY = 2**28


def fit(features, **parameters):
    return scorers.make("knn", **{"layer": "features", **parameters}).fit(Outputs(features=features))


def score(scorer, features):
    return scorer.score(Outputs(features=features))


def test_by_hand():
    bank = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [6.0, 8.0]])
    rows = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    # Distances: 0 1 5 10, and 3 sqrt(10) 4 sqrt(73).
    assert score(fit(bank, k=1), rows).tolist() == [0, -3]
    assert score(fit(bank, k=3), rows).tolist() == pytest.approx([-5, -4])
    assert score(fit(bank, k=3, which="mean"), rows).tolist() == pytest.approx([-2, -(7 + 10**0.5) / 3])
    assert score(fit(bank, k=1, exclude_self=True), rows).tolist() == pytest.approx([-1, -3])
    unit = fit(bank[1:], k=2, layer="unit")
    # On the unit circle the bank is (0.6, 0.8) twice and (0, 1).
    assert score(unit, torch.tensor([[0.0, 9.0]])).item() == pytest.approx(-((0.36 + 0.04) ** 0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layer", ["features", "unit"])
def test_agrees_with_scikit_learn(dtype, layer):
    bank, rows = 1 + torch.rand(900, 24, dtype=dtype), 1 + torch.rand(70, 24, dtype=dtype)
    scorer = fit(bank, k=20, layer=layer)
    at_layer = [Outputs(features=part).layer(layer).double().numpy() for part in (bank, rows)]
    wanted, _ = NearestNeighbors(n_neighbors=20, algorithm="brute").fit(at_layer[0]).kneighbors(at_layer[1])
    np.testing.assert_allclose(score(scorer, rows), -wanted[:, -1], rtol=1e-9)
    mean = fit(bank, k=20, layer=layer, which="mean")
    np.testing.assert_allclose(score(mean, rows), -wanted.mean(axis=1), rtol=1e-9)


AWKWARD = {
    "plain": lambda x: x,
    "far from the origin": lambda x: x + 1e6,
    "collapsed": lambda x: torch.eye(3, x.shape[1], dtype=x.dtype)[torch.arange(len(x)) % 3] + 1e-7 * x,
    "grid with many ties": lambda x: x.round(),
    "copies": lambda x: x[torch.arange(len(x)) % 40],
    "one point": lambda x: torch.full_like(x, 0.1),
    "huge": lambda x: x * 1e100,
    "minute": lambda x: x * 1e-100,
    "one row far out": lambda x: torch.cat([x[:1] * 1e9, x[1:]]),
}


@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("memory", [1, 2**16, MEMORY])
def test_the_fast_search_is_the_plain_one(kind, memory):
    x = AWKWARD[kind](torch.randn(400, 12, dtype=torch.float64))
    rows = torch.cat([x[:10], x[-10:], x[:10] + 0.5 * x[10:20], 1e25 * x[:2], torch.zeros(1, 12, dtype=torch.float64)])
    state = search.prepare(x, memory)
    got, index = search.nearest(rows, state, 7, memory)
    wanted, _ = search._plain(rows, state, 7, MEMORY)
    np.testing.assert_allclose(got, wanted, rtol=1e-12)
    found = torch.linalg.vector_norm(rows[:, None] - x[index], dim=2)
    np.testing.assert_allclose(found, got, rtol=1e-12)
    assert (index.sort(dim=1).values.diff(dim=1) > 0).all()  # no row twice


def test_ordinary_rows_are_proven_by_the_float32_product(monkeypatch):
    used = []
    inner = search._candidates
    monkeypatch.setattr(search, "_candidates", lambda x, *rest: used.append((rest[3], len(x))) or inner(x, *rest))
    monkeypatch.setattr(search, "_plain", lambda *rest: pytest.fail("the plain search was called"))
    bank = torch.randn(3000, 64)
    scorer = fit(bank, k=50)
    used.clear()  # fit scores some of its own rows
    score(scorer, torch.randn(200, 64))
    assert used == [(torch.float32, 200)]
    # Collapsed classes: distances of 1e-3 among rows of length 1 leave float32 too few digits, and float64 enough.
    bank = torch.eye(3, 64)[torch.arange(3000) % 3] + 1e-4 * bank
    scorer = fit(bank, k=50)
    used.clear()
    score(scorer, bank[:200] + 1e-4 * torch.randn(200, 64))
    assert used == [(torch.float32, 200), (torch.float64, 200)]


def test_the_bound_is_one():
    # The floor must lie under the true squared distance of every row that was not a candidate.
    for scale, shift in ((1, 0), (1e-9, 0), (1, 100), (1, 1e5)):
        bank = scale * torch.randn(500, 300, dtype=torch.float64)
        x = scale * (torch.randn(40, 300, dtype=torch.float64) + shift)
        state = search.prepare(bank, MEMORY)
        radius = float(state["norms"].max().sqrt())
        for dtype in (torch.float32, torch.float64):
            index, floor = search._candidates(x, state, 20, radius, dtype, MEMORY)
            squared = torch.cdist(x, bank, compute_mode="donot_use_mm_for_euclid_dist").square() / radius**2
            others = squared.scatter(1, index, torch.inf).amin(dim=1)
            assert (floor <= others).all()
            assert (floor > 0.5 * others - 2e-3 * (1 + shift)).all()  # and not far under it


@pytest.mark.parametrize("setting", ["high", "medium"])
def test_reduced_precision_products_are_not_trusted(setting):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(setting)
        assert search._stages(torch.ones(1, 1, dtype=torch.float64), 1.0) == [torch.float64]
    finally:
        torch.set_float32_matmul_precision(before)
    assert search._stages(torch.ones(1, 1, dtype=torch.float64), 1.0) == [torch.float32, torch.float64]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 3), st.integers(1, 300), st.integers(1, 300), st.integers(1, 9), st.integers(0, 10**6))
def test_the_grouped_search_finds_the_smallest(rows, columns, step, k, seed):
    values = torch.randint(0, 200, (rows, columns), generator=torch.Generator().manual_seed(seed)).double()
    k = min(k, columns)
    got, index = search.smallest_of(columns, step, k, lambda start, stop: values[:, start:stop])
    assert torch.equal(got, values.sort(dim=1).values[:, :k])
    assert torch.equal(values.gather(1, index), got)
    assert all(len(set(row)) == k for row in index.tolist())


@pytest.mark.parametrize("seed", range(10))
def test_later_blocks_miss_no_newcomer(seed):
    # One row at a time, so that no other row widens the search.
    values = torch.rand(1, 3000, generator=torch.Generator().manual_seed(seed))
    got, _ = search.smallest_of(3000, 400, 8, lambda start, stop: values[:, start:stop])
    assert torch.equal(got, values.sort(dim=1).values[:, :8])


def test_near_neighbours_keep_their_digits():
    bank = torch.randn(200, 8, dtype=torch.float64) + 1e5
    step = torch.zeros(200, 8, dtype=torch.float64)
    step[:, 3] = 2.0**-20
    assert score(fit(bank, k=1), bank).tolist() == [0.0] * 200
    assert score(fit(bank, k=1), bank + step).tolist() == [-(2.0**-20)] * 200


@pytest.mark.parametrize("layer", ["features", "unit"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_exclude_self_drops_the_row_itself_and_no_other(layer, dtype):
    bank, new = torch.randn(60, 5).to(dtype), torch.randn(20, 5).to(dtype)
    plain, without = fit(bank, k=3, layer=layer), fit(bank, k=3, layer=layer, exclude_self=True)
    for i in range(60):  # row by row: normalising one row alone rounds differently
        others = fit(bank[torch.arange(60) != i], k=3, layer=layer)
        assert score(without, bank[i : i + 1]).item() == pytest.approx(score(others, bank[i : i + 1]).item(), abs=1e-7)
    assert torch.equal(score(without, new), score(plain, new))
    copied = fit(torch.cat([bank, bank[:1]]), k=1, layer=layer, exclude_self=True)
    assert score(copied, bank[:1]).abs().item() < 1e-7  # the copy is a neighbour
    assert score(copied, bank[1:2]).item() < -1e-3


def test_shift_rotation_and_scale():
    bank, rows = torch.randn(90, 6, dtype=torch.float64), torch.randn(20, 6, dtype=torch.float64)
    plain = score(fit(bank, k=5), rows)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    assert torch.allclose(score(fit(bank @ rotation + 3, k=5), rows @ rotation + 3), plain)
    assert torch.allclose(score(fit(30 * bank, k=5), 30 * rows), 30 * plain)
    normalised = score(fit(bank, k=5, layer="unit"), rows)
    assert torch.allclose(score(fit(bank, k=5, layer="unit"), 1e4 * rows), normalised)


def test_refusals():
    with pytest.raises(InputError, match="knn got k=0, expected at least 1"):
        scorers.make("knn", k=0)
    with pytest.raises(InputError, match="knn's which is 'median', expected one of: kth, mean"):
        scorers.make("knn", which="median")
    with pytest.raises(InputError, match=r"knn got exclude_self='maybe'.*, expected a truth value such as False"):
        scorers.make("knn", exclude_self="maybe")
    with pytest.raises(InputError, match=r"looks for 6 neighbours among 5 training rows[\s\S]*Lower k"):
        fit(torch.randn(5, 2), k=5, exclude_self=True)
    assert score(fit(torch.randn(5, 2), k=5), torch.randn(3, 2)).shape == (3,)


def guide(train, rows, **parameters):
    return scorers.make("nnguide", **parameters).fit(train).score(rows)


def test_nnguide_by_hand():
    # Two equal logits l have the energy l + log 2: here 1, 2 and 3 in the bank.
    log2 = float(np.log(2))
    logits = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:, None].expand(3, 2) - log2
    train = Outputs(features=torch.tensor([[5.0, 0.0], [0.0, 0.1], [-2.0, 0.0]]), logits=logits)
    rows = Outputs(features=torch.tensor([[3.0, 4.0], [-9.0, 0.0]]), logits=logits[:2] * 0 + 10 - log2)
    # Products with (0.6, 0.8): 0.6, 1.6, -1.8. With (-1, 0): -1, 0, 3. Energy 10.
    assert guide(train, rows, k=1).tolist() == pytest.approx([16, 30], rel=1e-6)
    assert guide(train, rows, k=2).tolist() == pytest.approx([11, 15], rel=1e-6)
    assert guide(train, rows, k=3, layer="features").tolist() == pytest.approx(
        [10 / 3 * (15 + 0.8 - 18), 10 / 3 * (-45 + 54)], rel=1e-6
    )


def labelled(n, seed):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    return Outputs(features=h, logits=h[:, :4] * 3)


def test_nnguide_samples_its_bank_alike_in_any_order():
    train, rows = labelled(200, 0), labelled(30, 1)
    plain = guide(train, rows, k=3, ratio=0.1)
    shuffled = train[torch.randperm(200)]
    assert torch.allclose(guide(shuffled, rows, k=3, ratio=0.1), plain)
    assert not torch.allclose(guide(train, rows, k=3, ratio=0.1, seed=1), plain)
    scorer = scorers.make("nnguide", k=3, ratio=0.101).fit(train)
    assert scorer.summary()["bank_rows"] == 21
    # Each row of the bank is a training row with its own energy.
    energy = train.logits.logsumexp(dim=1)
    kept = [torch.cat([part, e[:, None]], 1) for part, e in ((scorer._state["bank"], scorer._state["weights"]),)]
    gaps = torch.cdist(kept[0], torch.cat([train.features, energy[:, None]], 1)).amin(dim=1)
    assert gaps.max() < 1e-7


def test_nnguide_laws():
    train, rows = labelled(100, 0), labelled(30, 1)
    plain = guide(train, rows)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q

    def changed(part, change):
        return Outputs(features=change(part.features), logits=part.logits)

    for change in (lambda h: h @ rotation, lambda h: 7 * h):
        assert torch.allclose(guide(changed(train, change), changed(rows, change)), plain)


def test_nnguide_refuses_energies_that_would_turn_it_round():
    """Minus distances give negative energies: the product of two of them is largest for the least alike rows."""
    h = torch.eye(3).repeat(4, 1) + 0.01 * torch.randn(12, 3)
    prototypes = torch.eye(3)
    with pytest.raises(InputError, match="nnguide got a distance head, expected a linear or a unit one"):
        scorers.make("nnguide", k=2).fit(
            Outputs(h, logits=-5 * torch.cdist(h, prototypes), head=Head("distance", prototypes, scale=5.0))
        )
    with pytest.raises(
        InputError, match=r"nnguide got energies of mean -\d.* on training rows, expected a mean above 0"
    ):
        scorers.make("nnguide", k=2).fit(Outputs(h, logits=-5 - torch.cdist(h, prototypes)))


def test_nnguide_refusals():
    train = labelled(20, 0)
    for parameters, reason in (
        ({"k": 0}, "k=0, expected at least 1"),
        ({"ratio": 0.0}, "ratio=0.0"),
        ({"ratio": 1.5}, "ratio=1.5"),
        ({"seed": -1}, "seed=-1"),
    ):
        with pytest.raises(InputError, match=reason):
            scorers.make("nnguide", **parameters)
    with pytest.raises(InputError, match="'logits' is not in these outputs"):
        scorers.make("nnguide").fit(Outputs(features=train.features))
    with pytest.raises(InputError, match="looks for 10 neighbours among 4 training rows"):
        scorers.make("nnguide", ratio=0.2).fit(train)
    fitted = scorers.make("nnguide").fit(train)
    with pytest.raises(InputError, match="'logits' is not in these outputs"):
        fitted.score(Outputs(features=train.features))
    with pytest.raises(InputError, match="logits has 3 columns, expected 4 as in fit"):
        fitted.score(Outputs(features=train.features, logits=train.logits[:, :3]))


@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("memory", [2**12, MEMORY])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_bank_may_stay_in_its_own_precision(dtype, divide, memory):
    bank, rows = torch.randn(300, 10).to(dtype), torch.randn(20, 10, dtype=torch.float64)
    got, index = search.nearest(rows, search.prepare(bank, memory, divide), 4, memory)
    counted = (unit(bank) if divide else bank).double()
    wanted, same = torch.cdist(rows, counted, compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1)
    np.testing.assert_allclose(got, wanted[:, :4], rtol=1e-12)
    assert torch.equal(index, same[:, :4])


@pytest.mark.parametrize("layer", ["features", "unit"])
def test_the_bank_is_the_caller_s_own_memory(layer):
    """No second copy of the training rows, neither divided by their lengths nor in float64."""
    bank = torch.randn(60, 5)
    for scorer in (
        fit(bank, k=3, layer=layer),
        scorers.make("nnguide", k=3, layer=layer).fit(Outputs(features=bank, logits=torch.randn(60, 3))),
        scorers.make("knn_nan", k=3, on=layer).fit(Outputs(features=bank)),
    ):
        scorer.score(Outputs(features=bank[:7], logits=torch.randn(7, 3)))
        assert scorer._state["bank"].data_ptr() == bank.data_ptr()


def products(bank, weights, divide=False):
    return inner.prepare_products(bank, weights, MEMORY, divide)


@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("memory", [2**10, 2**16, MEMORY])
def test_the_fast_products_are_the_plain_ones(kind, memory, divide):
    x = AWKWARD[kind](torch.randn(400, 12, dtype=torch.float64))
    rows = torch.cat([x[:10], -x[-10:], 1e25 * x[:2], torch.zeros(1, 12, dtype=torch.float64)])
    weights = torch.randn(400, dtype=torch.float64)  # energies may be below 0
    got = inner.largest_products(rows, products(x, weights, divide), 7, memory)
    counted = unit(x) if divide else x
    wanted = (rows @ (counted * weights[:, None]).T).sort(dim=1, descending=True).values[:, :7]
    scale = (rows.norm(dim=1) * (counted.norm(dim=1) * weights.abs()).max())[:, None]
    assert ((got - wanted).abs() <= 1e-14 * scale).all()


def test_ordinary_products_are_proven_in_float32(monkeypatch):
    monkeypatch.setattr(inner, "_plain", lambda *rest: pytest.fail("the plain product was called"))
    bank, rows = torch.randn(3000, 64).relu(), torch.randn(200, 64, dtype=torch.float64).relu()
    inner.largest_products(rows, products(bank, 5 + torch.rand(3000, dtype=torch.float64), True), 10, MEMORY)


def test_the_bound_of_products_is_one(monkeypatch):
    """Each row that is no candidate has a product at or under what the floor says, and the floor is not far off."""
    seen, floors = [], []
    exactly, floor = inner._exactly, inner._floor
    monkeypatch.setattr(inner, "_exactly", lambda *given: seen.append(given[2]) or exactly(*given))

    def watched(values, columns):
        floors.append(floor(values, columns))
        return floors[-1]

    monkeypatch.setattr(inner, "_floor", watched)
    for scale in (1.0, 1e-9, 1e9):
        bank, x = scale * torch.randn(600, 300), torch.randn(40, 300, dtype=torch.float64)
        weights = torch.randn(600, dtype=torch.float64)
        state = products(bank, weights)
        inner._from_candidates(x, state, 5, float(state["reach"]), MEMORY)
        cosines = -(x @ (bank.double() * weights[:, None]).T) / x.norm(dim=1, keepdim=True) / state["reach"]
        others = cosines.scatter(1, seen[-1], torch.inf).amin(dim=1)
        assert (floors[-1] <= others).all()
        assert (floors[-1] > cosines.gather(1, seen[-1]).amax(dim=1) - 1e-4).all()


def test_a_row_in_half_precision_is_found_again_whatever_its_layout():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3000, 64, generator=generator).half().T.contiguous().T
    without, plain = fit(features, k=1, layer="unit", exclude_self=True), fit(features, k=2, layer="unit")
    rows = features.contiguous()
    assert (score(fit(features, k=1, layer="unit"), rows) < 0).any()  # rounded otherwise
    assert torch.equal(score(without, rows), score(plain, rows))


@pytest.mark.parametrize("name", ["knn", "nnguide", "knn_nan"])
def test_rows_that_are_kept_are_not_to_be_written_to(name, tmp_path):
    buffer = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)).abs()
    test = Outputs(buffer.flip(0).clone(), buffer.flip(0).clone())
    scorer = scorers.make(name, k=2).fit(Outputs(buffer, logits=buffer.clone()))
    before = scorer.score(test)
    copied, bytes_ = copy.deepcopy(scorer), pickle.dumps(scorer)
    scorer.save(tmp_path / "s.safetensors")
    buffer += 1
    with pytest.raises(InputError, match=f"the training rows that {name} keeps were written to after fit"):
        scorer.score(test)
    others = (copied, pickle.loads(bytes_), scorers.load(tmp_path / "s.safetensors"))
    for other in others:
        torch.testing.assert_close(other.score(test), before)
    assert scorer.fit(Outputs(buffer, logits=buffer.clone())).score(test).shape == (60,)
    before = buffer.clone()
    buffer.numpy()[:] = 0  # which torch does not count
    with pytest.raises(InputError, match="were written to after fit"):
        scorer.score(test)
    buffer.numpy()[:] = before.numpy()
    assert scorer.score(test).shape == (60,)
