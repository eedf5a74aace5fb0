"""Score folders of images with a trained network."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch

from .. import checks, files, scorers, scoring
from ..checks import InputError
from ..runs import setup
from ..scoring import own
from .options import as_json, show

SUFFIXES = 6  # of files that were left out, named one by one


class _Names(click.Choice):  # type: ignore[type-arg]  # click 8.1 takes no type here
    """A choice that says which of its names is near one that is none of them, as `checks.choice` does."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = checks.nearest(value, self.choices)
            self.fail(f"{error.message} Did you mean {near!r}?" if near else error.message, param, ctx)


def _numbers(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in value.split(",")) if value else ()
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not numbers with commas between", param=parameter) from error


def _pairs(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for text in values:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param=parameter)
    return {name: value for name, _, value in (text.partition("=") for text in values)}


def _values(scorer: str, pairs: dict[str, str]) -> dict[str, Any]:
    """Parameters in their types: JSON, but for names. A class or a layer may be called `0`, and a choice `true`."""
    defaults = scorers.describe(scorer)["parameters"]
    return {name: text if isinstance(defaults.get(name), str) else _value(text) for name, text in pairs.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _apart(model: str, paths: dict[str, Path | None], folders: tuple[Path, ...]) -> None:
    """Refuse one file under two options: the second to be written would replace the first, or what is read."""
    files = {**paths, "--model": own.parts(model)[0] if own.named(model) else None}
    named = [(option, path) for option, path in files.items() if path]
    named += [("FOLDERS", path) for path in folders if path.is_file()]
    seen: dict[str, str] = {}
    for option, path in named:
        before = seen.setdefault(os.path.realpath(path), option)
        if before != option:
            raise InputError(
                f"{before} and {option} are both {path}, expected a file for each: one would replace the other.\n"
                f"Name another file for {before}."
            )


def _writable(option: str, path: Path) -> None:
    """Refuse a target that cannot be written, before hours of work are lost to it."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path} lies in no existing folder, expected one to write to.\nMake the folder first.")
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        if path.is_file():
            path.open("r+b").close()
        elif path.exists() and option != "--out":
            raise OSError("it is a device or a pipe")
        if option != "--out" or not (path.exists() and _in_place(path)):  # others are written beside their place
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"{option} {path} cannot be written ({error}), expected a file in a folder that can.\nName another file."
        ) from error


def _png(sheet: Path) -> None:
    """Refuse a name of another format than the one that is written."""
    if sheet.suffix.lower() not in ("", ".png"):
        raise InputError(
            f"--sheet {sheet} ends in {sheet.suffix}, expected .png, the one format of a sheet.\n"
            f"Name it {sheet.with_suffix('.png')}."
        )


def _outside(sheet: Path, folders: Iterable[Path | None]) -> None:
    """Refuse a sheet in a folder whose images are read: the next run would read it as one of them."""
    for folder in folders:
        if folder is not None and sheet.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"--sheet {sheet} lies in {folder}, expected another folder: it would be scored as an image there.\n"
                "Write it beside that folder."
            )


def _in_place(out: Path) -> bool:
    """Whether the CSV goes where the path leads: in the place of a link or of /dev/stdout, a file would replace it."""
    return out.is_symlink() or (out.exists() and not out.is_file())


def _fields(accuracy: scoring.Accuracy | None) -> dict[str, Any] | None:
    """As JSON has it."""
    if accuracy is None:
        return None
    return {**asdict(accuracy), "folder": str(accuracy.folder), "share": accuracy.share, "doubtful": accuracy.doubtful}


def _accuracy(found: scoring.Accuracy, id_folder: Path) -> str:
    """What the network makes of ID images, with a warning where it may as well guess."""
    seen = "; of new ones fewer, if it was trained on these" if found.folder == id_folder else ""
    line = (
        f"the network puts {100 * found.share:.1f} % of {found.n} ID images in {click.format_filename(found.folder)} "
        f"into their folder's class{seen}"
    )
    warning = (
        f"warning: chance alone would give about {100 * found.chance:.1f} %, so its scores may mean nothing. Check "
        "that the sub-folders, sorted by name, are the network's classes in order, and that images are prepared as in "
        "training: --size, --mean, --std or the transform."
    )
    return f"{line}\n{warning}" if found.doubtful else line


def _left_out(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    kinds = [f"{count} {click.format_filename(suffix) or 'without a suffix'}" for suffix, count in ranked[:SUFFIXES]]
    more = f" and {len(ranked) - SUFFIXES} other suffixes" if len(ranked) > SUFFIXES else ""
    total = sum(counts.values())
    return f"left out {total} file{'s' if total > 1 else ''}, no image by the name: {', '.join(kinds)}{more}"


def _turned(count: int) -> str:
    return (
        f"{count} image{'s ask' if count > 1 else ' asks'} by an EXIF tag to be shown turned or mirrored, which only a "
        "transform of your own does (PIL.ImageOps.exif_transpose)"
    )


def _unreadable(reasons: Mapping[Path, str]) -> str:
    """All of them by name: they stand nowhere else."""
    lines = [f"  {click.format_filename(path)} ({reason})" for path, reason in reasons.items()]
    files_ = f"{len(lines)} image file{'s' if len(lines) > 1 else ''} that cannot be read"
    return "\n".join([f"left out {files_}, without a row in the CSV:", *lines])


def _in_options(text: str) -> str:
    """A refusal in the words of the command line: `size=4` is --size 4, where that is a parameter with an option."""
    options = {option.name: option.opts[0] for option in score_command.params if isinstance(option, click.Option)}
    options["parameters"] = options["param"]

    flags = {option.name for option in score_command.params if isinstance(option, click.Option) and option.is_flag}

    def written(found: re.Match[str]) -> str:
        name, _, value = found[1].partition("=")
        plain = "" if name in flags else value.strip('()"').replace(", ", ",")
        return " ".join(filter(None, (options[name], plain))) if name in options else found[0]

    return re.sub(r"`([^`\n]+)`", written, text)


FILE = click.Path(path_type=Path)


@click.command("score")
@click.argument("folders", nargs=-1, required=True, type=FILE)
@click.option("--id-folder", type=FILE, help="ID training images, one sub-folder a class.")
@click.option("--model", required=True, help="torchvision:NAME, FILE.py:FUNCTION (it is run), or a stored run's key.")
@click.option("--weights", type=FILE, help="Safetensors file with the state dict of a torchvision model.")
@click.option("--scorer", type=_Names(scorers.names()), metavar="NAME", help="A method's name.  [default: msp]")
@click.option("--param", multiple=True, metavar="NAME=VALUE", callback=_pairs, help="A parameter of the scorer.")
@click.option("--held-out", type=FILE, help="ID images not trained on, for the threshold.  [default: a fifth of ID]")
@click.option("--id-tpr", type=click.FloatRange(0, 1, min_open=True), help="Share of ID to accept.  [default: 0.95]")
@click.option("--save", type=FILE, help="Keep the fitted scorer and its threshold in this file.")
@click.option("--load", type=FILE, help="Score by such a file; no ID image is read.")
@click.option("--skip-unreadable", is_flag=True, help="Leave out unreadable and 16-bit images, and name them.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images a step.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read images.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads that compute.  [default: torch's own]")
@click.option(
    "--size", type=click.IntRange(1, 4096), help="Resize the shorter side to it, crop the centre.  [default: none]"
)
@click.option("--mean", callback=_numbers, metavar="R,G,B", help="Of the training images, on the scale 0..1.")
@click.option("--std", callback=_numbers, metavar="R,G,B", help="Of the training images, on the scale 0..1.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--out", type=FILE, default="scores.csv", show_default=True, help="file, score, decision, predicted.")
@click.option("--sheet", type=FILE, help="PNG of the most and least in-distribution images.")
@as_json
def score_command(
    folders: tuple[Path, ...],
    param: dict[str, str],
    save: Path | None,
    out: Path,
    sheet: Path | None,
    device: str,
    threads: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Score every image below FOLDERS, or single image files; a larger score means more in-distribution.

    The threshold accepts the share --id-tpr of held-out ID images; the CSV says for each file "in" or "out" and the
    class the network predicts (empty where its logits stand for no class). Scorers are listed on the reference page
    and by ood_core.scorers.names().

    An image file that cannot be read, of FOLDERS or of ID images, ends the command, and so does one of more than 8
    bits a channel: how to reduce it depends on how the training images were. With --skip-unreadable such files are left
    out: they have no row in the CSV, and are named on stderr with what is wrong. All files are then read once more. A
    folder in which nothing can be read is an error all the same.

    --size 224 is torchvision's Resize(224) and CenterCrop(224). The preprocessing published with its weights resizes to
    256 or 232 and crops 224 of that: for the same, let FUNCTION return that transform (the weights' transforms()).

    FUNCTION takes no arguments and returns your model, or the pair of it and a transform that makes a tensor of an
    image. The file is run as a program of yours would be: name only files you trust.

    \b
    Examples:
      python -m ood_core score new/ --id-folder train/ --model KEY --scorer ddu
      python -m ood_core score new/ other/ --id-folder train/ --held-out test/ \\
        --model torchvision:resnet18 --weights w.safetensors --size 224 \\
        --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \\
        --scorer knn --param k=10 --out scores.csv --sheet sheet.png
      python -m ood_core score new/ --id-folder train/ --model mine.py:classifier --scorer knn --save knn.safetensors
      python -m ood_core score photo.jpg --model mine.py:classifier --load knn.safetensors
    """
    setup(threads or torch.get_num_threads())  # equal bits are promised of runs, which take one; scores round
    kinds = {"--out": out, "--sheet": sheet, "--save": save}
    _apart(settings["model"], {**kinds, "--load": settings["load"], "--weights": settings["weights"]}, folders)
    _writable("--out", out)
    for option, path in (("--sheet", sheet), ("--save", save)):
        if path:
            _writable(option, path)
    if sheet:
        _png(sheet)
        _outside(sheet, (*folders, settings["id_folder"], settings["held_out"]))
    on = checks.device(device)
    try:
        found = scoring.score_folders(
            folders,
            parameters=_values(settings["scorer"] or "msp", param),
            save=save,
            device=on,
            progress=sys.stderr.isatty(),
            **settings,
        )
    except InputError as error:
        raise InputError(_in_options(str(error))) from error
    with (
        files.refused(out),
        nullcontext(out) if _in_place(out) else files.beside(out) as target,
        target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        found.frame.to_csv(file, index=False)
    table: list[dict[str, Any]] = [
        {str(column): value for column, value in row.items()} for row in found.folders.to_dict("records")
    ]
    if as_json:  # it escapes what is no UTF-8 in a file's name
        click.echo(json.dumps({"folders": table, "accuracy": _fields(found.accuracy)}, indent=1))
    else:
        table = [{**row, "folder": click.format_filename(row["folder"])} for row in table]
        show(table, as_json, floats=".6g")  # as the threshold
    if found.accuracy:
        click.echo(_accuracy(found.accuracy, settings["id_folder"]), err=True)
    kept = found.calibration
    click.echo(
        f"threshold {kept.threshold:.6g} accepts {100 * kept.rate:.1f} % of {kept.n} held-out ID images; of new ones "
        f"between {100 * kept.low:.1f} % and {100 * kept.high:.1f} % ({100 * kept.confidence:.0f} % interval)",
        err=True,
    )
    if not found.held_out:
        click.echo(
            "these were every fifth image of --id-folder: if the network was trained on them, fewer new ID images "
            "pass than that. --held-out names others.",
            err=True,
        )
    if found.turned:
        click.echo(_turned(found.turned), err=True)
    if found.left_out:
        click.echo(_left_out(found.left_out), err=True)
    if found.unreadable:
        click.echo(_unreadable(found.unreadable), err=True)
    if sheet:  # last: what it took hours to find is told before anything can go wrong with a picture of it
        title = (
            f"{found.scorer.name} on {settings['model']}: {', '.join(folder.name or str(folder) for folder in folders)}"
        )
        scoring.contact_sheet(found.frame, sheet, title)
    click.echo(f"wrote {' and '.join(str(path) for path in (out, sheet, save) if path)}", err=True)
