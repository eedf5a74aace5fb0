"""Reference pages say what the code says: every scorer, metric, name and image set; examples that run."""

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import ood_core
from ood_core import collapse, metrics, reference, scorers, tables
from ood_core.checks import InputError
from ood_core.reference.docstrings import parse, signature

from ..building import PAGES, ROOT
from ..pages import EVIL, Page, csv_of

FOLDER = ROOT / "book" / "reference"


def cells(name):
    """Code cells of a reference page."""
    return re.findall(r"```\{code-cell\} ipython3\n(.*?)```", (FOLDER / f"{name}.md").read_text(), re.S)


def code(name):
    return "\n".join(re.sub(r"^:tags:.*\n", "", cell, flags=re.M) for cell in cells(name))


@pytest.fixture(scope="module")
def prelude():
    """What the page on scorers defines before its table."""
    given = {}
    exec(cells("scorers")[0], given)  # sets its own seed
    return given


@pytest.mark.parametrize("name", scorers.names())
def test_every_scorer_has_a_row_and_its_example_runs(name, prelude):
    records = reference.scorer_table().frame.set_index("scorer")
    record = records.loc[name]
    assert record["definition"].startswith("s(x) = ")
    assert all(record[column] for column in ("about", "layer", "cost", "source", "example"))
    scores = eval(record["example"], dict(prelude))
    assert scores.shape == (5,)
    assert torch.isfinite(scores).all()
    assert f'"{name}"' in record["example"]


def test_the_scorer_table_is_the_registry():
    made = reference.scorer_table()
    page = Page(made.html)
    assert list(made.frame["scorer"]) == scorers.names()
    assert len(page.body) == len(scorers.names())
    assert [row["scorer"] for row in csv_of(made.html)[0]] == scorers.names()
    for name, shown in zip(scorers.names(), page.body, strict=True):
        text = " ".join(cell["text"] for cell in shown["cells"])
        for parameter, value in scorers.describe(name)["parameters"].items():
            assert parameter in text
            assert parameter == "layer" or f"{parameter}={value!r}" in text
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert ids == [f"scorer-{name}" for name in scorers.names()]


def test_the_metric_table_has_every_public_metric():
    made = reference.metric_table()
    assert [name.partition("(")[0] for name in made.frame["name"]] == metrics.__all__
    assert made.frame.set_index("name").loc["auroc(id_scores, ood_scores)", "definition"].startswith("P(s_id > s_ood)")
    Page(made.html)


def test_metrics_and_scorers_say_formula_arguments_errors_and_source():
    """A reader takes shapes, units and conventions from here; what is new and says less is found here."""
    for name in metrics.__all__:
        made = getattr(metrics, name)
        doc = parse(made)
        told = {word for key in doc.arguments for word in key.split(", ")}
        told |= set(re.findall(r"(\w+): ", " ".join(doc.arguments.values())))  # two on one line
        assert set(inspect.signature(made).parameters) <= told, name
        assert "fraction" in doc.returns, name
        assert "InputError" in doc.raises, name
        if name not in ("evaluate", "mean_over_sets", "pooled_sets"):  # of which the others are the parts
            assert doc.formula, name
        if name not in ("accuracy", "evaluate", "mean_over_sets", "pooled_sets"):
            assert re.search(r"(19|20)\d\d", doc.source), name
    for name in scorers.names():
        doc = parse(scorers._kind(name))
        assert doc.formula.startswith("s(x) = "), name
        assert {*scorers.describe(name)["parameters"]} <= {word for key in doc.arguments for word in key.split(", ")}
        assert re.search(r"(19|20)\d\d", doc.source), name


def test_the_figure_counts_the_errors_of_both_conventions():
    id_scores, ood_scores = reference._fpr_example()
    accepted = sorted(id_scores)[1]  # nineteen of twenty are at or above it
    detected = sorted(ood_scores)[18]
    let_in, turned_away = sum(ood_scores >= accepted), sum(id_scores <= detected)
    assert let_in != turned_away, "the example shows no difference"
    figure = reference.fpr_conventions()
    assert f"fpr_at_tpr: {let_in} of 20 OOD accepted, {5 * let_in} %" in figure.svg
    assert f"fpr_ood_positive: {turned_away} of 20 ID rejected, {5 * turned_away} %" in figure.svg
    assert f"with them {let_in} of 20 OOD scores" in figure.alt
    values = reference.fpr_table().frame.set_index("metric")["value"]
    assert values["fpr_at_tpr"] == let_in / 20
    assert values["fpr_ood_positive"] == turned_away / 20
    wins = sum(float(a > b) + (a == b) / 2 for a in id_scores for b in ood_scores) / 400
    assert values["auroc"] == pytest.approx(wins)
    assert f"AUROC {100 * wins:.2f} %" in figure.caption


def test_the_figure_draws_the_lines_where_the_errors_are_counted(monkeypatch):
    drawn = []
    monkeypatch.setattr(reference.plots, "fpr_conventions", lambda *given, **_: drawn.append(given))
    reference.fpr_conventions()
    ((id_scores, ood_scores, accept, detect),) = drawn
    assert accept == sorted(id_scores)[1]
    assert detect == sorted(ood_scores)[18]
    assert np.mean(ood_scores >= accept) == metrics.fpr_at_tpr(id_scores, ood_scores)
    assert np.mean(id_scores <= detect) == metrics.fpr_ood_positive(id_scores, ood_scores)


def test_each_measure_of_collapse_reacts_to_its_own_change():
    frame = reference.collapse_cases().frame.set_index("measure")
    assert list(frame.index) == list(collapse.measure(np.eye(3), np.arange(3), np.eye(3), times_c=True))
    moved = {case: set(frame.index[frame[case].abs() > 1e-9]) for case in frame.columns}
    assert moved["collapsed"] == set()
    assert moved["spread"] >= {"nc1"}
    assert not moved["spread"] & {"nc2_norm_weights", "nc2_angle_weights"}
    assert moved["one longer mean"] >= {"nc2_norm_means", "nc2_norm_weights"}
    assert not moved["one longer mean"] & {"nc1", "nc3"}
    assert frame.loc["nc1_times_c", "spread"] == pytest.approx(4 * frame.loc["nc1", "spread"])
    assert moved["turned layer"] >= {"nc3", "nc4"}
    assert not moved["turned layer"] & {"nc1", "nc2_norm_means", "nc2_angle_means"}


@pytest.mark.parametrize("module", reference.MODULES)
def test_the_api_page_shows_every_public_name(module):
    made = reference.api(module)
    home, names = reference.MODULES[module]
    anchors = list(made.frame["anchor"])
    assert len(set(anchors)) == len(anchors)
    assert [name for name in anchors if name.count(".") == 1] == [f"{module}.{name}" for name in names]
    page = Page(made.html)
    assert [found["id"] for found in page.all("dt") if "id" in found] == [f"api-{name}" for name in anchors]
    for name in names:
        thing = getattr(home, name)
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            public = {key for key, value in vars(thing).items() if not key.startswith("_") and callable(value)}
            assert {f"{module}.{name}.{key}" for key in public} <= set(anchors)


def test_every_promised_module_has_its_place_on_the_api_page():
    promised = {name for name in ood_core.__all__ if inspect.ismodule(getattr(ood_core, name))}
    shown = re.findall(r'reference\.api\("(\w+)"\)', code("api"))
    assert promised <= set(shown) == set(reference.MODULES)
    assert len(set(shown)) == len(shown)
    with pytest.raises(InputError, match="module is 'paths', expected one of: outputs"):
        reference.api("paths")


def test_every_reference_page_is_in_the_contents_and_runs():
    written = {f"reference/{path.stem}" for path in FOLDER.glob("*.md")}
    assert written <= set(PAGES)
    for page in written:
        name = page.rpartition("/")[2]
        exec(compile(code(name), name, "exec"), {})


DOC = """Sentence that goes
on.

f(x) = 1,
  with x > 0

A note about `x`.

- first
- second

Args:
    x: a number, {"a": 1}
        that is long. with: a colon.
    low, high: limits.
Returns:
    something: else.
Raises:
    InputError: never.
Source: Somebody 2020, arXiv 2001.00001,
    equation 1.
Example:
    >>> 1 +\\
    ...     1
    2
"""


def test_a_docstring_is_taken_apart():
    def thing():
        pass

    thing.__doc__ = DOC
    doc = parse(thing)
    assert doc.summary == "Sentence that goes on."
    assert doc.formula == "f(x) = 1,\n  with x > 0"
    assert doc.notes == ("A note about `x`.", "- first\n- second")
    assert doc.arguments == {"x": 'a number, {"a": 1} that is long. with: a colon.', "low, high": "limits."}
    assert doc.returns == "something: else."
    assert doc.raises == "InputError: never."
    assert doc.example == ">>> 1 +\\\n...     1\n2"
    assert doc.source == "Somebody 2020, arXiv 2001.00001, equation 1."
    thing.__doc__ = "One sentence."
    assert parse(thing).formula == parse(thing).source == ""


def test_a_signature_shows_names_and_defaults():
    def thing(a, *, b: int = 1, c="x"):
        pass

    assert signature(thing, "thing") == "thing(a, *, b=1, c='x')"
    assert signature(lambda a, *rest, b=1, **more: 0, "f") == "f(a, *rest, b=1, **more)"
    assert signature(ood_core.Outputs, "Outputs").startswith("Outputs(features, logits=None, ")
    assert "layers={}" in signature(ood_core.Outputs, "Outputs")


def test_nothing_that_is_shown_can_be_markup():
    for made in (
        tables.facts_table(reference.pd.DataFrame({"a": [EVIL], EVIL: [EVIL]}), EVIL, EVIL),
        tables.picture(b"", EVIL, EVIL),
        tables.entries(reference.pd.DataFrame([evil_entry()])),
    ):
        assert not Page(made.html).all("script")


def test_numbers_of_facts_have_four_digits_and_no_power_of_ten():
    values = [10_450.4, 7_553_411.0, 1e-12, 0.0040461, -0.98765, 12]
    shown = tables.facts_table(
        reference.pd.DataFrame({"work": ["a"] * 6, "value": pd.Series(values, dtype=object)}), "l", "n"
    )
    found = [row["cells"][1]["text"] for row in Page(shown.html).body]
    assert found == ["10,450", "7,553,000", "0", "0.004046", "-0.9877", "12"]


def evil_entry():
    plain = dict.fromkeys(("anchor", "call", "summary", "formula", "returns", "raises", "source", "example"), EVIL)
    return {**plain, "notes": [EVIL, f"- {EVIL}"], "arguments": {EVIL: f"`{EVIL}`"}}


def test_prose_marks_code_and_links_papers():
    shown = tables.reference.prose("`a < b` in arXiv 2301.12345, equation 1")
    assert shown == (
        '<code>a &lt; b</code> in <a href="https://arxiv.org/abs/2301.12345">arXiv 2301.12345</a>, equation 1'
    )


def test_the_pages_say_what_no_reader_should_take_from_elsewhere():
    """The factor of NC1 and the square of NC3, which published code has otherwise, are those of `collapse.measure`."""
    x, y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3
    w = np.random.default_rng(1).normal(size=(3, 5))
    means = np.stack([x[y == c].mean(axis=0) for c in range(3)])
    centred = means - means.mean(axis=0)
    within = (x - means[y]).T @ (x - means[y]) / 60
    got = collapse.measure(x, y, w)
    assert got["nc1"] == pytest.approx(np.trace(within @ np.linalg.pinv(centred.T @ centred / 3, rcond=1e-9)) / 3)
    apart = w / np.linalg.norm(w) - centred / np.linalg.norm(centred)
    assert got["nc3"] == pytest.approx((apart**2).sum())
    text = Path(FOLDER / "collapse.md").read_text()
    assert r"\tfrac1C \operatorname{tr}" in text
    assert r"\Bigr\rVert_F^2" in text
