"""What data sets of pictures with boxes share, whatever format says where the boxes are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.images import Image, StretchPreprocess
from edge_kit.core.tensors import Array, Tensors
from edge_kit.data.augment_scenes import SceneAugment, mixed
from edge_kit.data.dataset import OpenOptions, evenly_spread, shuffled
from edge_kit.data.imagenet import picture_fault
from edge_kit.data.objects import Objects, Scene, batch_of


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a set and what is in it."""

    path: Path
    objects: Objects


class SceneFolder:
    """Pictures with boxes; see `Dataset` for the methods and `batch_of` for what a batch holds.

    Attributes:
        bad: Why each sample left out was left out, one line each.
    """

    def __init__(
        self,
        root: Path,
        preprocess: StretchPreprocess,
        options: OpenOptions,
        labels: Sequence[str],
        parts: tuple[Sequence[Shot], Sequence[Shot]],
        bad: Sequence[str] = (),
    ) -> None:
        """Take what a format's reader found.

        Args:
            parts: For training, where objects to ignore are those to learn from all the same, and for evaluation.
            bad: What the reader found fault with.

        Raises:
            BadData: More is missing or broken than the options allow.
        """
        self.name, self.published = options.name, options.published
        self.preprocess = preprocess
        self.augment: SceneAugment = options.augment or SceneAugment()
        self.labels = tuple(labels)
        self.sizes: Mapping[str, int] = {"num_classes": len(self.labels)}
        self.bad = list(bad)
        self._train, self._eval = (self._usable(root, part) for part in parts)
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} samples of {str(root)!r} are missing or broken, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )
        for part, use in ((self._train, "training"), (self._eval, "evaluation")):
            if not part:
                first = f", first: {self.bad[0]}" if self.bad else ""
                raise BadData(f"{str(root)!r} holds no usable picture for {use}{first}")

    def _usable(self, root: Path, part: Sequence[Shot]) -> list[Shot]:
        usable = []
        for shot in part:
            fault = picture_fault(shot.path)
            if fault:
                self.bad.append(f"{str(shot.path.relative_to(root))!r} ({fault})")
            else:
                usable.append(shot)
        return usable

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self.augment, self.labels)).encode())
        for shot in (*self._train, *self._eval):
            state = shot.path.stat()
            digest.update(f"{shot.path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
            for values in (shot.objects.boxes, shot.objects.labels, shot.objects.ignored):
                digest.update(values.tobytes())
        return digest.hexdigest()

    def train_size(self) -> int:
        return len(self._train)

    def eval_size(self) -> int:
        return len(self._eval)

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        for number, chosen in enumerate(shuffled(len(self._train), batch, epoch, seed, start), start):
            side = self._side(np.random.default_rng([seed, epoch, number]))
            yield self._batch([self._changed(i, epoch, seed, side) for i in chosen])

    def _side(self, rng: np.random.Generator) -> int:
        sides = self.augment.sides
        return sides[int(rng.integers(len(sides)))] if sides else self.preprocess.side

    def _changed(self, place: int, epoch: int, seed: int, side: int) -> tuple[Scene, StretchPreprocess]:
        """One training picture, changed at random, and how it is prepared."""
        rng = np.random.default_rng([seed, epoch, place])
        scene = _read(self._train[place])
        if self.augment.mixes(epoch):
            scene = mixed(scene, _read(self._train[int(rng.integers(len(self._train)))]), rng)
        scene = self.augment(scene, rng)
        choices = self.augment.interpolations or (self.preprocess.interpolation,)
        how = choices[int(rng.integers(len(choices)))]
        return scene, replace(self.preprocess, side=side, interpolation=how)

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches(self._eval, batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches([self._train[i] for i in evenly_spread(len(self._train), samples)], batch)

    def _plain_batches(self, shots: Sequence[Shot], batch: int) -> Iterator[Tensors]:
        for start in range(0, len(shots), batch):
            yield self._batch([(_read(shot), self.preprocess) for shot in shots[start : start + batch]])

    def _batch(self, scenes: Sequence[tuple[Scene, StretchPreprocess]]) -> dict[str, Array]:
        images = [prepare(scene.image) for scene, prepare in scenes]
        return batch_of(images, [scene.objects for scene, _ in scenes], [scene.size for scene, _ in scenes])


def _read(shot: Shot) -> Scene:
    # Boxes are of the picture as it is stored, whatever way up the camera says it was held.
    image: Image | None = cv2.imread(str(shot.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise BadData(f"picture {str(shot.path)!r} cannot be decoded; mend it or take it off the list")
    height, width = image.shape[:2]
    return Scene(image, shot.objects.within(width, height))
