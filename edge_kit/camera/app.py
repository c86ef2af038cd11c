"""A demo from its source to its sinks: what `edge-kit demo` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_kit.camera.demo import DEMOS, Acting, Demo, DemoKind, load_demos
from edge_kit.camera.frame import WHOLE, Region
from edge_kit.camera.lineup import Lineup
from edge_kit.camera.live import camera, stream
from edge_kit.camera.meter import Meter, Summary
from edge_kit.camera.model import Model
from edge_kit.camera.pipeline import Pipeline
from edge_kit.camera.sinks import JsonLinesSink, Sink, VideoSink
from edge_kit.camera.sources import ImageFolder, Made, Source, VideoFile
from edge_kit.camera.stages import stages_of
from edge_kit.camera.web.browser import BrowserSource
from edge_kit.camera.window import WindowSink, display_fault
from edge_kit.core.bundle import MANIFEST, Bundle
from edge_kit.core.errors import MissingDependency, UsageError
from edge_kit.core.workspace import Workspace
from edge_kit.pipeline.bundles import all_bundles, find_bundles

if TYPE_CHECKING:
    from edge_kit.camera.web.server import WebServer

SYNTHETIC_FRAMES = 300  # a page goes on until somebody ends it
BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """What `edge-kit demo` was asked for.

    Attributes:
        name: Of the demo.
        bundle: A folder or a name in the workspace; none for the one made last for the demo's task.
        camera: Index, the address of a stream, or `browser` for that of whoever looks at the page.
        synthetic: Digits on photographs, rendered, or the demo's own pictures; no file and no camera is needed.
        save: Video to write.
        jsonl: File to write a line a frame to.
        window: Whether to show frames, where there is a display.
        frames: To take from the source; 0 for all.
        compare: Also run the other precision on every frame, and count where they differ.
        region: The part of every picture that is looked at.
        web: Serve a page with the live picture on `host` and `port`, instead of a window.
    """

    name: str
    bundle: str | None = None
    runtime: str = "onnx"
    precision: str = "int8"
    threads: int = 1
    camera: str | None = None
    video: Path | None = None
    images: Path | None = None
    synthetic: bool = False
    save: Path | None = None
    jsonl: Path | None = None
    window: bool = True
    frames: int = 0
    compare: bool = False
    web: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    region: Region = WHOLE

    def __post_init__(self) -> None:
        given = [self.camera is not None, self.video is not None, self.images is not None, self.synthetic]
        if sum(given) != 1:
            raise UsageError(
                f"a demo has one source, got {sum(given)}; choose --camera 0, --video FILE, --images DIR or --synthetic"
            )
        if self.camera == BROWSER and not self.web:
            raise UsageError(f"--camera {BROWSER} is the camera of whoever looks at the page; add --web")
        if self.frames < 0:
            raise UsageError(f"--frames must be 0 (all) or more, got {self.frames}")


def run_demo(request: DemoRequest, workspace: Workspace, say: Callable[[str], None]) -> Summary:
    """Run one demo until its source ends or somebody ends it.

    Args:
        say: Told what a person should know before the frames run, a line each.

    Raises:
        EdgeKitError: Something of what was asked for is not there, or the run failed.
    """
    load_demos()
    kind = DEMOS.get(request.name)
    bundle = _bundle(request, kind, workspace)
    demo = kind.make(bundle)
    lineup = Lineup(
        lambda runtime, precision: Model.load(bundle, runtime=runtime, precision=precision, threads=request.threads)
    )
    lineup.choose(request.runtime, request.precision, compare=request.compare)
    source = _source(request, demo)
    meter = Meter()
    try:
        sinks = _sinks(request, source, say)
        page = _page(request, source, meter, lineup, sinks) if request.web else None
    except BaseException:
        source.close()
        raise
    pictures = any(not isinstance(sink, JsonLinesSink) for sink in sinks)
    stages = stages_of(demo, lineup, meter if pictures else None, request.region)
    say(f"{kind.name}: {source.name} through {bundle.path.name}, {request.precision} on {request.runtime}")
    watched = page is not None or any(isinstance(sink, WindowSink) for sink in sinks)
    if page:
        say(f"page: {page.address}")
    try:
        summary = Pipeline(source, stages, sinks, limit=request.frames, paced=watched, meter=meter).run()
    finally:
        if page:
            page.stop()
    return replace(summary, notes=(*summary.notes, *lineup.notes()))


def open_source(request: DemoRequest) -> Source:
    """The one source that was asked for, opened."""
    if request.camera == BROWSER:
        return BrowserSource()
    if request.camera is not None:
        return camera(int(request.camera)) if request.camera.lstrip("-").isdecimal() else stream(request.camera)
    if request.video is not None:
        return VideoFile(request.video)
    if request.images is not None:
        return ImageFolder(request.images)
    from edge_kit.data.mini.clip import film

    return Made(film, _made_frames(request), name="rendered digits")


def _source(request: DemoRequest, demo: Demo) -> Source:
    if not isinstance(demo, Acting):
        return open_source(request)
    if not request.synthetic:
        raise UsageError(f"demo {request.name!r} makes its own pictures; choose --synthetic")
    return demo.source(_made_frames(request))


def _made_frames(request: DemoRequest) -> int:
    return request.frames or (0 if request.web else SYNTHETIC_FRAMES)


def _bundle(request: DemoRequest, kind: DemoKind, workspace: Workspace) -> Bundle:
    if request.bundle is not None:
        return find_bundles(workspace, [request.bundle])[0]
    found = [bundle for bundle in all_bundles(workspace) if bundle.manifest.task in kind.tasks]
    if not found:
        raise UsageError(
            f"no bundle for {kind.name!r} in {str(workspace.root)!r} yet; make one: edge-kit compress {kind.example}"
        )
    return max(found, key=lambda bundle: (bundle.path / MANIFEST).stat().st_mtime_ns)


def _page(request: DemoRequest, source: Source, meter: Meter, lineup: Lineup, sinks: list[Sink]) -> WebServer:
    """Serve a page that shows what a further sink is given."""
    try:
        from edge_kit.camera.web.hub import Hub
        from edge_kit.camera.web.server import WebServer
    except ModuleNotFoundError as fault:
        raise MissingDependency("--web", str(fault.name), "web") from None
    hub = Hub(meter, lineup)
    browser = source if isinstance(source, BrowserSource) else None
    page = WebServer(hub, lineup, request.host, request.port, browser)
    page.start()
    sinks.append(hub)
    return page


def _sinks(request: DemoRequest, source: Source, say: Callable[[str], None]) -> list[Sink]:
    window = request.window and not request.web
    fault = display_fault() if window else ""
    save = request.save
    if fault and save is None:
        save = Path(f"{request.name}-{time.strftime('%Y%m%d-%H%M%S')}.mp4")
    if fault:
        say(f"{fault}: no window, the picture is saved to {str(save)!r}")
    sinks: list[Sink] = []
    if save is not None:
        sinks.append(VideoSink(save, source.fps))
    if request.jsonl is not None:
        sinks.append(JsonLinesSink(request.jsonl))
    if window and not fault:
        sinks.append(WindowSink(f"edge-kit {request.name}"))
    return sinks
