"""Candidates from bfloat16: the plain search's neighbours on any data, a bound that is one, and when it is used."""

import numpy as np
import pytest
import torch

from ood_core import precision, scorers
from ood_core.outputs import Outputs, unit
from ood_core.scorers import coarse
from ood_core.scorers import nearest as search

MEMORY = 2**28
BANK, QUERIES, COLUMNS, K = 16384, 1024, 64, 10


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """As on a processor with the instructions: the others compute the same, only slowly."""
    monkeypatch.setattr(coarse, "fast", lambda: True)


@pytest.fixture
def stages(monkeypatch):
    """Rows that each stage was given."""
    seen = {"coarse": 0, torch.float32: 0, torch.float64: 0, "plain": 0}
    settle, candidates, plain = search._settle_from, search._candidates, search._plain

    def watched(given, known, rows, *rest):
        seen["coarse"] += len(rows)
        settle(given, known, rows, *rest)

    def count(stage, rows):
        seen[stage] += rows

    monkeypatch.setattr(search, "_settle_from", watched)
    monkeypatch.setattr(search, "_candidates", lambda x, *rest: count(rest[3], len(x)) or candidates(x, *rest))
    monkeypatch.setattr(search, "_plain", lambda x, *rest: count("plain", len(x)) or plain(x, *rest))
    return seen


def clustered(n, classes=None):
    centres = 0.7 * torch.randn(10, COLUMNS, generator=torch.Generator().manual_seed(0))
    return centres[torch.arange(n) % 10 if classes is None else classes] + torch.randn(n, COLUMNS)


KINDS = {
    "Gaussian": lambda n: torch.randn(n, COLUMNS),
    "unit": lambda n: unit(torch.randn(n, COLUMNS)),
    "clusters": clustered,
    "tight clusters": lambda n: torch.eye(10, COLUMNS)[torch.arange(n) % 10] + 1e-3 * torch.randn(n, COLUMNS),
    "in order": lambda n: clustered(n, torch.arange(n) * 10 // n),
    "ties": lambda n: torch.randint(0, 2, (n, COLUMNS)).float(),
    "copies": lambda n: torch.randn(n, COLUMNS)[torch.arange(n) % 700],
    "minute": lambda n: 1e-4 * torch.randn(n, COLUMNS),
    "large": lambda n: 1e4 * torch.randn(n, COLUMNS),
    "far from the origin": lambda n: 100 + torch.randn(n, COLUMNS),
    "one row far out": lambda n: torch.cat([1e6 * torch.ones(1, COLUMNS), torch.randn(n - 1, COLUMNS)]),
}


def plainly(x, bank, k):
    squares = torch.cdist(x.double(), bank.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return squares.topk(k, dim=1, largest=False).values


@pytest.mark.parametrize("kind", KINDS)
def test_the_neighbours_are_the_plain_ones(kind, stages):
    bank = KINDS[kind](BANK + 3)
    x = torch.cat([KINDS[kind](QUERIES - 24).double(), bank[:20].double(), 1e20 * torch.ones(4, COLUMNS).double()])
    got, index = search.nearest(x, search.prepare(bank, MEMORY), K, MEMORY)
    np.testing.assert_allclose(got, plainly(x, bank, K), rtol=1e-12)
    found = torch.linalg.vector_norm(x[:, None] - bank[index].double(), dim=2)
    np.testing.assert_allclose(found, got, rtol=1e-12)
    assert (index.sort(dim=1).values.diff(dim=1) > 0).all()  # no row twice
    assert stages["coarse"] >= search.TRIAL


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("divide", [False, True])
def test_banks_of_any_precision(dtype, divide):
    bank, x = torch.randn(BANK, COLUMNS).to(dtype), torch.randn(QUERIES, COLUMNS, dtype=torch.float64)
    got, _ = search.nearest(x, search.prepare(bank, MEMORY, divide), K, MEMORY)
    np.testing.assert_allclose(got, plainly(x, unit(bank) if divide else bank, K), rtol=1e-12)


@pytest.mark.parametrize("kind", ["Gaussian", "unit", "clusters", "minute", "large", "far from the origin"])
def test_ordinary_rows_are_proven_by_bfloat16(kind, stages):
    bank = KINDS[kind](BANK)
    search.nearest(KINDS[kind](QUERIES + 200).double(), search.prepare(bank, MEMORY), K, MEMORY)
    assert stages["coarse"] == QUERIES + 200
    assert stages[torch.float32] <= 20
    assert not stages["plain"]


@pytest.mark.parametrize("kind", ["tight clusters", "one row far out"])
def test_too_few_digits_for_the_first_rows_are_too_few_for_all(kind, stages):
    bank = KINDS[kind](BANK)
    search.nearest(KINDS[kind](QUERIES).double()[1:].repeat(2, 1), search.prepare(bank, MEMORY), K, MEMORY)
    assert stages["coarse"] == search.TRIAL
    assert stages[torch.float32] >= 2 * (QUERIES - 1) - search.TRIAL / 2


@pytest.mark.parametrize(
    "reason", ["queries", "bank", "columns", "neighbours", "memory", "processor", "oneDNN", "tf32"]
)
def test_small_searches_and_other_processors_do_without(reason, stages, monkeypatch):
    queries, rows, columns, k, memory = QUERIES, BANK, COLUMNS, K, MEMORY
    if reason == "queries":
        queries -= 1
    if reason == "bank":
        rows -= 1
    if reason == "columns":
        columns -= 1
    if reason == "neighbours":
        k = BANK // 16 // coarse.KEEP + 1
    if reason == "memory":
        memory = coarse.MEMORY - 1
    if reason == "processor":
        monkeypatch.undo()
        monkeypatch.setattr(precision, "fast_bfloat16", lambda: False)
        assert not coarse.fast()
        return
    if reason == "oneDNN":
        monkeypatch.undo()
        monkeypatch.setattr(precision, "fast_bfloat16", lambda: True)
        assert coarse.fast()
        before = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)
        try:
            assert not coarse.fast()
        finally:
            torch._C._set_mkldnn_enabled(before)
        return
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high" if reason == "tf32" else before)
        search.nearest(
            torch.randn(queries, columns).double(), search.prepare(torch.randn(rows, columns), MEMORY), k, memory
        )
    finally:
        torch.set_float32_matmul_precision(before)
    assert not stages["coarse"]


def candidates(x, bank, k=K):
    state = search.prepare(bank, MEMORY)
    radius = float(state["norms"].max().sqrt())
    rows = (bank.double() - state["centre"]) / radius
    query = (x.double() - state["centre"]) / radius
    given = coarse.candidates(query, state["norms"] / radius**2, lambda part: rows[part].float(), k, MEMORY)
    return given, torch.cdist(query, rows, compute_mode="donot_use_mm_for_euclid_dist").square()


@pytest.mark.parametrize("kind", [*KINDS, "against the rounding", "straddling"])
def test_the_bound_is_one(kind):
    """No candidate is nearer than its floor, and no other row than the last: the floor is not far off either."""
    bank, x = KINDS.get(kind, KINDS["Gaussian"])(6000), KINDS.get(kind, KINDS["Gaussian"])(60)
    if kind == "against the rounding":  # every number is half a unit of bfloat16 off, all in one direction
        bank, x = (part.sign() * (1 + 0.99 * 2**-8) * 2 ** part.abs().log2().round() for part in (bank, x))
        bank[:, 1::2], x[:, 1::2] = bank[:, ::2], x[:, ::2]
    if kind == "straddling":  # neighbours that differ below the digits of bfloat16, at large products
        x = torch.ones(60, COLUMNS) * torch.linspace(0.9, 1.1, 60)[:, None]
        bank[: len(bank) // 2] = x.repeat(50, 1) * (1 + 2**-9 * torch.rand(3000, 1))
    given, squared = candidates(x, bank)
    none = given.floors.isinf()
    own = squared.gather(1, given.index.long())
    assert (given.floors <= own)[~none].all()
    taken = squared.scatter(1, given.index.long().where(~none, given.index[:, :1].long()), torch.inf)
    length = squared.amax(dim=1).sqrt()
    assert (given.last <= taken.amin(dim=1)).all()
    assert (given.floors > own - 0.06 * (1 + length)[:, None])[~none].all()


def test_the_bound_counts_the_rounding_of_the_product():
    """One direction with rows that bfloat16 holds exactly: nothing is rounded but the product."""
    x = torch.zeros(8, COLUMNS, dtype=torch.float64)
    x[:, :3] = 1.0
    values = torch.tensor([[-2 * (2**-2 + 2**-10)]]).expand(8, 1)  # was in truth as much as half a unit lower
    half = 2 * 2**-2 * 2**-8
    floors = coarse._floors(x, values, 0.0)
    assert (floors <= 3 + values.double() - half).all()
    assert (floors >= 3 + values.double() - 8 * half).all()


def test_later_blocks_lower_the_bar_and_lose_no_row():
    """Blocks with ever more rows under the first bar: tables fill, and hold the smallest all the same."""
    bank_rows, wanted = 40 * 512, 64
    table = coarse._Table(6, wanted, bank_rows, torch.device("cpu"))
    parts = [torch.rand(6, 512) - 0.002 * start for start in range(40)]
    for start, part in enumerate(parts):
        table.add(part, start, 40)
    whole = torch.stack(parts, dim=2).flatten(1)  # row start + 40 column
    kept = table.values.isfinite()
    assert torch.equal(whole.gather(1, table.index.long())[kept], table.values[kept])
    for row in range(6):
        under = whole[row] < table.bar[row]
        mine = table.index[row][kept[row]].tolist()
        assert len(set(mine)) == len(mine)
        assert set(torch.nonzero(under).flatten().tolist()) <= set(mine)
        assert len(mine) >= coarse.LEAST


def test_a_table_that_overflows_keeps_the_smallest():
    table = coarse._Table(2, 64, 10 * 512, torch.device("cpu"))
    parts = [torch.rand(2, 512), torch.rand(2, 512) - torch.tensor([[2.0], [0.0]])]
    for start, part in enumerate(parts):
        table.add(part, start, 10)
    assert table.count.tolist()[0] == 13  # of 64 expected in ten blocks
    lowest, places = parts[1][0].sort()
    assert torch.equal(table.values[0, :13], lowest[:13])
    assert torch.equal(table.index[0, :13], 1 + 10 * places[:13].int())
    assert table.bar[0] == lowest[12]
    assert table.bar[1] > 0


def test_the_scorer_gives_the_same_scores(monkeypatch):
    bank, x = Outputs(features=torch.randn(BANK, COLUMNS)), Outputs(features=torch.randn(3 * QUERIES, COLUMNS))
    scorer = scorers.make("knn", k=K, which="mean").fit(bank)
    with_bfloat16 = scorer.score(x)
    monkeypatch.setattr(coarse, "fast", lambda: False)
    np.testing.assert_allclose(with_bfloat16, scorer.score(x), rtol=1e-12)


@pytest.mark.parametrize("lost", [0.0, 2.0**-9])
def test_the_bound_counts_what_was_lost_on_either_side(lost):
    """The query's and the bank's residuals may point along the other row, and count twice in a squared distance."""
    x = torch.full((2, COLUMNS), (1 + 0.99 * 2**-8) / 8, dtype=torch.float64)
    values = torch.full((2, 1), -1.0)
    away = torch.linalg.vector_norm(x - x.bfloat16(), dim=1, keepdim=True)
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    worst = length.square() - 1 - 2 * away - 2 * length * lost - 2**-8 * 2
    floors = coarse._floors(x, values, lost)
    assert (floors <= worst).all()
    assert (floors >= worst - 5e-4).all()


def test_the_worst_rounding_of_any_block_is_counted(monkeypatch):
    """Rows of the first block are exact in bfloat16, one of a later block is not."""
    bank = torch.randint(-2, 3, (3 * coarse.COLUMNS, COLUMNS)).float()
    bank[0], bank[-1] = 0.0, 3 + 2**-7  # neither decides the radius, the origin is the centre
    bank[1 : 1 + COLUMNS], radius = 16 * torch.eye(COLUMNS), 32.0
    counted = []
    floors = coarse._floors
    monkeypatch.setattr(coarse, "_floors", lambda *given: counted.append(given[2]) or floors(*given))
    norms = (bank / radius).double().square().sum(dim=1)
    coarse.candidates(torch.randn(5, COLUMNS).double(), norms, lambda part: bank[part] / radius, K, MEMORY)
    away = torch.linalg.vector_norm(bank[-1] - bank[-1].bfloat16()) / radius
    assert away > 0
    assert counted == [pytest.approx(float(away))]


def test_a_query_beyond_the_bound_has_no_floor():
    x = torch.ones(2, COLUMNS, dtype=torch.float64) * torch.tensor([[1.0], [coarse.LONGEST]])
    floors = coarse._floors(x, torch.zeros(2, 3), 0.0)
    assert floors[0].isfinite().all()
    assert floors[1].eq(-torch.inf).all()
