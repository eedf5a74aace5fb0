"""Minutes of a recipe: on which machine, and in words."""

from __future__ import annotations

CORES = "two CPU cores, a run on each"
DEVICES = {"tiny": CORES, "small": CORES, "paper": "one GPU"}  # what a recipe's minutes are about


def duration(minutes: float) -> str:
    """Minutes for people."""
    if minutes >= 120:
        return f"{minutes / 60:.1f} hours"
    return f"{minutes:.0f} minutes" if minutes >= 10 else f"{minutes:.1f} minutes"
