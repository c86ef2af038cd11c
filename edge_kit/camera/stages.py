"""The stages between capture and sinks, over whatever demo a frame is given to."""

from __future__ import annotations

from edge_kit.camera.demo import Acting, Demo
from edge_kit.camera.frame import WHOLE, Frame, Region, Run, Stage
from edge_kit.camera.lineup import Lineup
from edge_kit.camera.meter import Meter, Reading
from edge_kit.camera.opencv import import_cv2
from edge_kit.camera.overlay import enlarged, put_frame, put_lines, speed_lines
from edge_kit.core.images import Image


def stages_of(lineup: Lineup[Demo], meter: Meter | None, region: Region = WHOLE) -> list[Stage]:
    """Preprocess, inference, postprocess, draw.

    Args:
        meter: Whose figures are drawn; nothing is drawn without one.
        region: The part of each picture that the demo sees, and draws on.
    """

    def preprocess(frame: Frame) -> None:
        frame.cast = lineup.now()
        frame.inputs = frame.cast.demo.prepare(region.of(frame.shot.image))

    def inference(frame: Frame) -> None:
        frame.runs = frame.cast.run(frame.inputs)

    def postprocess(frame: Frame) -> None:
        demo = frame.cast.demo
        for run in frame.runs:
            run.answer = demo.read(run.outputs)
        lineup.count(frame.cast, frame.runs)
        if isinstance(demo, Acting):
            demo.act(frame.runs[0].answer)

    stages = [Stage(work.__name__, work) for work in (preprocess, inference, postprocess)]
    if meter is None:
        return stages

    def draw(frame: Frame) -> None:
        image, reading = enlarged(frame.shot.image), meter.now()
        parts = [_drawn(frame.cast.demo, image.copy(), region, run, reading) for run in frame.runs]
        frame.shown = parts[0] if len(parts) == 1 else import_cv2().hconcat(parts)

    return [*stages, Stage("draw", draw)]


def _drawn(demo: Demo, image: Image, region: Region, run: Run, reading: Reading) -> Image:
    demo.draw(region.of(image), run.answer)
    if region != WHOLE:
        put_frame(image, region)
    put_lines(image, speed_lines(reading, run.model))
    return image
