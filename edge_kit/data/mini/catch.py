"""Catch, a small game of our own: balls fall at a slant, a paddle at the bottom catches them.

It is made for the mini set: what a player must learn is Pong's, to be where the ball will be, and it takes hundreds of
updates instead of millions. A ball caught is 1, one missed -1; an episode is ten balls, each ball a life.
"""

from __future__ import annotations

import numpy as np

from edge_kit.data.play import Moment, Picture

BALLS = 10
# In shares of the picture's side.
BALL, PADDLE, THICK = 0.1, 0.24, 0.07
FALL, SLIDE, SLANT = 0.13, 0.12, 0.06  # a step: the ball down, the paddle, and the ball sideways at most
BLACK, GREY, WHITE = 30, 150, 235


class Catch:
    """See `Environment` for the methods; `side` is that of its pictures, in pixels."""

    actions: tuple[str, ...] = ("stay", "left", "right")

    def __init__(self, side: int) -> None:
        self._side = side
        self._rng = np.random.default_rng(0)
        self._left, self._paddle, self._x, self._y, self._slant = 0, 0.0, 0.0, 0.0, 0.0

    def reset(self, seed: int) -> Picture:
        self._rng = np.random.default_rng(seed)
        self._left, self._paddle = BALLS, float(self._rng.uniform(0, 1 - PADDLE))
        self._drop()
        return self._picture()

    def step(self, action: int) -> Moment:
        self._paddle = float(np.clip(self._paddle + (0.0, -SLIDE, SLIDE)[action], 0, 1 - PADDLE))
        self._x, self._y = self._x + self._slant, self._y + FALL
        if not 0 <= self._x <= 1 - BALL:  # it bounces off a wall
            self._slant = -self._slant
            self._x = float(np.clip(self._x, 0, 1 - BALL))
        landed = self._y + BALL >= 1 - THICK
        caught = self._paddle - BALL < self._x < self._paddle + PADDLE
        if landed:
            self._left -= 1
            self._drop()
        return Moment(self._picture(), (1.0 if caught else -1.0) if landed else 0.0, landed, self._left == 0)

    def _drop(self) -> None:
        self._x, self._y = float(self._rng.uniform(0, 1 - BALL)), 0.0
        self._slant = float(self._rng.uniform(-SLANT, SLANT))

    def _picture(self) -> Picture:
        picture = np.full((self._side, self._side), BLACK, np.uint8)
        self._fill(picture, self._paddle, 1 - THICK, PADDLE, THICK, GREY)
        self._fill(picture, self._x, self._y, BALL, BALL, WHITE)
        return picture

    def _fill(self, picture: Picture, x: float, y: float, width: float, height: float, grey: int) -> None:
        left, top = round(x * self._side), round(y * self._side)
        picture[top : top + round(height * self._side), left : left + round(width * self._side)] = grey
