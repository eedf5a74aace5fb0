"""What a measurement is: a job with a key, the rows it makes, and what it may look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from .. import data
from ..data import ImageSet, schemes
from ..features import extract
from ..networks import Network
from ..outputs import Outputs
from ..recipes import Recipe, digest_of
from ..store import Scores

REST = "other-classes"  # the OOD set of a network that learned one class alone
COLUMNS = (
    *("run", "scale", "seed", "id_set", "ood_set", "ood_group", "split", "epoch"),
    *("layer", "scorer", "params", "protocol", "class", "metric", "value", "n"),
)
SLOT = ["identity", "ood_group"]  # columns that say which rows take the place of which, see `Job.slot`


@dataclass(frozen=True)
class Job:
    """One measurement at one epoch; its key changes when anything changes that its rows depend on.

    `reads` holds digests of the image sets and whatever else decides which images are read, `scorer_version` is that of
    the scorer it runs, and `version` that of the measure, which `jobs` fills in.
    """

    measure: str
    epoch: int
    reads: tuple[str, ...]
    ood_set: str = ""
    ood_group: str = ""
    layer: str = ""
    scorer: str = ""
    params: str = ""
    scorer_version: int = 1
    version: int = 0

    def key(self, train_key: str) -> str:
        return digest_of({"train_key": train_key, **self.__dict__})

    @property
    def slot(self) -> tuple[str, str]:
        """What `SLOT` says of its rows: the same for stale ones and those that replace them.

        With the group: pages that share a run may call one set near and far, and each keeps its rows.
        """
        return self.identity, self.ood_group

    @property
    def identity(self) -> str:
        """What is measured where, whatever the version."""
        parts = (self.measure, self.epoch, self.ood_set, self.layer, self.scorer, self.params)
        return "|".join(map(str, parts))


Passed = dict[tuple[str, int], Outputs]


@dataclass(frozen=True)
class Sets:
    """The image sets of a recipe: the part trained on, ID validation and test images, and OOD sets by name.

    A recipe of one class has that class alone as ID, and the test images of the others as the near set `REST`.
    """

    train: ImageSet
    validation: ImageSet | None
    test: ImageSet
    ood: dict[str, ImageSet]

    @staticmethod
    def places(recipe: Recipe) -> list[tuple[str, str]]:
        """Name and split of every image set that a recipe reads."""
        own = [(recipe.data.id_set, "train"), (recipe.data.id_set, "test")]
        return own + [data.parse(name) for name, _ in ood_sets(recipe) if name != REST]

    @classmethod
    def load(cls, recipe: Recipe, seed: int) -> Sets:
        train, validation = data.training(recipe.data, seed)
        shape = train.images.shape[1:]
        test, rest = schemes.tested(data.load(recipe.data.id_set, "test"), recipe.data)
        ood = {} if rest is None else {REST: rest}
        for name, role in ood_sets(recipe):
            if name != REST:
                ood[name] = data.fitted(data.load(*data.parse(name), role), shape)
        return cls(train, validation, test, ood)

    @property
    def digests(self) -> dict[str, str]:
        """By `train`, `test` and the name of each OOD set."""
        own = {"train": self.train.digest, "test": self.test.digest}
        return own | {name: images.digest for name, images in self.ood.items()}


def written(params: Mapping[str, object]) -> str:
    """Parameters as canonical JSON, "" for none: as rows name them."""
    return json.dumps(params, sort_keys=True, separators=(",", ":")) if params else ""


def score_name(scorer: str, layer: str, params: str, ood_set: str = "") -> str:
    """Under which name a run stores the scores of one set; those of ID test images have no set."""
    return "|".join((scorer, layer, params, ood_set))


def parse_score_name(name: str) -> tuple[str, str, str, str]:
    """The four parts of a `score_name`."""
    scorer, layer, rest = name.split("|", 2)
    params, _, ood_set = rest.rpartition("|")
    return scorer, layer, params, ood_set


def ood_sets(recipe: Recipe) -> list[tuple[str, str]]:
    """Name and group (`near`, `far`, `validation` or `control`) of every set that is told from a recipe's ID set."""
    asked = recipe.evaluate
    rest = () if recipe.data.one_class is None else (REST,)
    others = {"far": asked.far, "validation": asked.validation, "control": asked.control}
    groups = (("near", (*rest, *asked.near)), *others.items())
    return [(name, group) for group, names in groups for name in names]


@dataclass(frozen=True)
class Moment:
    """A recipe at one epoch, before any image is read: what a measure plans its jobs from."""

    recipe: Recipe
    epoch: int

    @property
    def last(self) -> bool:
        return self.epoch == self.recipe.epochs

    @property
    def early(self) -> tuple[str, ...]:
        """What `Job.reads` says where only the first images are read."""
        asked = self.recipe.evaluate
        if self.last or asked.early_images is None:
            return ()
        return (f"first {asked.early_images}, fitted on {asked.collapse_images}",)

    @property
    def train(self) -> tuple[str, ...]:
        """`Job.reads` of the training images."""
        return (data.digest(self.recipe.data.id_set, "train"), *self.early)

    @property
    def test(self) -> tuple[str, ...]:
        """`Job.reads` of the ID test images."""
        return (data.digest(self.recipe.data.id_set, "test"), *self.early)

    @property
    def sample(self) -> tuple[str, ...]:
        """`Job.reads` of the first training images, see `Seen.sample`."""
        return (data.digest(self.recipe.data.id_set, "train"), str(self.recipe.evaluate.collapse_images))

    @cached_property
    def ood(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Name, group and `Job.reads` of every OOD set."""
        test = (self.recipe.data.id_set, "test")
        sets = [(name, group, test if name == REST else data.parse(name)) for name, group in ood_sets(self.recipe)]
        return [(name, group, (data.digest(*place), *self.early)) for name, group, place in sets]


Made = TypeVar("Made")


class Seen:
    """One network at one epoch with the images of its recipe, each set passed through it at most once.

    Outputs lie where the network does: what is measured on a GPU is computed there.

    Before the last epoch a recipe may ask for the first images of each set only (`early_images`).

    Attributes:
        net: the network, in eval mode.
        recipe, seed, epoch, sets: what it was trained from.
        scores: scores that measures leave to be stored, by `scorer|layer|params|set`.
        passed: outputs by set and number of images; recipes that share the network and epoch share them too.
    """

    def __init__(
        self, net: Network, sets: Sets, recipe: Recipe, seed: int, epoch: int, passed: Passed | None = None
    ) -> None:
        self.net, self.sets, self.recipe, self.seed, self.epoch = net, sets, recipe, seed, epoch
        self.last = epoch == recipe.epochs
        self.scores: Scores = {}
        self.kept: dict[Hashable, Any] = {}  # see `once`
        self.passed: Passed = {} if passed is None else passed
        self._few = None if self.last else recipe.evaluate.early_images

    @cached_property
    def train(self) -> Outputs:
        """Training images, without augmentation: what scorers are fitted on."""
        return self.sample if self._few is not None else self._pass("train", self.sets.train)

    @cached_property
    def sample(self) -> Outputs:
        """The first `collapse_images` training images of the canonical order, for collapse and norms."""
        count = self.recipe.evaluate.collapse_images
        if self._few is None:
            return self.train[:count]
        return self._pass("train", self.sets.train.part(slice(count), "sample"))

    @cached_property
    def test(self) -> Outputs:
        """ID test images."""
        return self._pass("test", self.first(self.sets.test))

    def ood(self, name: str) -> Outputs:
        """One OOD set, passed through the network."""
        return self._pass(f"ood {name}", self.ood_images(name))

    def ood_images(self, name: str) -> ImageSet:
        """What is read of an OOD set at this epoch, without labels: its classes are not the network's."""
        return replace(self.first(self.sets.ood[name]), labels=None)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What several jobs of one measure share, such as a fitted scorer: made for the first of them."""
        if key not in self.kept:
            self.kept[key] = make()
        found: Made = self.kept[key]
        return found

    def _pass(self, name: str, images: ImageSet) -> Outputs:
        """A set that holds the first so many images of its kind, through the network."""
        key = name, len(images)
        if key not in self.passed:
            self.passed[key] = extract(self.net, images).to(self.net.mean.device)
        return self.passed[key]

    def first(self, images: ImageSet) -> ImageSet:
        """What is read of a set at this epoch: the first images before the last, where the recipe says so."""
        return images if self._few is None else images.part(slice(self._few), "first")


Row = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """A kind of measurement: which jobs a recipe needs at an epoch, and the rows one job makes.

    Rows are dictionaries with `metric`, `value`, `n`, `split` and whatever column differs from the job's.
    Raise `version` when the same network would give other rows: they are then measured again.
    """

    name: str
    version: int
    plan: Callable[[Moment], list[Job]]
    rows: Callable[[Seen, Job], list[Row]]
    repeats: bool = True  # False for times: the rows differ between two runs of the same recipe and seed
