"""A demo from its source to its sinks: what `edge-kit demo` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_kit.camera.demo import DEMOS, Acting, Demo, DemoKind, TextDemo, load_demos
from edge_kit.camera.frame import WHOLE, Region
from edge_kit.camera.lineup import Lineup
from edge_kit.camera.live import camera, stream
from edge_kit.camera.meter import Meter, Summary
from edge_kit.camera.model import Model
from edge_kit.camera.pipeline import Pipeline
from edge_kit.camera.sinks import JsonLinesSink, Sink, VideoSink
from edge_kit.camera.sources import ImageFolder, Made, Source, VideoFile
from edge_kit.camera.stages import stages_of
from edge_kit.camera.terminal import STDIN, run_lines
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
ENROL_KEY = "e"


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
        text: File of lines, or `STDIN`, for a demo that answers to text.
        enrol: Folder of pictures that are kept by the names of their files, to be found again.
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
    enrol: Path | None = None
    text: Path | None = None

    def __post_init__(self) -> None:
        if self.sources > 1:
            raise self.no_single_source()
        if self.camera == BROWSER and not self.web:
            raise UsageError(f"--camera {BROWSER} is the camera of whoever looks at the page; add --web")
        if self.frames < 0:
            raise UsageError(f"--frames must be 0 (all) or more, got {self.frames}")

    @property
    def sources(self) -> int:
        """How many were asked for; of text there is always one, what is typed."""
        return sum(
            [self.synthetic, *(given is not None for given in (self.camera, self.video, self.images, self.text))]
        )

    def no_single_source(self) -> UsageError:
        """That there is none, or more than one."""
        return UsageError(
            f"a demo has one source, got {self.sources}; choose --camera 0, --video FILE, --images DIR or --synthetic"
        )


def run_demo(
    request: DemoRequest, workspace: Workspace, say: Callable[[str], None], tell: Callable[[str], None] = print
) -> Summary:
    """Run one demo until its source ends or somebody ends it.

    Args:
        say: Told what a person should know before the frames run, a line each.
        tell: Told the answers to lines of text, where a demo gives such.

    Raises:
        EdgeKitError: Something of what was asked for is not there, or the run failed.
    """
    load_demos()
    kind = DEMOS.get(request.name)
    bundle = _bundle(request, kind, workspace)
    demo = kind.make(bundle)
    if isinstance(demo, TextDemo):
        return _run_lines(request, demo, bundle, say, tell)
    if request.text is not None:
        raise UsageError(f"demo {kind.name!r} looks at pictures; --text is for demos that read, such as tag")
    if not request.sources:
        raise request.no_single_source()
    lineup = _lineup(request, kind, demo, bundle, workspace)
    lineup.choose(bundle.path.name, request.runtime, request.precision, compare=request.compare)
    if request.enrol is not None:
        _enrol(request.enrol, lineup, say)
    source = _source(request, demo)
    meter = Meter()
    try:
        sinks = _sinks(request, source, lineup, say)
        page = _page(request, source, meter, lineup, sinks) if request.web else None
    except BaseException:
        source.close()
        raise
    pictures = any(not isinstance(sink, JsonLinesSink) for sink in sinks)
    stages = stages_of(lineup, meter if pictures else None, request.region)
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


def _run_lines(
    request: DemoRequest, demo: TextDemo, bundle: Bundle, say: Callable[[str], None], tell: Callable[[str], None]
) -> Summary:
    if (request.sources and request.text is None) or request.web or request.save:
        raise UsageError(f"demo {request.name!r} reads text in a terminal; give --text FILE, or type")
    lineup = Lineup[TextDemo]({bundle.path.name: lambda: demo}, _loader({bundle.path.name: bundle}, request.threads))
    lineup.choose(bundle.path.name, request.runtime, request.precision, compare=request.compare)
    say(f"{request.name}: {bundle.path.name}, {request.precision} on {request.runtime}")
    sinks = [JsonLinesSink(request.jsonl)] if request.jsonl is not None else []
    summary = run_lines(request.text or STDIN, lineup, sinks, tell, request.frames)
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


def _lineup(request: DemoRequest, kind: DemoKind, demo: Demo, bundle: Bundle, workspace: Workspace) -> Lineup[Demo]:
    """The bundle, and beside it the others that a page can choose; a game goes on with the one it began with."""
    others = [] if isinstance(demo, Acting) or not request.web else _bundles(kind, workspace)
    bundles = {one.path.name: one for one in (*others, bundle)}

    def make(name: str) -> Demo:
        made = demo if name == bundle.path.name else kind.make(bundles[name])
        assert not isinstance(made, TextDemo), "one kind of demo makes pictures' demos or texts'"
        return made

    return Lineup({name: partial(make, name) for name in bundles}, _loader(bundles, request.threads))


def _loader(bundles: Mapping[str, Bundle], threads: int) -> Callable[[str, str, str], Model]:
    return lambda name, runtime, precision: Model.load(
        bundles[name], runtime=runtime, precision=precision, threads=threads
    )


def _enrol(folder: Path, lineup: Lineup[Demo], say: Callable[[str], None]) -> None:
    cast, pictures, count = lineup.now(), ImageFolder(folder), 0
    while (shot := pictures.read()) is not None:
        lineup.enrol(Path(shot.name).stem)
        cast.demo.read(cast.demo.infer(cast.models[0].graphs, cast.demo.prepare(shot.image)))
        count += 1
    for note in pictures.notes:
        say(note)
    say(f"enrolled {count:,} pictures of {str(folder)!r}")


def _bundles(kind: DemoKind, workspace: Workspace) -> list[Bundle]:
    return [bundle for bundle in all_bundles(workspace) if bundle.manifest.task in kind.tasks]


def _bundle(request: DemoRequest, kind: DemoKind, workspace: Workspace) -> Bundle:
    if request.bundle is not None:
        return find_bundles(workspace, [request.bundle])[0]
    found = _bundles(kind, workspace)
    if not found:
        raise UsageError(
            f"no bundle for {kind.name!r} in {str(workspace.root)!r} yet; make one: edge-kit compress {kind.example}"
        )
    return max(found, key=lambda bundle: (bundle.path / MANIFEST).stat().st_mtime_ns)


def _page(request: DemoRequest, source: Source, meter: Meter, lineup: Lineup[Demo], sinks: list[Sink]) -> WebServer:
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


def _sinks(request: DemoRequest, source: Source, lineup: Lineup[Demo], say: Callable[[str], None]) -> list[Sink]:
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
        sinks.append(WindowSink(f"edge-kit {request.name}", {ENROL_KEY: lineup.enrol} if lineup.enrols() else {}))
        if lineup.enrols():
            say(f"press {ENROL_KEY} in the window to keep what is seen, to find it again")
    return sinks
