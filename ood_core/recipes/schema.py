"""What a recipe may say. Training fields make the train key; the rest can change without retraining."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SCALES = ("tiny", "small", "paper")
Scale = Literal["tiny", "small", "paper"]

TRAINING = {"data", "network", "head", "loss", "optimiser", "schedule", "precision"}  # fields that decide training

# Part of every train key: raise it when the same recipe and seed would train to other weights.
TRAIN_VERSION = 1
RECORD = (0.167, 0.333, 0.5, 0.667, 0.833)  # fractions of the epochs


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Data(_Strict):
    """What is learned from. `train_on`: `split` keeps the last tenth for validation, `all` does not.

    `labels` are the label schemes of arXiv 2310.05316, section 4.1: the true classes, every image its own class, a
    random one of two classes drawn from the seed, or one constant class (of as many as there are true ones).
    """

    id_set: str = Field(description="image set to train on, one of `python -m ood_core data list`")
    train_on: Literal["split", "all"] = Field("split", description="all but the last tenth, or every training image")
    per_class: int | None = Field(None, ge=1, description="only the first so many training images of each class")
    one_class: int | None = Field(None, ge=0, description="only training images of this class")
    labels: Literal["true", "instance", "binary", "constant"] = Field(
        "true", description="the set's, each image its own, a random one of two, or the same for all"
    )
    crop_padding: int = Field(0, ge=0, le=8, description="random crop after padding with zeros by so many pixels")
    flip: bool = Field(False, description="random horizontal flip")
    colour: bool = Field(False, description="random resized crop, colour jitter and grey: contrastive augmentation")

    @model_validator(mode="after")
    def _one_crop(self) -> Data:
        if self.colour and self.crop_padding:
            raise ValueError(f"crop_padding is {self.crop_padding} with colour, expected 0: it has its own crop")
        return self


class Network(_Strict):
    """The backbone: a name from `models.NAMES` and its width (channels of the first stage).

    `activation`, `shortcut: pool` and `spectral` are the options of DDU (arXiv 2102.11582), and `shortcut: pad` is
    that of the published CIFAR family; `features` is the number of features, where it is not the network's own.
    """

    name: str = Field(description="one of `models.NAMES`")
    width: int = Field(16, ge=1, le=1024, description="channels of the first stage; see the page on networks")
    features: int | None = Field(None, ge=1, description="channels of the last stage")
    activation: Literal["relu", "leaky_relu", "gelu"] = Field("relu", description="between layers")
    shortcut: Literal["conv", "pool", "pad"] = Field(
        "conv", description="where a stage changes size: a 1x1 convolution, an average pool, or zeros beside it"
    )
    spectral: float | None = Field(None, gt=0, description="soft bound on each convolution's spectral norm")


class Head(_Strict):
    """What turns features into logits; see `heads`.

    `linear`: W h + b. `l2`: W h/||h|| + b, the division is on in training and kept in `logits`. `isomax`,
    `isomax_plus`, `dismax`: minus distances to prototypes. `projection`: no logits, a small network for contrastive
    losses. `start`: where the prototypes begin; the published choice of each head if left out. `bias`: whether a linear
    head has b; the theory of arXiv 2310.05316 has none.
    """

    name: Literal["linear", "l2", "isomax", "isomax_plus", "dismax", "projection"] = Field(
        "linear", description="what stands between features and logits"
    )
    temperature: float = Field(1.0, gt=0, description="logits of an `l2` head are divided by it, in training and after")
    start: Literal["zeros", "normal"] | None = Field(None, description="of prototypes; as published if left out")
    bias: bool = Field(True, description="whether a linear head has one")

    @model_validator(mode="after")
    def _bias_fits(self) -> Head:
        if not self.bias and self.name != "linear":
            raise ValueError(f"bias is false with name {self.name}, expected it for a linear head only")
        if self.temperature != 1 and self.name != "l2":
            raise ValueError(
                f"temperature is {self.temperature} with name {self.name}, expected it for an l2 head only"
            )
        return self


class Loss(_Strict):
    """What pulls on the features; see `losses`.

    `scale` multiplies the logits in training only (the entropic scale: 10 in the IsoMax papers). `temperature` and
    `base_temperature` belong to contrastive losses, which are multiplied by their ratio (null: no factor).
    `composite` is the weight of DisMax's regularisation on images put together from four others.
    """

    name: Literal["cross_entropy", "supcon", "nt_xent", "collapse"] = Field(
        "cross_entropy", description="supcon and nt_xent need a projection head"
    )
    scale: float = Field(1.0, gt=0, description="logits are multiplied by it, in training only: the entropic scale")
    temperature: float = Field(0.1, gt=0, description="of a contrastive loss")
    base_temperature: float | None = Field(
        0.07, gt=0, description="a contrastive loss is multiplied by temperature over this; null for no factor"
    )
    composite: float = Field(0.0, ge=0, description="weight of the loss on images put together from four others")


class Optimiser(_Strict):
    """Stochastic gradient descent; weight decay acts on every parameter, as in the papers' code."""

    lr: float = Field(0.1, gt=0, description="learning rate after the warm-up")
    momentum: float = Field(0.9, ge=0, lt=1, description="of stochastic gradient descent")
    nesterov: bool = Field(False, description="Nesterov's momentum")
    weight_decay: float = Field(5e-4, ge=0, description="of every parameter, prototypes and batch norm included")
    batch: int = Field(128, ge=2, description="images a step; a shorter last batch is left out")


class Schedule(_Strict):
    """Learning rate by step: linear warm-up, then `cosine` to zero or `step` (times `gamma` at each milestone).

    Milestones are fractions of the epochs, so that 26 and 43 of 60 is the same rule as 150 and 250 of 350.
    """

    epochs: int = Field(ge=0, le=2000, description="passes through the training images")
    name: Literal["cosine", "step"] = Field("cosine", description="to zero, or by a factor at each milestone")
    warmup_epochs: float = Field(0, ge=0, description="epochs in which the rate rises from zero")
    milestones: tuple[float, ...] = Field((3 / 7, 5 / 7), description="of `step`, fractions of the epochs")
    gamma: float = Field(0.1, gt=0, le=1, description="of `step`, the factor at each milestone")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Schedule:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}, expected at most epochs ({self.epochs})")
        if any(not 0 < m < 1 for m in self.milestones):
            raise ValueError(f"milestones are {self.milestones}, expected fractions between 0 and 1")
        return self


class Score(_Strict):
    """A scorer to run: its registry name, its parameters, and whether to follow it through training."""

    scorer: str = Field(description="a name from `scorers.names()`")
    params: dict[str, Any] = Field({}, description="its parameters, where they are not the defaults")
    through_training: bool = Field(False, description="whether it is measured at earlier epochs as well")


class Evaluate(_Strict):
    """What to measure; not part of the train key."""

    near: tuple[str, ...] = Field(
        (),
        description="OOD sets like the ID set, by name, or name/split where the split is not `test`; where"
        " nothing is said, those of the ID set (`recipes.OOD`)",
    )
    far: tuple[str, ...] = Field((), description="OOD sets of other kinds, in the same way")
    validation: tuple[str, ...] = Field((), description="OOD sets to choose a scorer on; never among the test sets")
    control: tuple[str, ...] = Field(
        (), description="ID test images after a treatment that OOD sets had, in the same way; part of no mean"
    )
    measures: tuple[str, ...] = Field(("accuracy", "collapse", "norms"), description="see `measure.names()`")
    scores: tuple[Score, ...] = Field((), description="scorers to run; a name alone is short for its defaults")
    record: tuple[float, ...] = Field(RECORD, description="fractions of the epochs to measure at; 0 and 1 always")
    collapse_images: int = Field(10_000, ge=1, description="training images used for collapse and norm statistics")
    early_images: int | None = Field(
        None,
        ge=1,
        description="images of each test set used before the last epoch, where scorers are then fitted on "
        "the first `collapse_images` training images; all if left out",
    )

    @field_validator("scores", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [{"scorer": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("record")
    @classmethod
    def _fractions(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= f <= 1 for f in value):
            raise ValueError(f"record is {value}, expected fractions of the epochs between 0 and 1")
        return value


class Recipe(_Strict):
    """One network to train and what to measure on it, at one scale."""

    id: str = Field(description="short name, by which claims and rows call it")
    title: str = Field(description="how tables and figures call it")
    scale: Scale = Field(description="tiny, small or paper")
    source: str = Field(description="where the settings come from, and whose choice each open one is")
    minutes: float = Field(gt=0, description="expected minutes a run, two at once on two CPU cores (paper: one GPU)")

    data: Data = Field(description="what is learned from")
    network: Network = Field(description="the backbone")
    head: Head = Field(Head(), description="what turns features into logits")
    loss: Loss = Field(Loss(), description="what pulls on the features")
    optimiser: Optimiser = Field(Optimiser(), description="stochastic gradient descent")
    schedule: Schedule = Field(description="the learning rate by step")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the backbone; the rest is float32")

    evaluate: Evaluate = Field(Evaluate(), description="what is measured; can change without training again")

    @property
    def epochs(self) -> int:
        return self.schedule.epochs

    def recorded_epochs(self) -> list[int]:
        """Epochs at which measurements are taken, 0 and the last included."""
        return self._at(self.evaluate.record)

    def kept_epochs(self) -> list[int]:
        """Epochs whose weights training keeps: more than are recorded here, as another page may share the run."""
        return self._at((*RECORD, *self.evaluate.record))

    def _at(self, fractions: tuple[float, ...]) -> list[int]:
        return sorted({round(f * self.epochs) for f in (0.0, 1.0, *fractions)})

    def training(self) -> dict[str, Any]:
        """The training fields, those at their default left out: a new field leaves old keys as they were."""
        return self.model_dump(mode="json", include=TRAINING, exclude_defaults=True)

    def train_key(self, seed: int, id_digest: str) -> str:
        """SHA-256, 20 hex digits, over training fields, ID digest, seed and train version.

        Args:
            seed: at least 0.
            id_digest: digest of the whole ID training set; `data.train_on` says which part of it is used.
        """
        payload = {
            "training": self.training(),
            "id_digest": id_digest,
            "seed": seed,
            "train_version": TRAIN_VERSION,
        }
        return digest_of(payload)


def digest_of(payload: Any) -> str:
    """The first 20 hex digits of SHA-256 over canonical JSON: sorted keys, no spaces, no NaN."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
