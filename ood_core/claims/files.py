"""Reading claims and reported numbers from the book's YAML files, with errors that name the place."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from ..checks import InputError
from ..paths import repository
from .entries import Reported, ReportedPage
from .schema import Claim, Page, repeated_name
from .tabulated import Printed


# libyaml's parser is five times as fast, and in every wheel of PyYAML; a build from source may lack it.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML without silent repeats: a key that stands twice in one mapping is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if not getattr(node, "merged", False) and (repeated := repeated_name(keys)):
            raise yaml.constructor.ConstructorError(None, None, f"key {repeated!r} stands twice", node.start_mark)
        node.merged = True  # type: ignore[attr-defined]  # merging `<<` prepends keys that may be overridden
        found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return found


Model = TypeVar("Model", Page, ReportedPage)


def pages(root: Path | None = None) -> list[str]:
    """Pages that state claims, in the order of the book's contents; those that are not in it last."""
    top = repository() if root is None else root
    contents = yaml.safe_load((top / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [Path(chapter["file"]).name for part in contents["parts"] for chapter in part["chapters"]]
    have = sorted(path.stem for path in (top / "book" / "claims").glob("*.yml"))
    return sorted(have, key=[*chapters, *(page for page in have if page not in chapters)].index)


def _read(kind: str, page: str, model: type[Model], root: Path | None) -> Model:
    """Read `book/<kind>/<page>.yml` into `model`.

    Raises:
        InputError: no such file, not YAML, or content the model refuses; the message names the place.
    """
    folder = (repository() if root is None else root) / "book" / kind
    have = sorted(path.stem for path in folder.glob("*.yml"))
    if page not in have:
        raise InputError(f"page is {page!r}, expected one of: {', '.join(have)}.\nPages are files of book/{kind}.")
    name = f"book/{kind}/{page}.yml"
    try:
        content = yaml.load((folder / f"{page}.yml").read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (safe)
        loaded = model.model_validate(content)
    except yaml.YAMLError as error:
        raise InputError(f"{name} is not YAML that can be read: {error}.\nCorrect the file.") from error
    except ValidationError as error:
        raise InputError(_explain(name, content, error)) from error
    if loaded.page != page:
        raise InputError(f"{name}: page is {loaded.page!r}, expected {page!r}.\nName it as the file.")
    return loaded


def _explain(name: str, content: Any, error: ValidationError) -> str:
    """One line per problem: where in the file (claims by their id), what was got, what was expected."""
    lines = []
    for problem in error.errors():
        place, here = [], content
        for step in problem["loc"]:
            here = _inside(here, step)
            label = here.get("id") or here.get("name") or here.get("claim") if isinstance(here, dict) else None
            place.append(f"{step} ({label})" if label else str(step))
        text = str(problem["msg"]).removeprefix("Value error, ")
        got = "" if problem["type"] in ("value_error", "missing") else f", got {problem['input']!r}"
        lines.append(f"{name}: {' > '.join(place) or 'top level'}: {text}{got}.")
    return "\n".join(lines) + "\nCorrect the file."


def _inside(container: Any, step: Any) -> Any:
    if isinstance(container, dict):
        return container.get(step)
    return container[step] if isinstance(container, list) and isinstance(step, int) and step < len(container) else None


def page(name: str, root: Path | None = None) -> Page:
    """The claims file `book/claims/<name>.yml`: title and paper beside the claims.

    Args:
        name: the page's name, such as "l2-norm".
        root: the checkout; found from the working folder if left out.
    Raises:
        InputError: no such page, or a field, column, rule or value the file may not hold; the message names the place.
    """
    return _read("claims", name, Page, root)


def load(name: str, root: Path | None = None) -> list[Claim]:
    """The claims of a page in the file's order. Arguments and errors as for `page`."""
    return list(page(name, root).claims)


def reported(name: str, root: Path | None = None) -> list[Reported]:
    """What the page's paper printed, from `book/reported/<name>.yml`; every value carries its source.

    Values beside a claim first, then differences and ratios of two of them beside the parts that measure the same.

    Args and errors as for `page`; a value without a source, or for a claim or part that does not exist, is refused.
    """
    found = _read("reported", name, ReportedPage, root)
    entries = [*found.reported, *map(found.taken, found.differences)]
    known = {claim.id: claim.parts for claim in load(name, root)}
    for entry in entries:
        if entry.claim not in known:
            raise InputError(
                f"book/reported/{name}.yml: claim is {entry.claim!r}, expected one of: {', '.join(known)}.\n"
                "Name a claim of the page."
            )
        parts = known[entry.claim]
        if entry.part and not any(
            entry.part.startswith(f"{part.name}: ") if part.each else entry.part == part.name for part in parts
        ):
            raise InputError(
                f"book/reported/{name}.yml: part is {entry.part!r}, expected one of {entry.claim}: "
                f"{'; '.join(part.name for part in parts)}.\nName a part, or part, colon and set of one for each set."
            )
    return entries


def printed(name: str, context: bool = False, root: Path | None = None) -> list[Printed]:
    """Whole tables of the page's papers, from `book/reported/<name>.yml`, in the file's order.

    Args:
        name: the page's name.
        context: rows of other systems instead of the page's own methods.
        root: the checkout; found from the working folder if left out.
    Raises:
        InputError: as `page`; a table without its source, unit or way of reading, or a cell that is no number.
    """
    found = _read("reported", name, ReportedPage, root)
    return list(found.context if context else found.tables)
