"""What the zoo says of a model, and the registry of all models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge_kit.core.errors import UsageError
from edge_kit.core.registry import Registry
from edge_kit.core.tensors import Array, GraphSpec
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe

UNTRAINED = "untrained"
UNTRAINED_SAMPLES = 50
"""To find ranges on, and as many to compare on: networks of published size take a second a sample."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One published number.

    Attributes:
        dataset: As published, with its split.
        metric: `top1`.
        value: In `unit`.
        source: Where it was read.
    """

    dataset: str
    metric: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is fed and trained on one data set.

    Attributes:
        preprocess: From a stored sample to network input; the data format's own kind.
        recipe: How it is trained, from `weights` where there are some.
        recovery: How it is trained again after pruning.
        augment: Random changes to training samples, or how a network that acts comes by them; None for the data
            format's own.
        made: How its mini set is made; None where the data set is the user's.
        made_for_recovery: The same for `recovery`, where that needs more; None for `made`.
        weights: A checkpoint in the package (`name.safetensors`), a file or folder of another one that is installed
            (`package:NAME/PATH`), or an https address; None where there is none.
        finished: Whether `weights` are what is wanted as they are, and not only where training starts.
        part: The sublayer that `weights` are of, as `body.net`: a detector starts from a classifier's body, and its
            heads from random weights. Empty where they are the whole network's.
    """

    preprocess: Any
    recipe: Recipe
    recovery: Recipe
    augment: Any = None
    made: MiniSettings | None = None
    made_for_recovery: MiniSettings | None = None
    weights: str | None = None
    finished: bool = False
    part: str = ""

    @property
    def qat_recipe(self) -> Recipe:
        """How it is trained on with the rounding of INT8 in it: an epoch of `recovery` at a hundredth of its rate.

        Weights are trained, only the grids are new. At a tenth, ResNet50 lost more by going on than by rounding, in
        float too.
        """
        rate = self.recovery.learning_rate / 100
        return replace(self.recovery, epochs=1, learning_rate=rate, schedule="cosine", milestones=(), warmup_steps=0)


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """One model of the zoo.

    Attributes:
        id: As given on the command line.
        task: Name of its task.
        data: Name of the on-disk format of its data sets.
        parameters: Trainable, of what the graphs hold, at `published_sizes`; batch norm's running statistics are not
            counted, nor what a network has for its training alone.
        macs: Multiply-accumulates of one sample at the published input size.
        published_sizes: What `build` is given for the published network.
        build: The network, untrained: sizes by keyword -> Paddle layer.
        graphs: The graphs to export, by name, for a preprocessing.
        published: Feeding and training as published.
        mini: The same on the mini set.
        pretraining: How the packaged weights of `mini` are made; None where there are none.
        source: What architecture and recipe were taken from, and any difference.
        adopt: Published weights under the names and in the shapes of the network; its own come out as they are. None
            where these are the same.
    """

    id: str
    title: str
    family: str
    task: str
    paper: str
    licence: str
    source: str
    data: str
    parameters: int
    macs: int
    published_sizes: Mapping[str, int]
    build: Callable[..., Any]
    graphs: Callable[[Any], Mapping[str, GraphSpec]]
    references: tuple[Reference, ...]
    published: Setup
    mini: Setup
    pretraining: Setup | None = None
    adopt: Callable[[Mapping[str, Array]], dict[str, Array]] | None = None

    def setup(self, name: str) -> Setup:
        """The setup called `published`, `mini`, `pretraining` or `untrained`.

        The last feeds the published network with the mini set, enlarged; its weights are random.

        Raises:
            UsageError: The model has none of that name.
        """
        if name == UNTRAINED:
            few = {"train": UNTRAINED_SAMPLES, "evaluation": UNTRAINED_SAMPLES}
            made = replace(self.mini.made, **few) if self.mini.made else None
            return replace(self.published, made=made, weights=None)
        found = {"published": self.published, "mini": self.mini, "pretraining": self.pretraining}[name]
        if found is None:
            raise UsageError(f"{self.id!r} has no setup for {name}; leave out --from-scratch")
        return found


MODELS: Registry[ZooEntry] = Registry("model")


def register(entry: ZooEntry) -> ZooEntry:
    """Add a model to the zoo under its own id."""
    return MODELS.add(entry.id, entry)
