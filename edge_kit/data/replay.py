"""Play in a game: what a network that acts is calibrated, compared and trained on.

    DIR/environment.json   {"environment": "Pong", "side": 84}; see `edge_kit.data.environments`
    DIR/train.npz          steps of random play, to begin training with and to find ranges on; see `play.Played`
    DIR/test.npz           steps of another random play, to compare versions on

A published set there is none: agents learn from what they do. While training, the network plays before each epoch, and
what it did is kept in a folder beside the checkpoint, so that a run that is killed goes on to the same weights. The
score is the mean return of episodes begun from seeds that training does not use. `write_replay` makes such a folder
for any of the games.

Source: PaddlePaddle/models develop-align-v1.7.0, legacy/PaddleRL/DeepQNetwork.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import read_json, sha256_file, write_json
from edge_kit.core.frames import FRAMES, FrameStack
from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Array, Tensors
from edge_kit.data.arrays import read_arrays
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import FORMATS, DataFormat, MiniSettings, OpenOptions, evenly_spread
from edge_kit.data.environments import CATCH, open_environment
from edge_kit.data.play import Choose, Environment, Picture, Played, record, returns

GAME, TRAIN, TEST = "environment.json", "train.npz", "test.npz"
NEXT = "next"  # what was seen after the action, as `frames`
EPISODES = 30
GREEDY_EPSILON = 0.01  # drawn at random also while scoring, as published
# First numbers of seeds: nothing that one of them begins is seen by another.
TRAINING_SEED, TEST_SEED, EPISODE_SEED, EXPLORING_SEED = range(4)


@dataclass(frozen=True, slots=True)
class Exploration:
    """How a network plays while it is trained, as published unless told.

    Attributes:
        samples: Drawn from memory in an epoch, with replacement; 2,500 batches of 64.
        steps: Played before each epoch, four for each of its updates.
        capacity: Steps that are remembered.
        start: Share of random actions at first; above 1 it stays at 1 for a while.
        fall: By how much that falls a step.
        floor: What it does not fall below; chosen actions are drawn at random as often as while scoring.
    """

    samples: int = 160_000
    steps: int = 10_000
    capacity: int = 1_000_000
    start: float = 1.1
    fall: float = 1e-6
    floor: float = 0.1

    def epsilon(self, step: int) -> float:
        """Share of random actions after so many steps."""
        exploring = float(np.clip(self.start - self.fall * step, self.floor, 1.0))
        return exploring + (1 - exploring) * GREEDY_EPSILON


class ReplayFolder:
    """See `Dataset` for the methods; `explore` and `score` let a network play."""

    def __init__(self, root: Path, preprocess: FrameStack, options: OpenOptions) -> None:
        self.name, self.published = options.name, options.published
        self._exploration: Exploration = options.augment or Exploration()
        self._files = [root / name for name in (GAME, TRAIN, TEST)]
        for path in self._files:
            if not path.is_file():
                raise BadData(
                    f"data folder {str(root)!r} has no {path.name}; make one: python -c "
                    f"'from edge_kit.data.replay import *; write_replay(Path({str(root)!r}), \"Pong\", 50000, 1000)'"
                )
        self._game, self._side = _read_game(root / GAME)
        self.preprocess = replace(preprocess, game=self._game)
        self.labels = self._make().actions
        self.sizes: Mapping[str, int] = {"num_actions": len(self.labels), "side": preprocess.side}
        self._recorded, self._test = (self._read(root / name) for name in (TRAIN, TEST))
        self._memory, self._remembered = self._recorded, 0

    def _make(self) -> Environment:
        return open_environment(self._game, self._side)

    def _read(self, path: Path) -> Played:
        try:
            return self._fitted(Played.of(read_arrays(path), len(self.labels)))
        except ValueError as error:
            raise BadData(f"{str(path)!r} {error}; record it again") from None

    def _fitted(self, played: Played) -> Played:
        pictures = np.stack([self.preprocess.fit(picture) for picture in played.picture])
        return Played(pictures, played.action, played.reward, played.done, played.first)

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self._exploration)).encode())
        for path in self._files:
            digest.update(sha256_file(path).encode())
        return digest.hexdigest()

    def train_size(self) -> int:
        return self._exploration.samples

    def eval_size(self) -> int:
        return len(self._test)

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        usable = self._memory.usable()
        drawn = np.random.default_rng([seed, epoch]).integers(len(usable), size=self.train_size())
        for first in range(start * batch, len(drawn) - batch + 1, batch):
            places = usable[drawn[first : first + batch]]
            after = np.minimum(places + 1, len(self._memory) - 1)  # of one that ended something it does not count
            yield {
                **self._seen(self._memory, places),
                NEXT: self._seen(self._memory, after)[FRAMES],
                "action": self._memory.action[places],
                "reward": self._memory.reward[places],
                "done": self._memory.done[places].astype(np.float32),
            }

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._states(self._test, range(len(self._test)), batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        yield from self._states(self._recorded, evenly_spread(len(self._recorded), samples), batch)

    def _states(self, played: Played, places: Sequence[int], batch: int) -> Iterator[Tensors]:
        for start in range(0, len(places), batch):
            yield self._seen(played, places[start : start + batch])

    def _seen(self, played: Played, places: Sequence[int] | Array) -> dict[str, Array]:
        return self.preprocess([played.history(int(place), self.preprocess.stack) for place in places])

    def explore(self, choose: Choose, epoch: int, seed: int, memory: Path) -> None:
        """Play before an epoch, and remember what training in it may draw from.

        Args:
            choose: What the network does.
            memory: Folder that outlives a kill; what is there already is not played again.
        """
        how = self._exploration
        paths = [memory / f"play-{number:06d}.npz" for number in range(self._remembered, epoch + 1)]
        for number, path in enumerate(paths, self._remembered):
            if not path.is_file():
                self._play(choose, number, seed).save(path)
        enough = -(-how.capacity // how.steps)  # of a long run the first plays are forgotten already
        played = [self._read(path) for path in paths[-enough:]]
        self._memory = self._memory.joined(*played).newest(how.capacity)
        self._remembered = epoch + 1

    def _play(self, choose: Choose, epoch: int, seed: int) -> Played:
        how, before = self._exploration, epoch * self._exploration.steps
        seeds = (EXPLORING_SEED, seed, epoch)
        return record(self._make, self.preprocess, choose, lambda t: how.epsilon(before + t), how.steps, seeds)

    def score(self, choose: Choose) -> Array:
        """The return of each of `EPISODES` episodes, points as the game counts them."""
        return returns(self._make, self.preprocess, choose, GREEDY_EPSILON, EPISODES, (EPISODE_SEED,))


def _read_game(path: Path) -> tuple[str, int]:
    try:
        told = read_json(path)
        return str(told["environment"]), int(told["side"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadData(f"{str(path)!r} is not {{'environment': NAME, 'side': PIXELS}} ({error}); mend it") from None


def write_replay(folder: Path, game: str, train: int, test: int, side: int = 84, seed: int = 0) -> None:
    """Write a folder of this format, for any game of `edge_kit.data.environments`.

    Args:
        train: Steps of random play.
        test: Likewise.
        side: Of the pictures, in pixels.
    """
    if train < 1 or test < 1:
        raise UsageError(f"a replay has one step or more for training and for test, got {train} and {test}")
    prepare = FrameStack(side)
    folder.mkdir(parents=True, exist_ok=True)
    for name, steps, split in ((TRAIN, train, TRAINING_SEED), (TEST, test, TEST_SEED)):
        played = record(
            lambda: open_environment(game, side), prepare, _nothing, lambda step: 1.0, steps, (split, seed)
        )  # fmt: skip
        played.newest(steps).save(folder / name)
    write_json(folder / GAME, {"environment": game, "side": side})


def _nothing(histories: Sequence[Sequence[Picture]]) -> Array:
    return np.zeros(len(histories), np.int64)


CARD = Card(
    "Random play of a small game",
    f"No Atari game, but {CATCH}, of edge_kit/data/mini/catch.py: balls fall at a slant, and a paddle is to be there.",
    (
        "Ten balls a game, 1 for each that is caught, -1 for each that is not: the return is 10 at best.",
        "Training plays on from here by itself; a score is that of further games, whose seeds are others.",
        "The return says that a model learned to be where the ball will be, and nothing of Atari.",
    ),
    "a return of -3.4, from any moves",
    "steps",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Random play of `catch`; `settings` counts steps."""
    write_replay(folder, CATCH, settings.train, settings.evaluation, settings.side, settings.seed)
    progress(settings.train + settings.evaluation, settings.train + settings.evaluation)


FORMATS.add("replay", DataFormat("replay", ReplayFolder, make_mini))
