"""Playing: games in step with each other, what a network sees of each, and what is kept of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData
from edge_kit.core.files import write_atomic
from edge_kit.core.frames import FrameStack
from edge_kit.core.tensors import Array

Picture = NDArray[np.uint8]

Choose = Callable[[Sequence[Sequence[Picture]]], Array]
"""What to do, (N,) integers, in games whose pictures so far are these."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What came of one action.

    Attributes:
        picture: (H, W) uint8, grey.
        reward: As the game counts it.
        lost: A life is over; training takes it for the end of an episode.
        ended: The episode is over; the game must be reset.
    """

    picture: Picture
    reward: float
    lost: bool
    ended: bool


class Environment(Protocol):
    """One game.

    Attributes:
        actions: Readable names of what can be done.
    """

    actions: tuple[str, ...]

    def reset(self, seed: int) -> Picture:
        """Begin an episode; the same for the same seed and actions."""
        ...

    def step(self, action: int) -> Moment:
        """Do something."""
        ...


@dataclass(frozen=True, slots=True)
class Played:
    """Steps of games one after the other, T in all.

    Attributes:
        picture: (T, H, W) uint8, what was seen when `action` was chosen.
        action: (T,) int64.
        reward: (T,) float32, of that action.
        done: (T,) bool, whether a life or the episode ended with it.
        first: (T,) bool, whether nothing before belongs to the same game.
    """

    picture: Picture
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    done: NDArray[np.bool_]
    first: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.action)

    def save(self, path: Path) -> None:
        """Write a `.npz` file that is whole or not there."""
        packed = io.BytesIO()
        np.savez_compressed(packed, **{field.name: getattr(self, field.name) for field in fields(self)})
        write_atomic(path, packed.getvalue())

    @classmethod
    def of(cls, arrays: dict[str, Array], actions: int) -> Played:
        """Check what a file holds.

        Raises:
            ValueError: It is no play in a game of so many actions; says why.
        """
        kinds = {"picture": "u1", "action": "i8", "reward": "f4", "done": "b1", "first": "b1"}
        for name, kind in kinds.items():
            array = arrays.get(name)
            if array is None:
                raise ValueError(f"has no array {name!r}; a play holds {', '.join(kinds)}")
            if array.dtype.str[1:] != kind or array.ndim != (3 if name == "picture" else 1) or 0 in array.shape:
                raise ValueError(f"holds {name!r} of shape {array.shape} {array.dtype}")
            if len(array) != len(arrays["picture"]):
                raise ValueError(f"holds {len(array)} of {name!r} and {len(arrays['picture'])} pictures")
        least, most = int(arrays["action"].min()), int(arrays["action"].max())
        if least < 0 or most >= actions:
            raise ValueError(f"holds action {least if least < 0 else most}; the game has {actions}")
        if not np.isfinite(arrays["reward"]).all():
            raise ValueError("holds a reward that is not finite")
        if not arrays["first"][0]:
            raise ValueError("does not begin with a first step")
        return cls(*(arrays[name] for name in kinds))

    def joined(self, *others: Played) -> Played:
        """These steps and behind them those of others."""
        every = (self, *others)
        return Played(*(np.concatenate([getattr(one, field.name) for one in every]) for field in fields(self)))

    def newest(self, steps: int) -> Played:
        """The last steps at most, whose first one then begins a game."""
        first = self.first[-steps:].copy()
        first[0] = True
        part = slice(-steps, None)
        return Played(self.picture[part], self.action[part], self.reward[part], self.done[part], first)

    def usable(self) -> NDArray[np.int64]:
        """Places of the steps that have a next one, or need none because they ended something."""
        follows = np.append(~self.first[1:], False)
        return np.flatnonzero(self.done | follows)

    def history(self, place: int, stack: int) -> list[Picture]:
        """The last pictures of one game up to a step, at most `stack`."""
        begin = place
        while begin > place - stack + 1 and not self.first[begin]:
            begin -= 1
        return list(self.picture[begin : place + 1])


class _Game:
    """One game and what has been seen of it."""

    def __init__(self, environment: Environment, prepare: FrameStack, rng: np.random.Generator) -> None:
        self.environment, self._prepare, self.rng = environment, prepare, rng
        self.begin()

    def begin(self) -> None:
        self.fresh = True
        self.seen = [self._prepare.fit(self.environment.reset(int(self.rng.integers(2**31))))]

    def act(self, action: int) -> Moment:
        moment = self.environment.step(action)
        self.fresh = False
        self.seen = [*self.seen, self._prepare.fit(moment.picture)][-self._prepare.stack :]
        return moment


def record(
    make: Callable[[], Environment],
    prepare: FrameStack,
    choose: Choose,
    epsilon: Callable[[int], float],
    steps: int,
    seed: Sequence[int],
    games: int = 8,
) -> Played:
    """Play some games in step with each other and keep all of it.

    Args:
        epsilon: Share of actions drawn at random instead of chosen, after so many steps.
        steps: In all, rounded up to as many for every game.
        seed: Of all that is random.
    """
    tables = [_Game(make(), prepare, np.random.default_rng([*seed, i])) for i in range(games)]
    rows: list[list[tuple[Picture, int, float, bool, bool]]] = [[] for _ in tables]
    for done in range(0, steps, games):
        wanted = choose([game.seen for game in tables])
        for game, row, best in zip(tables, rows, wanted, strict=True):
            first, seen = game.fresh, game.seen[-1]
            action = _perhaps_random(int(best), epsilon(done), game)
            moment = game.act(action)
            row.append((seen, action, moment.reward, moment.lost or moment.ended, first or not row))
            if moment.ended:
                game.begin()
    pictures, actions, rewards, over, begun = zip(*(step for row in rows for step in row), strict=True)
    return Played(
        np.stack(pictures),
        np.array(actions, np.int64),
        np.array(rewards, np.float32),
        np.array(over, bool),
        np.array(begun, bool),
    )


def returns(
    make: Callable[[], Environment],
    prepare: FrameStack,
    choose: Choose,
    epsilon: float,
    episodes: int,
    seed: Sequence[int],
) -> NDArray[np.float64]:
    """The sum of rewards of each of so many episodes, played in step with each other."""
    games = [_Game(make(), prepare, np.random.default_rng([*seed, i])) for i in range(episodes)]
    totals, playing = np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        # Those that are over are shown all the same: some engines take batches of one size only.
        wanted = choose([game.seen for game in games])
        for i in np.flatnonzero(playing):
            moment = games[i].act(_perhaps_random(int(wanted[i]), epsilon, games[i]))
            totals[i] += moment.reward
            playing[i] = not moment.ended
    return totals


def _perhaps_random(best: int, epsilon: float, game: _Game) -> int:
    actions = len(game.environment.actions)
    if not 0 <= best < actions:
        raise BadData(f"the graph chose action {best} of {actions}; it was made for another game")
    return int(game.rng.integers(actions)) if game.rng.random() < epsilon else best
