"""What a reported file may hold: numbers that papers printed, each with its place; anything else is refused."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .schema import Strict, Text
from .tabulated import Printed


class Reported(Strict):
    """What a paper printed that bears on a claim: a value with the place it was read, or `not reported`.

    With `part` it stands beside that part of the claim, and is made of two printed values; see `Difference`.
    """

    claim: Text
    part: str = ""
    quantity: Text
    status: Literal["verified", "not reported"]
    value: float | None = None
    unit: str = ""
    where: str = ""
    read: str = ""

    @model_validator(mode="after")
    def _sourced(self) -> Reported:
        given = {name: getattr(self, name) for name in ("value", "unit", "where", "read")}
        if self.status == "verified":
            for name, value in given.items():
                if value in (None, ""):
                    raise ValueError(f"{name} is missing, expected value, unit, where and read for a verified number")
        elif given["value"] is not None:
            raise ValueError(f"value is {self.value}, expected none where nothing is reported")
        return self


class Difference(Strict):
    """Two reported quantities of a claim, in per cent, of which a part measures the difference or the ratio.

    `part` names a part, or for one that is repeated for each OOD set, part, colon and set.
    """

    claim: Text
    part: Text
    quantity: Text
    minus: str = ""
    over: str = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> Difference:
        if bool(self.minus) == bool(self.over):
            raise ValueError(
                f"part {self.part!r} has minus {self.minus!r} and over {self.over!r}, expected one of them"
            )
        return self


class ReportedPage(Strict):
    """A reported file: values for a page's claims, differences of them, whole tables, and those of other systems."""

    page: Text
    reported: tuple[Reported, ...] = Field(strict=False)
    differences: tuple[Difference, ...] = Field(default=(), strict=False)
    tables: tuple[Printed, ...] = Field(default=(), strict=False)
    context: tuple[Printed, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _of_printed_values(self) -> ReportedPage:
        for asked in self.differences:
            self.taken(asked)
        return self

    def taken(self, asked: Difference) -> Reported:
        """The entry that a difference stands for."""
        values = {entry.quantity: entry for entry in self.reported if entry.claim == asked.claim}
        values = {name: entry for name, entry in values.items() if entry.value is not None}
        pair = [values.get(name) for name in (asked.quantity, asked.minus or asked.over)]
        if None in pair:
            raise ValueError(f"{asked.claim} {asked.part!r} names a quantity without a value, expected: {list(values)}")
        first, second = (entry for entry in pair if entry is not None)
        if first.where.partition(";")[0] != second.where.partition(";")[0]:
            raise ValueError(f"{asked.claim} {asked.part!r} mixes {first.where} and {second.where}, expected one place")
        assert first.value is not None
        assert second.value is not None
        if asked.over and second.value == 0:
            raise ValueError(f"{asked.claim} {asked.part!r} divides by {second.quantity}, which is 0, expected another")
        made = first.value - second.value if asked.minus else first.value / second.value
        return Reported(
            claim=asked.claim,
            part=asked.part,
            quantity=f"{first.quantity} {'minus' if asked.minus else 'over'} {second.quantity}",
            status="verified",
            value=round(made, 4),
            unit="points" if asked.minus else "times",
            where=second.where.partition(";")[0],
            read=f"from {first.value:g} and {second.value:g}",
        )

    @model_validator(mode="after")
    def _read_at_first_hand(self) -> ReportedPage:
        for found in self.tables:
            if found.status == "second-hand":
                raise ValueError(f"table {found.table!r} is second-hand, expected that under context alone")
        return self
