"""Frames of speech with a state each, as DeepASR publishes them.

    DIR/train_feature.lst, train_label.lst, test_feature.lst, test_label.lst
        lines in turn: a binary file, the file that describes it, both relative to DIR
    a description   "NAME count", then a line an utterance: "name number start bytes frames dim", of labels without dim
    a binary file   features float32 of `dim` a frame, labels uint32, both with the low byte first
    DIR/global_mean_var   "mean variance" a line: 80 bands, their slopes, the slopes of those
    DIR/states.txt  optional, one name a line: of the states in order; 3,040 without names where it is missing

Source: PaddlePaddle/models release/1.6, PaddleSpeech/DeepASR (data section). Only the two file names without an
extension of their own were chosen here: there they are arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.files import sha256_file
from edge_kit.core.speech import BANDS, DEPTH, FRAMES, AcousticPreprocess
from edge_kit.core.tensors import Array, Tensors
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.listed import ListedSamples
from edge_kit.data.mini.syllables import FEATURES, LABELS, NORMALISATION, STATES, make_mini

SPLITS = ("train", "test")
LISTS = ", ".join(f"{split}_{kind}.lst" for split in SPLITS for kind in (FEATURES, LABELS))
TIED_STATES = 3040
LONGEST = 1024  # frames; longer utterances are cut, as published
UNSEEN = -1  # the label of a frame that nothing is asked of
SHOWN = 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where an utterance's numbers lie."""

    path: Path
    start: int
    frames: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One utterance, or a part of a long one."""

    features: Place
    labels: Place


class SpeechFolder(ListedSamples[Sample]):
    """A data set of labelled frames; see `Dataset` for the methods.

    A batch holds `frames` (N, chunks, T, 3, 11, 80) float32, `state` and `cell` to start with, and `label`
    (N, chunks, T) int64 for each of the graph's answers: -1 for those that come before the first frame's and
    behind the last one's.
    """

    def __init__(self, root: Path, preprocess: AcousticPreprocess, options: OpenOptions) -> None:
        self.name, self.published = options.name, options.published
        for name in (*(f"{split}_{kind}.lst" for split in SPLITS for kind in (FEATURES, LABELS)), NORMALISATION):
            if not (root / name).is_file():
                raise BadData(
                    f"data folder {str(root)!r} has no {name}; labelled frames are {LISTS} and {NORMALISATION}"
                )
        mean, variance = _read_normalisation(root / NORMALISATION)
        self.preprocess = replace(preprocess, mean=mean, variance=variance)
        self.labels = _read_states(root / STATES)
        self.sizes: Mapping[str, int] = {"num_classes": len(self.labels)}
        self._root = root
        self._train, self._test = (_read_split(root, split) for split in SPLITS)

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self.labels)).encode())
        for path in sorted({place.path for one in (*self._train, *self._test) for place in (one.features, one.labels)}):
            digest.update(sha256_file(path).encode())
        digest.update(repr([self._train, self._test]).replace(str(self._root), "").encode())
        return digest.hexdigest()

    def _batch(self, samples: Sequence[Sample]) -> Tensors:
        delay, chunk = self.preprocess.delay, self.preprocess.chunk
        heard = [self.preprocess(_read(one.features, "<f4", BANDS)) for one in samples]
        longest = max(len(one) for one in heard)
        frames = np.zeros((len(samples), longest, *heard[0].shape[1:]), np.float32)
        labels = np.full((len(samples), longest * chunk), UNSEEN, np.int64)
        for i, (sample, own) in enumerate(zip(samples, heard, strict=True)):
            told = _read(sample.labels, "<u4").astype(np.int64)
            if told.max() >= len(self.labels):
                raise BadData(
                    f"{str(sample.labels.path)!r} has state {told.max()} at byte {sample.labels.start} or behind; "
                    f"there are {len(self.labels)}, from 0: name all of them in {STATES}"
                )
            frames[i, : len(own)] = own
            labels[i, delay : delay + len(told)] = told
        return {
            FRAMES: frames,
            **self.preprocess.start(len(samples)),
            "label": labels.reshape(len(samples), longest, chunk),
        }


def _read(place: Place, dtype: str, dim: int = 0) -> Array:
    shape = (place.frames, dim) if dim else (place.frames,)
    values = np.fromfile(place.path, dtype, int(np.prod(shape)), offset=place.start)
    return values.reshape(shape)


def _read_split(root: Path, split: str) -> list[Sample]:
    features, labels = (_read_list(root, f"{split}_{kind}.lst", kind) for kind in (FEATURES, LABELS))
    if list(features) != list(labels):
        odd = next(iter(sorted(features.keys() ^ labels.keys())), "the order")
        raise BadData(f"{split}_{FEATURES}.lst and {split}_{LABELS}.lst of {str(root)!r} differ in {odd[:SHOWN]!r}")
    samples = []
    for name, heard in features.items():
        told = labels[name]
        if heard.frames != told.frames:
            raise BadData(f"utterance {name[:SHOWN]!r} of {split} has {heard.frames} frames and {told.frames} labels")
        for first in range(0, heard.frames, LONGEST):
            size = min(LONGEST, heard.frames - first)
            samples.append(
                Sample(
                    Place(heard.path, heard.start + 4 * BANDS * first, size),
                    Place(told.path, told.start + 4 * first, size),
                )
            )
    if not samples:
        raise BadData(f"{split}_{FEATURES}.lst of {str(root)!r} names no utterance")
    return samples


def _read_list(root: Path, name: str, kind: str) -> dict[str, Place]:
    """Where each utterance of all pairs of files lies, by its name."""
    lines = [line.strip() for line in (root / name).read_text(errors="replace").splitlines() if line.strip()]
    if not lines or len(lines) % 2:
        raise BadData(f"{str(root / name)!r} has {len(lines)} lines; a binary file and its description take turns")
    found: dict[str, Place] = {}
    for data, description in zip(lines[::2], lines[1::2], strict=True):
        for one in (data, description):
            if Path(one).is_absolute() or ".." in Path(one).parts:
                raise BadData(f"{str(root / name)!r} leaves the data folder: {one[:SHOWN]!r}")
            if not (root / one).is_file():
                raise BadData(f"{str(root / name)!r} names {one[:SHOWN]!r}, which is not there")
        found.update(_read_description(root / data, root / description, kind))
    return found


def _read_description(data: Path, description: Path, kind: str) -> dict[str, Place]:
    size, dim = data.stat().st_size, BANDS if kind == FEATURES else 1
    first, *lines = description.read_text(errors="replace").splitlines() or [""]
    head = first.split()
    if len(head) < 2 or not head[1].isdigit() or int(head[1]) != len(lines):
        raise BadData(
            f"{str(description)!r} line 1 is not 'name count' with the {len(lines)} utterances that follow: "
            f"{first[:SHOWN]!r}"
        )
    found = {}
    for number, line in enumerate(lines, 2):
        name, *numbers = line.split() or [""]
        wanted = 5 if kind == FEATURES else 4
        if len(numbers) != wanted or not all(one.isascii() and one.isdigit() and len(one) < 16 for one in numbers):
            form = "name number start bytes frames" + (" dim" if kind == FEATURES else "")
            raise BadData(f"{str(description)!r} line {number} is not {form!r}: {line[:SHOWN]!r}")
        _, start, length, frames, *given = (int(one) for one in numbers)
        if not frames or length != 4 * frames * dim or start + length > size or given not in ([], [dim]):
            raise BadData(
                f"{str(description)!r} line {number} does not fit {data.name!r} of {size} bytes with {dim} numbers "
                f"a frame: {line[:SHOWN]!r}"
            )
        found[name] = Place(data, start, frames)
    return found


def _read_normalisation(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    rows = [line.split() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    try:
        values = np.array([[float(value) for value in row] for row in rows], np.float64)
        fits = values.shape == (DEPTH, 2) and np.isfinite(values).all() and (values[:, 1] > 0).all()
    except ValueError:
        fits = False
    if not fits:
        raise BadData(f"{str(path)!r} has {len(rows)} lines; it holds 'mean variance' {DEPTH} times, variances above 0")
    return tuple(values[:, 0].tolist()), tuple(values[:, 1].tolist())


def _read_states(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(str(i) for i in range(TIED_STATES))
    names = tuple(path.read_text(errors="replace").splitlines())
    if len(names) < 2:
        raise BadData(f"{str(path)!r} names {len(names)} states; there must be at least two, one a line")
    return names


FORMATS.add("kaldi_frames", DataFormat("kaldi_frames", SpeechFolder, make_mini))
