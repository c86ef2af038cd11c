"""What stages work on: a model of the zoo in one of its setups, or one of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data import FORMATS
from edge_kit.tasks.own import OWN
from edge_kit.zoo import MODELS, Reference, load_all


@dataclass(frozen=True, slots=True)
class Subject:
    """One model with its task and its data.

    Attributes:
        task: Name of its task.
        format: Name of the on-disk format of its data.
        data: What the data set is called in records.
        published: Whether that is the very set that `references` were measured on.
        preprocess: From a stored sample to the inputs; the format's own kind.
        augment: Random changes to training samples.
        source: What architecture and recipe were taken from.
    """

    id: str
    title: str
    task: str
    format: str
    data: str
    published: bool
    preprocess: Any
    graphs: Mapping[str, GraphSpec]
    references: tuple[Reference, ...] = ()
    augment: Any = None
    source: str = "the user's own file"
    licence: str = "not told"


def subject_of(settings: Mapping[str, Any]) -> Subject:
    """The model that a stage's settings are about.

    Raises:
        UsageError: The zoo has none of that name.
    """
    return _own(settings["id"], settings[OWN]) if OWN in settings else _of_zoo(settings["id"], settings["setup"])


def _of_zoo(name: str, setup_name: str) -> Subject:
    load_all()
    entry = MODELS.get(name)
    setup = entry.setup(setup_name)
    published = setup.made is None
    return Subject(
        entry.id,
        entry.title,
        entry.task,
        entry.data,
        FORMATS.get(entry.data).published or entry.data if published else f"mini-{entry.data}",
        published,
        setup.preprocess,
        entry.graphs(setup.preprocess),
        entry.references,
        setup.augment,
        entry.source,
        entry.licence,
    )


def own_settings(
    inputs: tuple[TensorSpec, ...], outputs: tuple[str, ...], form: str, data: str, pictures: Mapping[str, Any]
) -> dict[str, Any]:
    """What stages are told of a user's model, as JSON.

    Args:
        form: Of the data, `npz` or `images`.
        pictures: How a picture becomes the input; empty where there are none.
    """
    described = [{"name": one.name, "shape": list(one.shape), "dtype": one.dtype} for one in inputs]
    return {"inputs": described, "outputs": list(outputs), "format": form, "data": data, "pictures": dict(pictures)}


def _own(name: str, told: Mapping[str, Any]) -> Subject:
    from edge_kit.data.arrays import ArrayInputs
    from edge_kit.data.pictures import PictureInput

    inputs = tuple(TensorSpec(one["name"], tuple(one["shape"]), one["dtype"]) for one in told["inputs"])
    prepare = PictureInput.of(inputs, **told["pictures"]) if told["format"] == "images" else ArrayInputs(inputs)
    graphs = {MAIN: GraphSpec(inputs, tuple(told["outputs"]))}
    return Subject(name, name, OWN, told["format"], told["data"], False, prepare, graphs)
