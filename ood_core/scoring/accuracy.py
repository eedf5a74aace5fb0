"""How well the network classifies ID images, by the folders they lie in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

LEAST = 0.1  # of the way from chance to all right: a network below that has learned other classes, or sees other images
RARELY = 0.05  # how often chance alone may give as much


@dataclass(frozen=True)
class Accuracy:
    """How many ID images the network puts into the class of their folder.

    Attributes:
        folder: the class folders lie in it.
        right, n: images in their class, of so many that lie in a class folder.
        chance: share that would be right if the same predictions fell on these images at random, a fraction.
    """

    folder: Path
    right: int
    n: int
    chance: float

    @property
    def share(self) -> float:
        """Fraction of images in their class."""
        return self.right / self.n

    @property
    def doubtful(self) -> bool:
        """Whether it is hardly more than chance, or may be chance."""
        from scipy.stats import binom

        little = self.share - self.chance < LEAST * (1 - self.chance)
        return self.right < self.n and (little or float(binom.sf(self.right - 1, self.n, self.chance)) > RARELY)


def accuracy(predicted: Mapping[Path, int], folder: Path, classes: Collection[str]) -> Accuracy | None:
    """Of images below a folder with their predicted class indices; None where not one lies in a class folder."""
    places = {name: place for place, name in enumerate(classes)}
    named = [(path.relative_to(folder).parts[0], place) for path, place in predicted.items()]
    pairs = [(places[name], place) for name, place in named if name in places]
    if not pairs:
        return None
    own, given = Counter(label for label, _ in pairs), Counter(place for _, place in pairs)
    chance = sum(count * given[place] for place, count in own.items()) / len(pairs) ** 2
    return Accuracy(folder, sum(label == place for label, place in pairs), len(pairs), chance)
