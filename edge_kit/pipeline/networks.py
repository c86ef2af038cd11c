"""A stage's network: built for its data set, with weights from files, whole or pruned, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array, GraphSpec, random_inputs
from edge_kit.core.variables import load_variables
from edge_kit.core.weights import load_weights, save_weights
from edge_kit.data import Dataset
from edge_kit.pipeline.feeds import graphs_of
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.sources import model_of, setup_of
from runtimes.faults import one_line

WEIGHTS = "weights.safetensors"


def build_network(context: Context, dataset: Dataset, seed: int) -> Any:
    """The model's network for the data set, with the weights among the inputs, of all or a part; else random ones."""
    import paddle

    paddle.seed(seed)
    net = model_of(context.settings).build(**dataset.sizes)
    if "weights" in context.inputs:
        path = context.inputs["weights"]
        own = path / WEIGHTS
        _load(context, net, own if own.is_file() else path)
    elif "part" in context.inputs:
        _load_part(context, net, context.inputs["part"])
    net.eval()
    return net


def _load(context: Context, net: Any, path: Path) -> None:
    """Load weights, of a pruned network too; what the network gives out must keep its shape.

    Raises:
        BadData: They are of another network, or of another number of classes.
    """
    from compress.prune.reshape import fit_to_weights

    wanted, adopt = _output_shapes(context, net), model_of(context.settings).adopt
    try:
        weights = load_variables(path) if path.is_dir() else load_weights(path)
        fit_to_weights(net, adopt(weights) if adopt else weights)
        given = _output_shapes(context, net)
    except (BadData, ValueError) as error:
        raise BadData(f"weights {path.name!r} do not fit {context.settings['id']!r}: {one_line(error)}") from None
    for name, shape in wanted.items():
        if given[name] != shape:
            raise BadData(
                f"weights {path.name!r} do not fit this data set: {name!r} would be {given[name]} and must be {shape}"
            )


def _load_part(context: Context, net: Any, path: Path) -> None:
    """Load what a sublayer has of another network, which may have more: the head that only that one needs.

    Raises:
        BadData: Not all of the sublayer is there in its shape.
    """
    import paddle

    name, weights = setup_of(context.settings).part, load_weights(path)
    part = dict(net.named_sublayers())[name]
    state = part.state_dict()
    for own, value in state.items():
        found, wanted = weights[own].shape if own in weights else None, tuple(value.shape)
        if found != wanted:
            raise BadData(f"weights {path.name!r} do not fit {name!r}: {own!r} is {found} and must be {wanted}")
    part.set_state_dict({own: paddle.to_tensor(weights[own]).astype(value.dtype) for own, value in state.items()})


def _output_shapes(context: Context, net: Any) -> dict[str, tuple[int, ...]]:
    from edge_kit.train.inference import layer_run

    shapes = {}
    for graph, spec in graphs_of(context).items():
        outputs = layer_run(net, spec)(random_inputs(spec.inputs, 1, 0))
        shapes.update({f"{graph}/{name}": value.shape for name, value in outputs.items()})
    return shapes


def state_of(net: Any) -> dict[str, Array]:
    """The weights and running statistics of a network, by name."""
    return {name: value.numpy() for name, value in net.state_dict().items()}


def save_network(net: Any, out: Path, metadata: dict[str, str]) -> None:
    """Write the weights of a network to a stage's folder."""
    save_weights(out / WEIGHTS, state_of(net), metadata)


def network_size(net: Any, specs: Mapping[str, GraphSpec]) -> dict[str, int]:
    """Trainable parameters of what the graphs hold, and multiply-accumulates of one sample."""
    from compress.prune.macs import count_macs

    held = {one.name: one for spec in specs.values() for one in spec.part(net).parameters()}
    parameters = sum(int(one.size) for one in held.values() if not one.stop_gradient)
    macs = sum(count_macs(spec.part(net), random_inputs(spec.inputs, 1, 0)) for spec in specs.values())
    return {"parameters": parameters, "macs": macs}


def input_shapes(specs: Mapping[str, GraphSpec]) -> dict[str, tuple[int, ...]]:
    """Of one sample, by input of whichever graph."""
    return {tensor.name: tensor.with_batch(1) for spec in specs.values() for tensor in spec.inputs}
