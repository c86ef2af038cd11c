"""A game as a source of pictures: it waits for each action."""

from __future__ import annotations

import math
from queue import SimpleQueue

import numpy as np

from edge_kit.camera.frame import Shot
from edge_kit.core.frames import FrameStack
from edge_kit.data.environments import open_environment

FPS = 10.0


class Table:
    """The pictures of one game after the other; see `Source` for the methods.

    Attributes:
        points: Of the game that is on.
        seen: Its last pictures, the newest last, (H, W) uint8.
        actions: What is done next; whoever plays puts it here, one a picture. None ends it all.
    """

    live = False

    def __init__(self, prepare: FrameStack, frames: int) -> None:
        self.name, self.fps, self.unread, self.notes = prepare.game, FPS, 0, list[str]()
        self._game, self._stack = open_environment(prepare.game, prepare.side), prepare.stack
        self.actions: SimpleQueue[int | None] = SimpleQueue()
        self.points, self._frames, self._place, self._episode = 0.0, frames or math.inf, 0, 0
        self.seen = [self._game.reset(self._episode)]

    def read(self) -> Shot | None:
        if self._place:
            action = self.actions.get()
            if action is None or self._place >= self._frames:
                return None
            self._step(action)
        self._place += 1
        return Shot(np.repeat(self.seen[-1][..., None], 3, axis=2), (self._place - 1) / FPS)  # (H, W) -> (H, W, 3)

    def _step(self, action: int) -> None:
        moment = self._game.step(action)
        self.points += moment.reward
        self.seen = [*self.seen[1 - self._stack :], moment.picture]
        if moment.ended:
            self._episode += 1
            self.points, self.seen = 0.0, [self._game.reset(self._episode)]

    def stop(self) -> None:
        self.actions.put(None)

    def close(self) -> None:
        """Nothing is open."""
