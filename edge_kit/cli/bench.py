"""`edge-kit bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_kit.cli.options import JsonOption, WorkspaceOption, make_runner, print_json

SERVE_SECONDS = 10.0


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Bundles, .onnx files, Paddle inference models, or zoo ids.", show_default="every bundle"),
    ] = None,
    runtime: Annotated[str, typer.Option(help="Engines to run on: a name, several with commas, or all.")] = "onnx",
    device: Annotated[str, typer.Option(help="cpu, gpu or gpu:tensorrt.")] = "cpu",
    threads: Annotated[str, typer.Option(help="Threads that may work on one call; 1,2,4 sweeps.")] = "1",
    batch: Annotated[int, typer.Option(help="Samples a call.")] = 1,
    warmup: Annotated[int, typer.Option(help="Calls thrown away first.")] = 20,
    repeats: Annotated[int, typer.Option(help="Calls timed, at least.")] = 200,
    seconds: Annotated[float, typer.Option(help="Time each model for at least so long.")] = 1.0,
    cpus: Annotated[
        str | None,
        typer.Option(help="Keep engines on these: 0,1.", show_default="the last, one a thread"),
    ] = None,
    shape: Annotated[list[str] | None, typer.Option(help="Fix an input: NAME=1,3,224,224.")] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Show the time of every operator.")] = False,
    minutes: Annotated[float, typer.Option(help="Then run each without a pause for so long.")] = 0.0,
    fps: Annotated[
        float,
        typer.Option(help="Then serve a camera of so many frames a second; counts drops over 10 s, or --minutes."),
    ] = 0.0,
    on: Annotated[str | None, typer.Option(help="Measure on a board: ssh://user@host.", metavar="ADDRESS")] = None,
    python: Annotated[str, typer.Option(help="The Python of the board; it needs NumPy and the engine.")] = "python3",
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Measure latency and memory, and say which model is faster.

    With no model named, of every bundle in the workspace.
    """
    from dataclasses import replace

    from edge_kit.camera.demo import demo_of
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline import bench as work
    from edge_kit.pipeline.bundles import all_bundles, find_bundles
    from edge_kit.report.bench import bench_progress, print_bench
    from edge_kit.report.progress import ConsoleReporter
    from runtimes.bench import BenchSettings, bench_models
    from runtimes.board import Board
    from runtimes.endurance import serve, sustain

    store = Workspace.open(workspace)
    pinned = work.numbers_of("--cpus", cpus, 0) if cpus else ()
    plan = work.plan_of(warmup=warmup, repeats=repeats, batch=batch, device=device, seconds=seconds, cpus=pinned)
    matrix = work.Matrix(work.runtimes_of(runtime), work.numbers_of("--threads", threads, 1))
    work.check_endurance(minutes, fps)
    names = models or [bundle.path.name for bundle in find_bundles(store, [])]
    with ConsoleReporter() as reporter:
        targets, unread = work.bench_targets(
            names, matrix, lambda: make_runner(workspace, "bench", reporter), lambda: all_bundles(store), demo_of
        )
    settings = BenchSettings(
        plan,
        work.parse_shapes(shape or []),
        Board(on, python) if on else None,
        tolerant=len(matrix.runtimes) > 1,
        profile_calls=repeats if profile else 0,
        workspace=store.root,
    )
    with bench_progress() as progress:
        report = bench_models(targets, settings, progress)
        curves = sustain(targets, settings, 60 * minutes, progress) if minutes else ()
        cameras = serve(targets, settings, fps, 60 * minutes or SERVE_SECONDS, progress) if fps else ()
    report = replace(report, skipped=(*unread, *report.skipped))
    work.refuse_empty(report)
    if json:
        print_json(work.as_document(report, curves, cameras))
    else:
        print_bench(report, curves, cameras)
