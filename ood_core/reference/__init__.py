"""Reference pages, made from the registry, docstrings and image sets as they are when the book is built."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

import ood_core

from .. import checks, collapse, features, metrics, outputs, plots, scorers, tables
from ..checks import InputError, choice
from .docstrings import parse, signature
from .networks import network_families, network_table, networks_in_use
from .recipes import recipe_fields, recipe_list
from .sets import embedded, overlaps, record_sets, recorded, sample_grid, set_table, use_table
from .speed import speed_provenance, speed_table, speed_targets
from .training import training_ceilings, training_provenance, training_table, training_targets

__all__ = [
    "api",
    "collapse_cases",
    "embedded",
    "fpr_conventions",
    "fpr_table",
    "metric_table",
    "network_families",
    "network_table",
    "networks_in_use",
    "overlaps",
    "recipe_fields",
    "recipe_list",
    "record_sets",
    "recorded",
    "sample_grid",
    "scorer_table",
    "set_table",
    "speed_provenance",
    "speed_table",
    "speed_targets",
    "training_ceilings",
    "training_provenance",
    "training_table",
    "training_targets",
    "use_table",
]

# How to call the few scorers that take more than outputs of any network; the page defines the names.
SPECIAL = {
    "odin": 'scorers.make("odin", model=network).fit(train).score(new)',
    "min_distance": 'scorers.make("min_distance").fit(isomax_train).score(isomax_new)',
}
# What the API page shows: modules that `ood_core` promises, and the few names of others that people write.
MODULES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "outputs": (outputs, ("Outputs", "Head", "unit")),
    "features": (features, ("extract",)),
    **{
        name: (getattr(ood_core, name), tuple(getattr(ood_core, name).__all__))
        for name in ood_core.__all__
        if inspect.ismodule(getattr(ood_core, name))
    },
    "checks": (checks, ("InputError", "NotFittedError", "ArtifactError")),
}


def scorer_table() -> tables.Html:
    """One row a scorer, from the registry: definition, what it reads and needs, parameters, cost, source, example."""
    records = []
    for name in scorers.names():
        about = scorers.describe(name)
        doc = parse(type(scorers.make(name)))
        others = {key: value for key, value in about["parameters"].items() if key != "layer"}
        records.append(
            {
                "scorer": name,
                "about": doc.summary,
                "definition": doc.formula,
                "layer": about["layer"],
                "needs": ", ".join(about["needs"]),
                "parameters": ", ".join(f"{key}={value!r}" for key, value in others.items()),
                "arguments": doc.arguments,
                "notes": doc.notes,
                "cost": about["cost"],
                "source": doc.source or about["source"],
                "example": _example(name),
            }
        )
    return tables.scorer_table(pd.DataFrame(records))


def _example(name: str) -> str:
    """One line that fits a scorer on `train` and scores `new`, with its first parameter written out."""
    if name in SPECIAL:
        return SPECIAL[name]
    parameters = scorers.describe(name)["parameters"]
    first = next(((key, value) for key, value in parameters.items() if key != "layer"), None)
    written = f", {first[0]}={first[1]!r}".replace("'", '"') if first else ""
    return f'scorers.make("{name}"{written}).fit(train).score(new)'


def metric_table() -> tables.Html:
    """One row a metric, from the docstrings."""
    records = []
    for name in metrics.__all__:
        doc = parse(getattr(metrics, name))
        records.append(
            {
                "name": signature(getattr(metrics, name), name),
                "about": doc.summary,
                "definition": doc.formula,
                "returns": doc.returns,
                "source": doc.source,
            }
        )
    return tables.definition_table(pd.DataFrame(records))


def _fpr_example() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Twenty ID and twenty OOD scores: normal quantiles with other means and spreads."""
    from scipy.stats import norm

    steps = norm.ppf((np.arange(20) + 0.5) / 20)
    return steps + 2, 0.6 * steps + 0.6


def fpr_conventions() -> plots.Figure:
    """The two numbers that papers call FPR95, on one small example."""
    id_scores, ood_scores = _fpr_example()
    n, m = len(id_scores), len(ood_scores)
    # The thresholds of `metrics.fpr_at_tpr` and `metrics.fpr_ood_positive`, by their definitions.
    accept = max(t for t in id_scores if np.mean(id_scores >= t) >= 0.95)
    detect = min(t for t in ood_scores if np.mean(ood_scores <= t) >= 0.95)
    wrong = (
        round(metrics.fpr_at_tpr(id_scores, ood_scores) * m),
        round(metrics.fpr_ood_positive(id_scores, ood_scores) * n),
    )
    auroc = metrics.auroc(id_scores, ood_scores)
    return plots.fpr_conventions(
        id_scores,
        ood_scores,
        accept,
        detect,
        titles=(
            f"fpr_at_tpr: {wrong[0]} of {m} OOD accepted, {100 * wrong[0] / m:.0f} %",
            f"fpr_ood_positive: {wrong[1]} of {n} ID rejected, {100 * wrong[1] / n:.0f} %",
        ),
        alt=(
            f"Two rows of dots, twice. Above, the line accepts 19 of 20 ID scores and with them {wrong[0]} of {m} OOD "
            f"scores. Below, the line rejects 19 of 20 OOD scores and with them {wrong[1]} of {n} ID scores."
        ),
        caption=(
            f"The same {n} ID and {m} OOD scores, AUROC {100 * auroc:.2f} %. Above: ID is the positive class, and the "
            "line accepts 95 % of ID. Below: OOD is the positive class, and the line detects 95 % of OOD. Filled dots "
            "are the errors that each convention counts."
        ),
    )


def fpr_table() -> tables.Html:
    """Every metric of that example."""
    values = metrics.evaluate(*_fpr_example())
    frame = pd.DataFrame({"metric": list(values), "value": list(values.values())})
    return tables.facts_table(frame, "All metrics of the example", "example")


def collapse_cases() -> tables.Html:
    """What each measure of neural collapse says about features that are made up to differ in one way."""
    generator = np.random.default_rng(0)
    classes, each, dim = 4, 50, 16
    simplex = np.eye(classes) - 1 / classes
    means = np.concatenate([simplex, np.zeros((classes, dim - classes))], axis=1)
    labels = np.repeat(np.arange(classes), each)
    noise = generator.normal(size=(classes * each, dim)) * 0.1
    longer = means * np.array([1.6, 1, 1, 1])[:, None]
    longer = longer - longer.mean(axis=0)
    turned = np.roll(means, 1, axis=1)
    cases = {
        "collapsed": (means, 0.0, means),
        "spread": (means, 1.0, means),
        "one longer mean": (longer, 0.0, longer),
        "turned layer": (means, 0.0, turned),
    }
    measured = {
        title: collapse.measure(centres[labels] + spread * noise, labels, weight, np.zeros(classes), times_c=True)
        for title, (centres, spread, weight) in cases.items()
    }
    frame = pd.DataFrame(measured).rename_axis("measure").reset_index()
    return tables.facts_table(frame, "Measures of neural collapse on made-up features", "collapse")


def api(module: str) -> tables.Html:
    """Public names of a module with signatures and docstrings; classes with their methods.

    Raises:
        InputError: another module.
    """
    home, names = MODULES[choice("module", module, MODULES)]
    records = []
    for name in names:
        thing = getattr(home, name)
        records.append(_entry(thing, f"{module}.{name}", signature(thing, name)))
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            for method, member in _methods(thing):
                call = method if isinstance(member, property) else signature(member, method)
                records.append(_entry(member, f"{module}.{name}.{method}", f"{name}.{call}"))
    return tables.entries(pd.DataFrame(records))


def _methods(thing: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(thing).items():
        plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if not name.startswith("_") and (inspect.isfunction(plain) or isinstance(plain, property)):
            yield name, plain


def _entry(thing: Any, anchor: str, call: str) -> dict[str, Any]:
    doc = parse(thing)
    if not doc.summary:
        raise InputError(f"{anchor} has no docstring, expected one: the reference page shows it.\nWrite one.")
    return {"anchor": anchor, "call": call, **vars(doc)}
