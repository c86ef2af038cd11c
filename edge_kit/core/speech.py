"""How sound becomes a network's input, frame by frame; kept in the bundle with what normalises it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array

FRAMES, STATE, CELL = "frames", "state", "cell"  # inputs of a graph that listens
RATE = 16_000  # samples a second
WINDOW, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms
BANDS = 80
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
SLOPE_WINDOW = 2  # frames either side that a slope is fitted to
AROUND = 5  # frames either side that the network sees with one
KINDS = 3  # bands, their slopes, and the slopes of those
DEPTH = KINDS * BANDS
FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, eq=False)
class AcousticPreprocess:
    """Adds slopes to bands, normalises, and shows each frame between its neighbours.

    Attributes:
        chunk: Frames that the graph takes at once.
        state: Shape of what the graph's layers hand on from chunk to chunk, of one utterance.
        cell: Likewise, of what they keep to themselves.
        delay: Frames by which the answer to a frame comes later; that many more are to follow the last.
        mean: Of bands, slopes and their slopes, (240,); empty before a data set gave its own.
        variance: Likewise.

    Source: PaddlePaddle/models release/1.6, PaddleSpeech/DeepASR (data_utils).
    """

    KIND: ClassVar[str] = "frames"

    chunk: int
    state: tuple[int, int]
    cell: tuple[int, int]
    delay: int = 5
    mean: tuple[float, ...] = ()
    variance: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.chunk < 1 or self.delay < 0:
            raise ValueError(f"chunk must be at least 1 and delay at least 0, got {self.chunk} and {self.delay}")
        if len(self.mean) not in (0, DEPTH) or len(self.mean) != len(self.variance):
            raise ValueError(f"mean and variance have {DEPTH} numbers, got {len(self.mean)} and {len(self.variance)}")

    def start(self, count: int) -> dict[str, NDArray[np.float32]]:
        """What so many utterances begin with: nothing is remembered."""
        shapes = ((STATE, self.state), (CELL, self.cell))
        return {name: np.zeros((count, *shape), np.float32) for name, shape in shapes}

    def __call__(self, bands: Array) -> NDArray[np.float32]:
        """Prepare one utterance.

        Args:
            bands: (T, 80), logarithms of the energies of mel bands.

        Returns:
            (chunks, chunk, 3, 11, 80): bands, slopes and their slopes, of five frames before, the frame, and five
            after. The last frame is repeated while answers are still to come, and until a chunk is full.
        """
        bands = np.asarray(bands, np.float32)
        if bands.ndim != 2 or bands.shape[1] != BANDS or not len(bands) or not np.isfinite(bands).all():
            raise BadData(f"an utterance must be (T, {BANDS}) finite numbers and not empty, got {bands.shape}")
        first = slopes(bands)
        features = np.concatenate([bands, first, slopes(first)], axis=1)
        if self.mean:
            features = (features - np.array(self.mean, np.float32)) / np.sqrt(np.array(self.variance, np.float32))
        more = self.delay + -(len(bands) + self.delay) % self.chunk
        features = np.pad(features, ((AROUND, AROUND + more), (0, 0)), mode="edge")
        seen = np.lib.stride_tricks.sliding_window_view(features, 2 * AROUND + 1, axis=0)  # (T, 240, 11)
        frames = seen.reshape(-1, self.chunk, KINDS, BANDS, seen.shape[-1]).swapaxes(3, 4)
        return np.ascontiguousarray(frames, np.float32)

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {
            "kind": self.KIND,
            "rate": RATE,
            "bands": BANDS,
            "chunk": self.chunk,
            "state": list(self.state),
            "cell": list(self.cell),
            "delay": self.delay,
            "mean": list(self.mean),
            "variance": list(self.variance),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> AcousticPreprocess:
        """Read back what `as_dict` wrote."""
        mean, variance = (tuple(float(value) for value in document[key]) for key in ("mean", "variance"))
        (layers, state), (_, cell) = ((int(one) for one in document[key]) for key in (STATE, CELL))
        return cls(int(document["chunk"]), (layers, state), (layers, cell), int(document["delay"]), mean, variance)


def slopes(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """How fast each column changes, by regression over two frames either side; the ends are repeated.

    Args:
        values: (T, D).
    """
    reach = SLOPE_WINDOW
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    count = len(values)
    sums = sum(
        k * (padded[reach + k : reach + k + count] - padded[reach - k : reach - k + count]) for k in range(1, reach + 1)
    )
    found: NDArray[np.float32] = np.asarray(sums / (2 * sum(k * k for k in range(1, reach + 1))), np.float32)
    return found


def mel_bands(sound: Array) -> NDArray[np.float32]:
    """Logarithms of the energies of 80 mel bands, 100 times a second.

    Args:
        sound: (samples,) in -1..1, 16,000 a second.

    Returns:
        (T, 80); T is 0 for less than 25 ms.

    Source: O'Shaughnessy 1987 for the mel scale, 1127 ln(1 + f / 700); windows and steps as Kaldi's usual ones.
    """
    sound = np.asarray(sound, np.float32)
    if len(sound) < WINDOW:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft((frames - PREEMPHASIS * before) * np.hamming(WINDOW), FFT)) ** 2
    bands: NDArray[np.float32] = np.log(np.maximum(power @ _triangles(), FLOOR)).astype(np.float32)
    return bands


@lru_cache(maxsize=1)
def _triangles() -> NDArray[np.float64]:
    """(bins, bands): how much of each frequency a band takes."""
    top = _mel(np.array(RATE / 2))
    edges = np.linspace(_mel(np.array(LOWEST_HZ)), top, BANDS + 2)
    bins = _mel(np.arange(FFT // 2 + 1) * RATE / FFT)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    shares: NDArray[np.float64] = np.maximum(np.minimum(rising, falling), 0.0)
    return shares


def _mel(hertz: NDArray[Any]) -> NDArray[Any]:
    mel: NDArray[Any] = 1127.0 * np.log1p(hertz / 700.0)
    return mel
