"""`edge-kit bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_kit.cli.options import JsonOption, WorkspaceOption, print_json


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Bundles, or model files that the engine reads.", show_default="every bundle"),
    ] = None,
    runtime: Annotated[str, typer.Option(help="Engine to run on.")] = "onnx",
    device: Annotated[str, typer.Option(help="cpu, gpu or gpu:tensorrt.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads that may work on one call.")] = 1,
    batch: Annotated[int, typer.Option(help="Samples a call.")] = 1,
    warmup: Annotated[int, typer.Option(help="Calls thrown away first.")] = 20,
    repeats: Annotated[int, typer.Option(help="Calls timed.")] = 200,
    shape: Annotated[list[str] | None, typer.Option(help="Fix an input: NAME=1,3,224,224.")] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Measure latency, FP32 beside INT8; with no model named, of every bundle in the workspace."""
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.bench import bench_targets, parse_shapes, plan_of
    from edge_kit.report.bench import bench_progress, print_bench
    from runtimes.bench import bench_graphs
    from runtimes.registry import get_runtime

    plan = plan_of(warmup=warmup, repeats=repeats, threads=threads, batch=batch, device=device)
    targets = bench_targets(Workspace.open(workspace), models or [], get_runtime(runtime))
    with bench_progress() as progress:
        report = bench_graphs(targets, runtime, plan, progress, parse_shapes(shape or []))
    print_json(report.as_dict()) if json else print_bench(report)
