"""Play in games: what is recorded, drawn and scored, that it repeats, and what is said of a broken folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.frames import FrameStack
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.environments import open_environment
from edge_kit.data.mini.catch import BALLS, Catch
from edge_kit.data.play import Played
from edge_kit.data.replay import Exploration, ReplayFolder, make_mini, write_replay

PLAY = Exploration(samples=64, steps=80, capacity=500, start=1.0, fall=0.01)


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def opened(root: Path, play: Exploration = PLAY, side: int = 24) -> ReplayFolder:
    return ReplayFolder(root, FrameStack(side), OpenOptions("mini-replay", False, 0, play))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_mini(tmp_path / "play", MiniSettings(train=200, evaluation=60, side=24), ignore)
    return tmp_path / "play"


def idle(histories: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    return np.zeros(len(histories), np.int64)


def track(histories: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Follow the ball, the brightest thing, with the paddle."""
    moves = []
    for history in histories:
        ball, paddle = (np.flatnonzero((history[-1] == grey).any(axis=0)).mean() for grey in (235, 150))
        moves.append(0 if abs(ball - paddle) < 1.5 else 1 if ball < paddle else 2)
    return np.array(moves)


def test_whoever_follows_the_ball_catches_all_and_who_stands_still_misses_most(folder: Path) -> None:
    dataset = opened(folder)
    assert dataset.score(track).tolist() == [BALLS] * 30
    assert -BALLS < dataset.score(idle).mean() < 0
    assert dataset.labels == ("stay", "left", "right")
    assert dataset.sizes == {"num_actions": 3, "side": 24}


def test_episodes_to_score_on_are_the_same_every_time(folder: Path) -> None:
    assert np.array_equal(opened(folder).score(idle), opened(folder).score(idle))


def test_catch_counts_a_ball_a_life_and_ends_after_ten() -> None:
    game = Catch(24)
    first = game.reset(5)
    assert np.array_equal(game.reset(5), first)
    moments = [game.step(0) for _ in range(7 * BALLS)]
    assert [moment.lost for moment in moments[:7]] == [False] * 6 + [True]
    assert [moment.ended for moment in moments] == [False] * (7 * BALLS - 1) + [True]
    assert {moment.reward for moment in moments if moment.lost} == {1.0, -1.0}
    assert all(moment.reward == 0 for moment in moments if not moment.lost)


def test_a_stack_never_reaches_into_another_game() -> None:
    pictures = np.arange(6, dtype=np.uint8).reshape(6, 1, 1)
    first = np.array([True, False, False, True, False, False])
    done = np.array([False, False, True, False, False, False])
    play = Played(pictures, np.zeros(6, np.int64), np.zeros(6, np.float32), done, first)
    assert [one.item() for one in play.history(2, 4)] == [0, 1, 2]
    assert [one.item() for one in play.history(4, 4)] == [3, 4]
    assert [one.item() for one in play.history(5, 2)] == [4, 5]
    assert play.usable().tolist() == [0, 1, 2, 3, 4], "of the last step nobody knows what came next"
    assert [one.item() for one in play.newest(2).history(1, 4)] == [4, 5]
    assert not play.first[4], "what is cut off stays as it was"


def test_what_is_drawn_for_training_is_what_came_of_each_action(folder: Path) -> None:
    dataset = opened(folder)
    batches = list(dataset.train_batches(16, 0, 3))
    assert len(batches) == 4
    rewards = np.concatenate([batch["reward"] for batch in batches])
    done = np.concatenate([batch["done"] for batch in batches])
    assert set(rewards[done == 1]) <= {1.0, -1.0}
    assert not rewards[done == 0].any()
    for batch in batches:
        going_on = batch["done"] == 0
        np.testing.assert_array_equal(batch["next"][going_on, :3], batch["frames"][going_on, 1:])
    (rest,) = dataset.train_batches(16, 0, 3, start=3)
    assert np.array_equal(rest["next"], batches[3]["next"])
    assert not np.array_equal(next(iter(dataset.train_batches(16, 1, 3)))["frames"], batches[0]["frames"])


def test_what_a_network_plays_is_remembered_and_read_again_by_a_run_that_goes_on(folder: Path, tmp_path: Path) -> None:
    first, second = opened(folder), opened(folder)
    for epoch in (0, 1):
        first.explore(track, epoch, 7, tmp_path)

    def never(histories: object) -> np.ndarray:
        raise AssertionError("it was played already")

    second.explore(never, 1, 7, tmp_path)
    for one, other in zip(first.train_batches(16, 1, 7), second.train_batches(16, 1, 7), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert len(first._memory) == 200 + 2 * 80
    first.explore(track, 7, 7, tmp_path)
    assert len(first._memory) == 500, "no more is remembered"


def test_exploring_falls_from_all_at_random_to_the_floor_of_published_steps() -> None:
    published = Exploration()
    assert published.epsilon(0) == published.epsilon(100_000) == 1
    assert published.epsilon(600_000) == pytest.approx(0.5 + 0.5 * 0.01)
    assert published.epsilon(10**7) == pytest.approx(0.1 + 0.9 * 0.01)


def test_test_and_training_play_are_of_other_games(folder: Path) -> None:
    """Single pictures of so small a game may be alike; four in a row are not."""
    dataset = opened(folder)
    samples = []
    for play in (dataset._recorded, dataset._test):
        stacks = [play.history(place, 4) for place in range(len(play))]
        samples.append({np.stack(stack).tobytes() for stack in stacks if len(stack) == 4})
    assert len(samples[1]) > 30
    assert not samples[0] & samples[1]


def test_the_digest_changes_with_the_play_and_with_the_size(folder: Path) -> None:
    before = opened(folder).digest()
    assert opened(folder).digest() == before
    assert opened(folder, side=20).digest() != before
    write_replay(folder, "catch", 200, 61, 24)
    assert opened(folder).digest() != before


def changed(name: str, value: np.ndarray) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        with np.load(root / "test.npz") as stored:
            arrays = {key: stored[key] for key in stored.files}
        np.savez(root / "test.npz", **{**arrays, name: value})

    return write


def spoil(name: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(text)  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (spoil("environment.json", "{"), "is not {'environment': NAME, 'side': PIXELS}"),
        (spoil("environment.json", '{"environment": "catch"}'), "('side'); mend it"),
        (spoil("test.npz", "no"), "cannot be read as .npz"),
        (lambda root: (root / "train.npz").unlink(), "has no train.npz; make one: python -c"),
        (lambda root: np.savez(root / "test.npz", a=np.zeros(2)), "test.npz' has no array 'picture'"),
        (changed("action", np.full(60, 3)), "test.npz' holds action 3; the game has 3; record it again"),
        (changed("action", np.full(60, -1)), "holds action -1"),
        (changed("action", np.zeros(59, np.int64)), "holds 59 of 'action' and 60 pictures"),
        (changed("reward", np.full(60, np.nan, np.float32)), "holds a reward that is not finite"),
        (changed("picture", np.zeros((60, 24, 24), np.float32)), "holds 'picture' of shape (60, 24, 24) float32"),
        (changed("first", np.zeros(60, bool)), "does not begin with a first step"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_folder_is_one_line_that_names_the_file(change: Callable[[Path], None], word: str, folder: Path) -> None:
    change(folder)
    with pytest.raises(BadData) as fault:
        opened(folder)
    assert word in str(fault.value)
    assert "\n" not in str(fault.value)


def test_an_unknown_game_suggests_the_nearest(folder: Path) -> None:
    (folder / "environment.json").write_text(json.dumps({"environment": "Pung", "side": 24}))
    with pytest.raises(UsageError, match="unknown game 'Pung'; did you mean 'Pong'"):
        opened(folder)


def test_atari_is_the_published_setting() -> None:
    """84 x 84 grey pictures, the minimal actions, episodes that repeat; Pong is lost by whoever stands still."""
    game = open_environment("Pong")
    assert game.actions == ("noop", "fire", "right", "left", "rightfire", "leftfire")
    first = game.reset(3)
    assert (first.shape, first.dtype) == ((84, 84), np.uint8)
    moments = [game.step(0) for _ in range(120)]
    assert sum(moment.reward for moment in moments) < 0
    assert np.array_equal(game.reset(3), first)
    assert [game.step(0).reward for _ in range(120)] == [moment.reward for moment in moments]


def test_a_lost_life_ends_an_episode_for_training_only() -> None:
    game = open_environment("Breakout")
    game.reset(0)
    moments = [game.step(1) for _ in range(80)]
    assert any(moment.lost for moment in moments)
    assert not any(moment.ended for moment in moments)


def test_what_is_saved_is_what_was_played(folder: Path) -> None:
    play = opened(folder)._test
    play.save(folder / "again.npz")
    with np.load(folder / "again.npz") as stored:
        assert all(np.array_equal(stored[field.name], getattr(play, field.name)) for field in fields(play))
