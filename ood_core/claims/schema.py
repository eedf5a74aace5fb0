"""What a claims file may hold; anything else is refused with its place in the file."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..recipes import SCALES, Scale
from .rules import OPEN, REQUIRED, RULES, Otherwise, takes

COLUMNS = (
    *("recipe", "id_set", "ood_set", "ood_group", "split", "epoch", "layer"),
    *("scorer", "params", "protocol", "class", "metric"),
)
FORMS = ("log", "logit", "log_area")  # what is taken of a number before it is compared; see `selection.pick`
ACROSS = ("mean", "slope", "range")  # one number a seed from several recipes; see `selection.pick`
LISTS = ("ood_set", "ood_group")  # a list of values means: average over them
RULE_FIELDS = ("a", "b", "direction", "margin", "band", "hold_at", "fail_at", "at_most", "otherwise", "over")


def _recipes(value: dict[str, Any]) -> None:
    """One recipe, or several with what to take of them."""
    recipe, across = value.get("recipe"), value.get("across")
    if isinstance(recipe, list):
        if len(recipe) < 2 or not all(isinstance(name, str) for name in recipe) or repeated_name(recipe):
            raise ValueError(f"recipe is {recipe!r}, expected one name, or two and more that differ")
        if across is None or value.get("epoch") == "all" or "minus" in value:
            raise ValueError("recipe is a list, expected `across` beside it, one epoch and no `minus`")
    if across is not None and (across not in ACROSS or not isinstance(recipe, list)):
        raise ValueError(f"across is {across!r}, expected one of {', '.join(ACROSS)}, with a list of recipes")


def _left_out(value: dict[str, Any]) -> None:
    """Several OOD sets less some of them."""
    names = value.get("without", ["none"])
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"without is {names!r}, expected a list of OOD sets")


def _selector(value: dict[str, Any]) -> dict[str, Any]:
    _recipes(value)
    _left_out(value)
    taken: dict[str, Any] = {key: value[key] for key in ("form", "minus") if key in value}
    for column, wanted in value.items():
        if column in ("across", "without") or (column == "recipe" and isinstance(wanted, list)):
            continue
        if column in taken:
            continue
        if column not in COLUMNS:
            raise ValueError(f"column {column!r} cannot be selected on, expected one of: {', '.join(COLUMNS)}")
        if column == "epoch":
            if wanted not in ("last", "first", "all") and not (isinstance(wanted, float) and 0 < wanted < 1):
                raise ValueError(f"epoch is {wanted!r}, expected last, first, all or a fraction between 0 and 1")
        elif column == "params" and isinstance(wanted, dict):
            continue
        elif isinstance(wanted, list):
            if column not in LISTS or not wanted or not all(isinstance(w, str) for w in wanted):
                raise ValueError(f"{column} is {wanted!r}, expected one value; only {', '.join(LISTS)} take a list")
        elif not isinstance(wanted, str):
            raise ValueError(f"{column} is {wanted!r}, expected text")
    for column in ("recipe", "metric"):
        if column not in value:
            raise ValueError(f"{column} is missing, expected a selector that names recipe and metric")
    return _taken(taken, {"epoch": "last", **value}, "epoch" in value)


def _taken(taken: dict[str, Any], value: dict[str, Any], at_epoch: bool) -> dict[str, Any]:
    """Check what is done with the selected numbers."""
    form, minus = taken.get("form", FORMS[0]), taken.get("minus", "")
    if form not in FORMS or (form == "log_area" and at_epoch):
        raise ValueError(f"form is {form!r}, expected one of {', '.join(FORMS)}; log_area without an epoch")
    if not isinstance(minus, str) or (minus and value["epoch"] == "all"):
        raise ValueError(f"minus is {minus!r}, expected the name of a recipe, and one epoch")
    return value


Selector = Annotated[dict[str, Any], AfterValidator(_selector)]
Text = Annotated[str, Field(min_length=1)]


def repeated_name(names: list[Any]) -> Any:
    """The first name that stands more than once, or None."""
    return next((name for name in names if names.count(name) > 1), None)


class Strict(BaseModel):
    """Frozen, without conversions; a field that is unknown is refused with those that are known."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        unknown = sorted(set(value) - set(cls.model_fields)) if isinstance(value, dict) else []
        if unknown:
            raise ValueError(f"field {unknown[0]!r} is unknown, expected one of: {', '.join(cls.model_fields)}")
        return value


class Part(Strict):
    """One measured statement of a claim.

    `a` and `b` select rows and may take a `form` of their numbers; `rule` is one of `rules.RULES` and says which of
    direction, margin, band, hold_at, fail_at, at_most, otherwise, over it takes. `each: ood_set` repeats the part for
    every set; with `at_least: k` the part then holds if k sets hold. `counts: false` lists numbers beside the claim, on
    request unless they are `shown`: those of another convention are. `group` is one of the claim's. `unit` is for
    display: fractions shown in per cent, differences of fractions in percentage points, plain numbers, or natural
    logarithms of a ratio, shown as the ratio. `note` says what we chose ourselves.
    """

    name: Text
    rule: str
    a: Selector
    b: Selector | None = None
    direction: Literal["greater", "less", "two_sided"] | None = None
    margin: float | None = None
    band: float | None = Field(default=None, ge=0)
    hold_at: float | None = None
    fail_at: float | None = None
    at_most: float | None = None
    otherwise: Otherwise | None = None
    over: Literal["seeds", "epochs"] | None = None
    each: Literal["ood_set"] | None = None
    at_least: int | None = Field(default=None, ge=1)
    counts: bool = True
    shown: bool = False
    group: Text | None = None
    unit: Literal["percent", "points", "number", "log_ratio"]
    note: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the rule; what is left out takes the rule's own default."""
        named = {name: default for name, default in takes(self.rule).items() if name in RULE_FIELDS[2:]}
        given = {name: getattr(self, name) for name in named}
        return {name: named[name] if value is None else value for name, value in given.items()}

    @property
    def asks(self) -> str:
        """What the rule asks, in one line in the part's unit, such as "paired: > 0 points, band ±0.5 points"."""

        def shown(value: float) -> str:
            if self.unit == "log_ratio":
                return f"{math.exp(value):.4g} times"
            number = f"{value if self.unit == 'number' else 100 * value:g}".replace("-", "−")
            return number + {"percent": " %", "points": " points", "number": ""}[self.unit]

        sign = {"greater": ">", "less": "<", "two_sided": "either side of", None: ""}[self.direction]
        margin, band = (self.arguments.get(name, 0.0) for name in ("margin", "band"))
        match self.rule:
            case "paired":
                asked = f"{sign} {shown(-margin if self.direction == 'less' and margin else margin)}"
            case "non_inferior":
                asked = f"{sign} {shown(-margin if self.direction == 'greater' else margin)}"
            case "equivalent":
                asked = f"within ±{shown(margin)}"
            case "threshold":
                hold_at, fail_at = (self.arguments[name] for name in ("hold_at", "fail_at"))
                asked = f"{sign} {shown(hold_at)}, fails on the other side of {shown(fail_at)}"
            case "spread":
                asked = f"ratio of sd {sign} 1"
            case "always":
                asked = f"every value ≤ {shown(self.arguments['at_most'])}"
                asked += ", else open" if self.otherwise == OPEN else ""
            case "correlation":
                asked = f"{sign} 0"
            case "lowest":
                asked = "over seeds" if self.b is None else "over seeds, a difference"
            case "reaches":
                asked = "the other's last value, epoch"
            case _:
                asked = f"{sign} {shown(margin)}"
        words = [f"{self.rule.replace('non_inferior', 'non-inferior').replace('_', ' ')}: {asked}"]
        within = f"band of a factor {math.exp(band):.4g}" if self.unit == "log_ratio" else f"band ±{shown(band)}"
        words += [within] if band else []
        words += [f"for at least {self.at_least} of the sets"] if self.at_least else []
        return ", ".join(words)

    @model_validator(mode="after")
    def _fits_rule(self) -> Part:
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}, expected one of: {', '.join(RULES)}")
        wanted = takes(self.rule)
        for name in RULE_FIELDS:
            given = getattr(self, name) is not None
            if given and name not in wanted:
                raise ValueError(f"{name} is given, expected only what rule {self.rule} takes: {', '.join(wanted)}")
            if not given and wanted.get(name) is REQUIRED:
                raise ValueError(f"{name} is missing, expected it for rule {self.rule}")
        if self.rule == "paired" and (self.margin or 0) < 0:
            raise ValueError(f"margin is {self.margin}, expected a size of 0 or more; direction says which side")
        if self.rule in ("non_inferior", "equivalent") and not (self.margin or 0) > 0:
            raise ValueError(f"margin is {self.margin}, expected more than 0 for rule {self.rule}")
        if self.rule in ("non_inferior", "threshold") and self.direction == "two_sided":
            raise ValueError(f"direction is 'two_sided', expected greater or less for rule {self.rule}")
        if self.rule == "threshold":
            wrong = self.hold_at < self.fail_at if self.direction == "greater" else self.hold_at > self.fail_at  # type: ignore[operator]
            if wrong:
                raise ValueError(f"hold_at is {self.hold_at}, expected it on the claimed side of {self.fail_at}")
        epochs = [s["epoch"] for s in (self.a, self.b) if s is not None]
        if ("all" in epochs) != (self.over == "epochs") or (self.over == "epochs" and set(epochs) != {"all"}):
            raise ValueError(f"epoch is {' and '.join(map(str, epochs))}, expected all exactly with over: epochs")
        if self.at_least is not None and self.each is None:
            raise ValueError("at_least is given without each, expected `each: ood_set` beside it")
        if self.each and self.counts and self.at_least is None:
            raise ValueError("at_least is missing, expected how many OOD sets must hold, or counts: false")
        return self

    @model_validator(mode="after")
    def _shown(self) -> Part:
        if self.shown and self.counts:
            raise ValueError("shown is true, expected it with counts: false alone; parts that count are always shown")
        return self


class Explanation(Strict):
    """Why a verdict may be what it is, in a sentence or two that no test decides on; `of` is that verdict."""

    of: Literal["does not hold", "inconclusive"]
    text: Text


class Claim(Strict):
    """One falsifiable statement of a page, with the parts that decide it.

    `origin` is P for the paper's own, Q for a question added here; `source` says where it stands. `combine` is `all`,
    `at_least` (with `k`), `agree` (all parts the same word, else inconclusive: the verdict depends on what differs
    between them) or `listed` (numbers only). `groups` are combined first, each by `all` or `agree`, and then count as
    one part; those in `required` must hold whatever `k` is. With `needs_all` a part that fails decides nothing before
    every counted part has run. `not_run` gives a reason for each scale that cannot run it. `absent` names recipes that
    a scale does not have: lists there are without them. `answers` puts the answer of a two-sided claim in words, such
    as lower: unit features detect better. `revised` says, by scale, what was changed after results had been seen, and
    what the verdict was before. `explained` is our best explanation of a verdict at a scale, shown while it is that.
    """

    id: Text
    title: Text
    statement: Text
    origin: Literal["P", "Q"]
    source: Text
    combine: Literal["all", "at_least", "agree", "listed"] = "all"
    k: int | None = Field(default=None, ge=1)
    groups: dict[Text, Literal["all", "agree"]] = Field(default_factory=dict)
    required: tuple[Text, ...] = Field(default=(), strict=False)
    needs_all: bool = False
    min_seeds: int = Field(default=5, ge=2)
    parts: tuple[Part, ...] = Field(default=(), strict=False)
    not_run: dict[Scale, Text] = Field(default_factory=dict)
    absent: dict[Scale, list[Text]] = Field(default_factory=dict)
    answers: dict[Literal["higher", "lower", "no clear difference"], Text] = Field(default_factory=dict)
    note: str = ""
    revised: dict[Scale, Text] = Field(default_factory=dict)
    explained: dict[Scale, Explanation] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Claim:
        counted = [part for part in self.parts if part.counts]
        if not self.parts and set(self.not_run) != set(SCALES):
            raise ValueError(f"parts are missing, expected some, or not_run with a reason for {', '.join(SCALES)}")
        if self.parts and self.combine != "listed" and not counted:
            raise ValueError("no part counts, expected at least one, or combine: listed")
        units = len({part.group or part.name for part in counted})
        if (self.k is not None) != (self.combine == "at_least") or (self.k or 0) > max(units, 1):
            raise ValueError(f"k is {self.k}, expected 1 to {units} with combine: at_least, else none")
        if {part.group for part in counted if part.group} != set(self.groups):
            raise ValueError(f"groups are {sorted(self.groups)}, expected exactly those that counted parts name")
        if not set(self.required) <= set(self.groups):
            raise ValueError(f"required is {list(self.required)}, expected names of groups")
        if self.combine != "listed" and len({part.direction == "two_sided" for part in counted}) > 1:
            raise ValueError("direction two_sided stands beside others, expected all counted parts alike")
        if self.answers and not all(part.direction == "two_sided" for part in counted):
            raise ValueError("answers are given, expected none where a claim takes a side")
        if twice := repeated_name([part.name for part in self.parts]):
            raise ValueError(f"parts named {twice!r} stand twice, expected one of each name")
        return self


class Number(Strict):
    """One measured number of a headline: that of a part of a claim, under a label of its own."""

    label: str = ""
    claim: Text
    part: Text


class Headline(Strict):
    """A line of the front page: what was measured, in words that take no side, and the numbers."""

    says: Text
    numbers: tuple[Number, ...] = Field(min_length=1, strict=False)


class Page(Strict):
    """A claims file: the paper it tests, its claims, and which of their numbers stand on the front page.

    `selections` only holds YAML anchors for the selectors.
    """

    page: Text
    title: Text
    paper: Text
    headline: tuple[Headline, ...] = Field(default=(), strict=False)
    claims: tuple[Claim, ...] = Field(min_length=1, strict=False)
    selections: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _unique(self) -> Page:
        if twice := repeated_name([claim.id for claim in self.claims]):
            raise ValueError(f"claim {twice!r} stands twice, expected one of each id")
        stated = {claim.id: [part.name for part in claim.parts] for claim in self.claims}
        for number in (number for line in self.headline for number in line.numbers):
            if number.part not in stated.get(number.claim, ()):
                raise ValueError(
                    f"headline names {number.claim} {number.part!r}, expected a claim and one of its parts"
                )
        return self
