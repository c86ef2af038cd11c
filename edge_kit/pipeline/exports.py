"""A network on its way out of Paddle: inference model, canonical ONNX, and the parity between the two."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge_kit.core.files import write_json
from edge_kit.core.tensors import GraphSpec
from edge_kit.data import Dataset
from edge_kit.pipeline.feeds import feeds_of, graphs_of
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.networks import network_size

PARITY_SAMPLES = 40


def export_network(context: Context, dataset: Dataset, net: Any) -> None:
    """Every graph of a network in both forms, and the parity between the two, written to a stage's folder."""
    from convert.parity import measure_parity
    from edge_kit.train.inference import layer_run
    from runtimes.registry import get_runtime

    report: dict[str, Any] = {
        "size": network_size(net, graphs_of(context)),
        "parity": {},
        "passes": {},
    }
    runs = {name: layer_run(net, spec) for name, spec in graphs_of(context).items()}
    feeds = feeds_of(context, dataset, runs, PARITY_SAMPLES)
    for name, spec in graphs_of(context).items():
        report["passes"][name] = export_graph(context, net, name, spec)
        session = get_runtime("onnx").load(context.out / f"{name}.onnx")
        parity = measure_parity(runs[name], session.run, feeds[name])
        report["parity"][name] = [asdict(one) for one in parity]
    write_json(context.out / "report.json", report)


def export_graph(context: Context, net: Any, name: str, spec: GraphSpec) -> dict[str, int]:
    """One graph as Paddle inference model and canonical ONNX; returns rewrites by pass."""
    from convert.export import canonicalise, export_paddle, paddle_to_onnx

    export_paddle(net, spec, context.out / name)
    converted = context.scratch / f"{name}.onnx"
    paddle_to_onnx(context.out / name, converted, spec)
    return canonicalise(converted, context.out / f"{name}.onnx")
