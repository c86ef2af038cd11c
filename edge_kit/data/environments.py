"""Games by name: `catch`, which needs nothing, and those of the Arcade Learning Environment.

Of the latter frame skip, the larger of the last two pictures, grey, 84 x 84 and idle steps at the start are
Gymnasium's `AtariPreprocessing`; no action is sticky. FIRE is pressed after a reset where the game has it.

Source: PaddlePaddle/models develop-align-v1.7.0, legacy/PaddleRL/DeepQNetwork.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_kit.core.errors import MissingDependency, unknown_name
from edge_kit.data.mini.catch import Catch
from edge_kit.data.play import Environment, Moment, Picture

CATCH = "catch"
MOST_STEPS = 60_000 // 4  # of an episode: raw frames over frames a step
SIDE = 84
FIXED = "NoFrameskip-v4"  # the variant whose actions are never repeated by chance


def open_environment(name: str, side: int = SIDE) -> Environment:
    """A game, not yet begun.

    Args:
        name: `catch`, or one of ALE's by its name there: `Pong`.
        side: Of the pictures, in pixels.

    Raises:
        MissingDependency: Gymnasium or ale-py is not installed.
        UsageError: There is no such game.
    """
    return Catch(side) if name == CATCH else Atari(name, side)


class Atari:
    """One of ALE's games; see `Environment` for the methods."""

    def __init__(self, game: str, side: int = SIDE) -> None:
        try:
            import ale_py
            import gymnasium
            from gymnasium.wrappers import AtariPreprocessing
        except ImportError as error:
            raise MissingDependency(f"game {game!r}", str(error.name), "atari") from None
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # it greets on stderr
        gymnasium.register_envs(ale_py)
        known = [name.removesuffix(FIXED) for name in gymnasium.registry if name.endswith(FIXED)]
        if game not in known:
            raise unknown_name("game", game, [*known, CATCH])
        bare = gymnasium.make(f"{game}{FIXED}")
        self._game: Any = AtariPreprocessing(bare, noop_max=30, frame_skip=4, screen_size=side)
        self.actions = tuple(str(name).lower() for name in bare.unwrapped.get_action_meanings())
        self._lives = self._steps = 0

    def reset(self, seed: int) -> Picture:
        picture, told = self._game.reset(seed=seed)
        if "fire" in self.actions:
            picture, _, _, _, told = self._game.step(self.actions.index("fire"))
        self._lives, self._steps = told["lives"], 0
        return np.asarray(picture, np.uint8)

    def step(self, action: int) -> Moment:
        picture, reward, over, cut, told = self._game.step(action)
        self._steps += 1
        lost, self._lives = told["lives"] < self._lives, told["lives"]
        ended = bool(over or cut or self._steps >= MOST_STEPS)
        return Moment(np.asarray(picture, np.uint8), float(reward), bool(lost), ended)
