"""The page on image sets: what each is, what recipes use it for, what it looks like, which images it shares."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from .. import data, paths, recipes, tables
from ..checks import InputError

# What real sets look like and share is written once by `record_sets`, so that every build of the book shows it.
RECORDED = ("cifar10",)  # ID sets that other sets are compared with
LIVE = ("digits",)
DUPLICATES = "duplicates.csv"
DIGITS = 8  # of a digest in a file's name, so that a picture of other images is never shown


def set_table() -> tables.Html:
    """Registered image sets: what they are, counts, shape, licence, digest."""
    records = []
    for name, split in data.splits():
        entry, facts = data.entry(name), data.known(name, split)
        records.append(
            {
                "set": name,
                "title": entry["title"],
                "about": entry["about"],
                "split": split,
                "images": facts["count"],
                "size": "x".join(map(str, entry["shape"])),
                "classes": len(entry.get("classes", ())) or "",
                "licence": entry["licence"],
                "digest": facts.get("digest", ""),
            }
        )
    return tables.set_table(pd.DataFrame(records))


def use_table() -> tables.Html:
    """What recipes use each set for, and its classes that mean the same as some of the ID set's."""
    frame = pd.DataFrame([row for place in data.splits() for row in _uses(*place)])
    # Splits of a set about which the same is said stand in one row.
    columns = ["set", "beside", "used as", "classes that mean the same"]
    together = frame.groupby(columns, sort=False).agg({"split": ", ".join, "images": "sum"}).reset_index()
    together.insert(1, "split", together.pop("split"))
    together.insert(2, "images", together.pop("images"))
    return tables.facts_table(together, "What each set is used for", "use-of-sets")


def _uses(name: str, split: str) -> list[dict[str, Any]]:
    """A row for each ID set that a split is used beside or registered beside."""
    used, known = roles().get((name, split), {}), data.entry(name).get("overlaps", {})
    return [
        {
            "set": name,
            "split": split,
            "images": data.known(name, split)["count"],
            "beside": id_set if id_set != name else "",
            "used as": _shown(used, id_set),
            "classes that mean the same": "" if id_set == name else same_classes(name, id_set) or "none",
        }
        for id_set in sorted({*known, *(id_set for id_set, _ in used)})
    ]


def same_classes(name: str, id_set: str) -> str:
    """The registry's words on classes of a set that mean the same as an ID set's, which stands before each."""
    found = dict(data.entry(name).get("overlaps", {}).get(id_set, {}))
    note = found.pop("note", "")
    parts = [f"{id_class}: {', '.join(classes)}" for id_class, classes in found.items()]
    return "; ".join([*parts, *([note] if note else [])])


def _shown(used: dict[tuple[str, str], list[str]], id_set: str) -> str:
    found = [f"{role} ({', '.join(scales)})" for (other, role), scales in used.items() if other == id_set]
    return "; ".join(found) or "no recipe"


@cache
def roles() -> dict[tuple[str, str], dict[tuple[str, str], list[str]]]:
    """(name, split) -> (ID set, role) -> scales, of all recipes of all pages."""
    found: dict[tuple[str, str], dict[tuple[str, str], list[str]]] = {}

    def note(place: tuple[str, str], id_set: str, role: str, scale: str) -> None:
        scales = found.setdefault(place, {}).setdefault((id_set, role), [])
        if scale not in scales:
            scales.append(scale)

    for _, recipe in recipes.every():
        id_set, asked = recipe.data.id_set, recipe.evaluate
        note((id_set, "train"), id_set, "ID training, its last tenth validation", recipe.scale)
        note((id_set, "test"), id_set, "ID test", recipe.scale)
        groups = {
            "near OOD": asked.near,
            "far OOD": asked.far,
            "to choose on": asked.validation,
            "control": asked.control,
        }
        for role, names in groups.items():
            for name in names:
                note(data.parse(name), id_set, role, recipe.scale)
    return found


def embedded() -> list[tuple[str, str]]:
    """(name, split) of the sets that come with a library or are made from such, so that every build has them."""

    def comes_along(name: str) -> bool:
        entry = data.entry(name)
        return bool(entry["source"] == "embedded" or ("derived" in entry and comes_along(entry["derived"]["from"])))

    return [(name, split) for name, split in data.splits() if comes_along(name)]


def recorded() -> list[tuple[str, str]]:
    """(name, split) of the other sets whose digest is known: what the book shows of them is recorded."""
    known = [place for place in data.splits() if data.known(*place).get("digest")]
    return [place for place in known if place not in embedded()]


def folder() -> Path:
    """Where pictures and duplicates of real sets are recorded."""
    return paths.repository() / "book" / "results" / "sets"


def picture_of(name: str, split: str) -> Path:
    """The recorded picture of a split; its name holds the start of the digest."""
    return folder() / f"{name}-{split}-{data.digest(name, split)[:DIGITS]}.webp"


def sample_grid(name: str, split: str) -> tables.Html:
    """The first 24 images of a set in canonical order: made now, or as recorded.

    Raises:
        InputError: the set's picture has not been recorded.
    """
    entry, count = data.entry(name), data.known(name, split)["count"]
    if (name, split) in embedded():
        picture, kind = data.sheet(data.load(name, split)), "png"
    else:
        path = picture_of(name, split)
        if not path.is_file():
            raise InputError(
                f"{path} is not there, expected the picture of {name}/{split}.\n"
                "Run: python -m ood_core data record, with OOD_DATA set, and commit what it writes."
            )
        picture, kind = path.read_bytes(), "webp"
    high, wide = entry["shape"][:2]
    alt = f"24 images of {entry['title']}, split {split}, {wide}x{high} pixels each."
    return tables.picture(picture, alt, f"{name}, {split}: {entry['title']}. {count:,} images.", kind)


def overlaps() -> tables.Html:
    """Exact duplicates: equal images within each set, and between it and the ID set's training and test images."""
    rows = [row for id_set in LIVE for row in _compared(id_set)]
    rows += [row for row in recorded_duplicates() if _current(row)]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        id_set, part = data.parse(row["among"])
        kept = found.setdefault(
            (row["set"], row["split"]),
            {
                "set": f"{row['set']}/{row['split']}",
                "images": row["images"],
                "different": row["different"],
                "beside": id_set,
                "in its train": "",
                "in its test": "",
                "which": "",
            },
        )
        kept[f"in its {part}"] = row["shared"]
        kept["which"] = "; ".join(filter(None, (kept["which"], row["pairs"])))
    return tables.facts_table(pd.DataFrame(found.values()), "Exact duplicates", "duplicates")


def recorded_duplicates() -> list[dict[str, Any]]:
    """The recorded rows, one a split and ID split."""
    return list(pd.read_csv(folder() / DUPLICATES, keep_default_na=False).to_dict("records"))  # type: ignore[arg-type]


def _current(row: dict[str, Any]) -> bool:
    """Whether a recorded row is about the images that are registered now."""
    known = data.known(row["set"], row["split"]), data.known(*data.parse(row["among"]))
    return [facts.get("digest") for facts in known] == [row["digest"], row["among_digest"]]


def beside(id_set: str) -> list[tuple[str, str]]:
    """The ID set itself and the sets that the registry sets beside it, where their digest is known."""
    return [
        (name, split)
        for name, split in data.splits()
        if (name == id_set or id_set in data.entry(name).get("overlaps", {})) and data.known(name, split).get("digest")
    ]


def _compared(id_set: str) -> list[dict[str, Any]]:
    return [
        data.compared(data.load(*place), data.load(id_set, split))
        for place in beside(id_set)
        for split in ("train", "test")
        if place != (id_set, split)
    ]


def record_sets() -> list[Path]:
    """Write pictures and duplicates of all real sets with a known digest to `book/results/sets/`.

    Pictures of sets that are not registered any more are removed.

    Returns:
        what was written.
    Raises:
        InputError: a set is not at hand.
    """
    target = folder()
    wanted = {picture_of(*place): data.sheet(data.load(*place), "WEBP") for place in recorded()}
    rows = [row for id_set in RECORDED for row in _compared(id_set)]
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.webp"):
        if old not in wanted:
            old.unlink()
    for path, picture in wanted.items():
        path.write_bytes(picture)
    pd.DataFrame(rows).to_csv(target / DUPLICATES, index=False, lineterminator="\n")
    return [*wanted, target / DUPLICATES]
