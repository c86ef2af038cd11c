"""`edge-kit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_kit.cli.options import INTERRUPTED, JsonOption, WorkspaceOption, print_json


def demo(
    name: Annotated[
        str, typer.Argument(help="What to see: classify, detect, segment, pose, read, style, act, search, play, tag.")
    ],
    camera: Annotated[str | None, typer.Option(help="Index, rtsp:// or http:// of one; browser with --web.")] = None,
    video: Annotated[Path | None, typer.Option(help="A video file; every frame of it is run.")] = None,
    images: Annotated[Path | None, typer.Option(help="A folder of pictures.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Rendered digits on photographs.")] = False,
    bundle: Annotated[
        str | None, typer.Option(help="Name or folder.", show_default="the one made last for this task")
    ] = None,
    runtime: Annotated[str, typer.Option(help="Engine to run on.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8/--fp32", help="Precision.")] = True,
    threads: Annotated[int, typer.Option(help="Threads that may work on one frame.")] = 1,
    save: Annotated[Path | None, typer.Option(help="Save what is shown: .mp4, .avi or .mkv.")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write every frame's answer, one JSON document a line.")] = None,
    window: Annotated[bool, typer.Option("--window/--no-window", help="Show it, where there is a display.")] = True,
    frames: Annotated[int, typer.Option(help="Stop after so many.", show_default="all")] = 0,
    compare: Annotated[bool, typer.Option("--compare", help="Run both precisions, count where they differ.")] = False,
    region: Annotated[
        str | None, typer.Option(help="LEFT,TOP,WIDTH,HEIGHT in shares of the picture.", show_default="all of it")
    ] = None,
    enrol: Annotated[Path | None, typer.Option(help="A folder of pictures for search to find again.")] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="A file of lines, for tag; - for what is piped in.", show_default="what is typed"),
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Serve a page with the live picture and switches.")] = False,
    host: Annotated[str, typer.Option(help="Where the page listens; a token guards any but loopback.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Likewise; 0 for any that is free.")] = 8000,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """See a bundle at work on a camera, a video or pictures."""
    from edge_kit.camera.app import DemoRequest, run_demo
    from edge_kit.camera.frame import WHOLE, Region
    from edge_kit.core.workspace import Workspace
    from edge_kit.report.demo import print_summary

    request = DemoRequest(
        name, bundle, runtime, "int8" if int8 else "fp32", threads,
        camera, video, images, synthetic, save, jsonl, window, frames, compare, web, host, port,
        Region.parse(region) if region else WHOLE, enrol, text,
    )  # fmt: skip
    summary = run_demo(
        request,
        Workspace.open(workspace),
        lambda line: typer.echo(line, err=True),
        lambda line: typer.echo(line, err=json),
    )
    print_json(summary.as_dict()) if json else print_summary(summary)
    if summary.ended == "interrupted" and camera is None:
        raise typer.Exit(INTERRUPTED)  # a camera has no other end; of a file the rest is missing
