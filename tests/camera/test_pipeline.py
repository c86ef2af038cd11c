"""Order, speed, and every way that a run can end."""

import gc
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edge_kit.camera.frame import EMPTY, Frame, Run, Stage
from edge_kit.camera.pipeline import MOST_EMPTY, ROOM, Pipeline
from edge_kit.camera.sources import Made
from edge_kit.core.errors import BadData, EdgeKitError
from tests.camera.parts import Collect, Script, picture, pictures, sleeping


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2  # a web framework's idle helpers take a moment to hear that their loop has ended
    while not set(threading.enumerate()) <= before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def failing(at: int, fault: Exception) -> Stage:
    def work(frame: Frame) -> None:
        if frame.index == at:
            raise fault

    return Stage("inference", work)


def test_every_frame_of_a_file_goes_through_every_stage_in_order() -> None:
    rng = np.random.default_rng(0)
    seen: list[list[int]] = [[], []]

    def jitter(place: int) -> Stage:
        def work(frame: Frame) -> None:
            time.sleep(float(rng.exponential(0.001)))
            seen[place].append(frame.index)

        return Stage(f"stage {place}", work)

    source, sink = Script(pictures(100)), Collect()
    summary = Pipeline(source, [jitter(0), jitter(1)], [sink]).run()
    assert sink.places == seen[0] == seen[1] == list(range(100))
    assert (summary.frames, summary.dropped, summary.unread, summary.ended) == (100, 0, 0, "source ended")
    assert set(summary.ms) == {"capture", "stage 0", "stage 1", "sink"}
    assert (source.closed, sink.closed) == (1, 1)


def test_what_a_stage_is_given_is_what_the_one_before_it_made() -> None:
    def prepare(frame: Frame) -> None:
        frame.inputs = {"image": frame.shot.image.astype(np.float32)}

    def infer(frame: Frame) -> None:
        frame.runs = [Run({}, {"mean": frame.inputs["image"].mean(keepdims=True)}, 0.0)]

    sink = Collect()
    Pipeline(Script(pictures(20)), [Stage("preprocess", prepare), Stage("inference", infer)], [sink]).run()
    assert [float(frame.runs[0].outputs["mean"].item()) for frame in sink.frames] == [20.0 + 3 * i for i in range(20)]


def test_a_live_source_drops_its_oldest_in_front_of_the_work_and_what_is_run_is_fresh() -> None:
    def timed(number: int) -> np.ndarray | None:
        time.sleep(0.002)
        return picture(number) if number < 200 else None

    source, sink, started = Script(timed, live=True), Collect(), []
    slow = Stage("inference", lambda frame: time.sleep(0.02))
    first = Stage("preprocess", lambda frame: started.append(frame.index))
    summary = Pipeline(source, [first, slow], [sink]).run()
    assert sink.places == sorted(set(sink.places))
    assert started == sink.places, "work was done on a frame that was dropped"
    assert summary.frames + summary.dropped == 200
    assert summary.dropped > 100
    # A frame waits for the one in the stage, the one before it and its own turn: not for a queue that has grown.
    assert summary.latency_ms["p50"] < 5 * 20


STAGES = (5.0, 10.0, 6.0)  # ms
COUNT = 200


def seconds_of(stages: list[Stage]) -> float:
    began = time.perf_counter()
    assert Pipeline(Made(picture, COUNT), stages, [Collect()]).run().frames == COUNT
    return time.perf_counter() - began


def sequential_seconds(stages: list[Stage]) -> float:
    source, began = Made(picture, COUNT), time.perf_counter()
    while shot := source.read():
        frame = Frame(0, shot, 0.0)
        for stage in stages:
            stage.work(frame)
    return time.perf_counter() - began


@pytest.mark.slow
def test_the_pipeline_is_as_fast_as_its_slowest_stage_and_faster_than_one_after_the_other() -> None:
    stages = [sleeping(f"stage {i}", ms) for i, ms in enumerate(STAGES)]
    rows = [  # the best of three: this machine may be shared
        (sequential_seconds([stages[1]]), seconds_of(stages), sequential_seconds(stages)) for _ in range(3)
    ]
    alone, together, sequential = (min(column) for column in zip(*rows, strict=True))
    print(f"slowest alone {alone:.3f} s, pipeline {together:.3f} s, sequential {sequential:.3f} s")
    assert alone / together >= 0.95
    assert sequential / together >= 1.4


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_twenty_thousand_frames_keep_order_memory_and_latency() -> None:
    count, latency, done, under_way, memory = 20_000, [], [], [], []

    class Watch:
        name = "watch"
        expected = 0

        def write(self, frame: Frame) -> bool:
            assert frame.index == self.expected
            self.expected += 1
            done.append(time.perf_counter())
            latency.append(done[-1] - frame.captured)
            if frame.index % 1000 == 999:
                gc.collect()
                memory.append(resident_bytes())
            return True

        def close(self) -> None:
            pass

    def make(number: int) -> np.ndarray:
        under_way.append(number - watch.expected)
        return np.full((48, 64, 3), number % 256, np.uint8)

    def prepare(frame: Frame) -> None:
        frame.inputs = {"image": frame.shot.image.transpose(2, 0, 1).astype(np.float32)}

    def infer(frame: Frame) -> None:
        time.sleep(0.0004)  # the slowest by far, so that no other load of this machine decides which one that is
        frame.runs = [Run({}, {"mean": frame.inputs["image"].mean(axis=(1, 2))}, 0.0)]

    watch = Watch()
    stages = [Stage("preprocess", prepare), Stage("inference", infer)]
    summary = Pipeline(Made(make, count), stages, [watch]).run()
    assert summary.frames == watch.expected == count
    print(f"{summary.fps:.0f} frames a second, resident {memory[1] / 1e6:.1f} to {memory[-1] / 1e6:.1f} MB")
    assert memory[-1] - memory[1] < 8e6  # 18,000 frames that were kept, with their inputs, would be 800 MB
    parts = (slice(2000, 6000), slice(-4000, None))
    start, end = (float(np.median(latency[part])) for part in parts)
    print(f"captured to done, p50: {1000 * start:.3f} ms at the start, {1000 * end:.3f} ms at the end")
    # Other load of this machine moves milliseconds, but not this: how many frames pass while one is on its way.
    most = 3 * ROOM + 4  # the links, a frame in each stage, in the sink and in capture's hand
    assert max(under_way) <= most
    assert all(np.mean(latency[part]) / np.mean(np.diff(done[part])) <= most for part in parts)  # Little's law


def test_a_stage_that_fails_is_one_line_and_the_frames_before_it_come_out() -> None:
    source, sink = Script(lambda number: picture(number)), Collect()
    stages = [Stage("preprocess", lambda frame: None), failing(7, ValueError("two\nlines")), sleeping("draw", 1)]
    with pytest.raises(EdgeKitError, match="^inference failed on frame 7: two lines$"):
        Pipeline(source, stages, [sink]).run()
    assert sink.places == list(range(7))
    assert (source.closed, sink.closed) == (1, 1)


def test_an_error_of_ours_passes_through_as_it_is() -> None:
    with pytest.raises(BadData, match="^logits are not finite$"):
        Pipeline(Script(pictures(9)), [failing(3, BadData("logits are not finite"))], [Collect()]).run()


def test_a_source_that_dies_is_one_line_after_its_last_frame_is_done() -> None:
    def dies(number: int) -> np.ndarray:
        if number == 12:
            raise EdgeKitError("camera 0 was lost")
        return picture(number)

    sink = Collect()
    with pytest.raises(EdgeKitError, match="^camera 0 was lost$"):
        Pipeline(Script(dies), [sleeping("inference", 2)], [sink]).run()
    assert sink.places == list(range(12))
    assert sink.closed == 1


def test_a_sink_that_fails_is_one_line_and_the_others_are_closed() -> None:
    whole, full = Collect(), Collect(5, OSError(28, "No space left on device"))
    full.name = "video 'x.mp4'"
    with pytest.raises(EdgeKitError, match=r"^video 'x.mp4' failed on frame 5: .*No space left on device$"):
        Pipeline(Script(lambda number: picture(number)), [sleeping("draw", 0)], [whole, full]).run()
    assert (whole.closed, full.closed) == (1, 1)
    assert whole.places[:6] == list(range(6))


def test_a_sink_that_cannot_finish_is_one_line() -> None:
    class Unfinished(Collect):
        def close(self) -> None:
            raise EdgeKitError("video 'x.mp4' took 3 of 9 frames; is the disk full?")

    last = Collect()
    with pytest.raises(EdgeKitError, match="is the disk full"):
        Pipeline(Script(pictures(9)), [], [Unfinished(), last]).run()
    assert last.closed == 1


def test_closing_the_window_ends_the_run() -> None:
    source, sink = Script(lambda number: picture(number)), Collect(enough=10)
    summary = Pipeline(source, [sleeping("inference", 1)], [sink]).run()
    assert (summary.ended, sink.places, source.closed) == ("window closed", list(range(10)), 1)


def test_another_thread_may_end_the_run_while_a_live_source_waits() -> None:
    released = threading.Event()

    class Waiting(Script):
        def read(self):
            if self.reads >= 3:
                released.wait(10)
                return None
            return super().read()

        def stop(self) -> None:
            released.set()

    sink = Collect()
    pipeline = Pipeline(Waiting(picture, live=True), [sleeping("inference", 0)], [sink])
    timer = threading.Timer(0.3, pipeline.stop)
    timer.start()
    began = time.monotonic()
    summary = pipeline.run()
    timer.join()
    assert summary.ended == "interrupted"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_between_two_frames_and_the_handlers_are_given_back(number: signal.Signals) -> None:
    kept = signal.getsignal(number)
    sink = Collect()

    def work(frame: Frame) -> None:
        time.sleep(0.001)
        if frame.index == 20:
            os.kill(os.getpid(), number)

    summary = Pipeline(Script(lambda n: picture(n)), [Stage("inference", work)], [sink]).run()
    assert summary.ended == "interrupted"
    assert sink.places == list(range(len(sink.places)))
    assert sink.closed == 1
    assert signal.getsignal(number) is kept


def test_frames_of_no_size_are_left_out_and_counted() -> None:
    source, sink = Script(lambda n: None if n == 30 else (EMPTY if n % 3 == 0 else picture(n))), Collect()
    summary = Pipeline(source, [], [sink]).run()
    assert (summary.frames, summary.unread) == (20, 10)
    assert all(frame.shot.image.size for frame in sink.frames)


def test_a_source_that_gives_only_frames_of_no_size_is_one_line() -> None:
    with pytest.raises(BadData, match=f"^script gave {MOST_EMPTY} empty frames in a row$"):
        Pipeline(Script(lambda n: EMPTY, live=True), [], [Collect()]).run()


def test_a_source_that_gives_nothing_is_one_line_with_its_reason() -> None:
    source = Script(lambda n: None)
    source.notes.append("'a.jpg' cannot be decoded, left out")
    with pytest.raises(BadData, match="^script gave no frame that could be read; 'a.jpg' cannot be decoded"):
        Pipeline(source, [], [Collect()]).run()


def test_a_file_that_is_watched_runs_at_the_speed_that_it_was_filmed_at_and_nothing_is_dropped() -> None:
    sink = Collect()
    summary = Pipeline(Made(picture, 25, fps=50.0), [sleeping("inference", 1)], [sink], paced=True).run()
    assert sink.places == list(range(25))
    assert 24 / 50 <= summary.seconds < 3 * 24 / 50
    assert summary.ms["sink"] < 5, "waiting is no work"


def test_a_file_that_is_watched_does_not_keep_the_run_from_ending() -> None:
    pipeline = Pipeline(Made(picture, 3, fps=0.01), [], [Collect()], paced=True)
    timer = threading.Timer(0.2, pipeline.stop)
    timer.start()
    began = time.monotonic()
    assert pipeline.run().ended == "interrupted"
    assert time.monotonic() - began < 5
    timer.join()


def test_a_limit_captures_so_many_and_all_of_them_come_out() -> None:
    source, sink = Script(lambda n: picture(n)), Collect()
    summary = Pipeline(source, [sleeping("inference", 1)], [sink], limit=25).run()
    assert (summary.ended, sink.places, source.reads) == ("enough frames", list(range(25)), 25)
