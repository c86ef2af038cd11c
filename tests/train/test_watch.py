"""Curves and previews of a run, and a run that is none the worse for them."""

import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import MissingDependency
from edge_kit.tasks import TASKS
from edge_kit.train.trainer import fit
from edge_kit.train.watch import Scalars, Watch
from tests.train.test_trainer import RECIPE, Stripes, ignore, small_net, weights_of


def read_scalars(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Read an event file: length, checksum, document, checksum, again and again."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]
        for value in event.summary.value:
            yield value.tag, event.step, value.simple_value


def test_curves_hold_every_step_and_a_metric_at_the_end_of_each_epoch(tmp_path: Path) -> None:
    scalars, losses = Scalars(tmp_path / "logs"), []
    watch = Watch(lambda step: {"top1": 50.0 + step}, scalars=scalars)
    fit(small_net(), TASKS.get("classify"), Stripes(), RECIPE, tmp_path, ignore, watch=watch, curve=losses)
    watch.close()
    curves: dict[str, dict[int, float]] = {}
    for tag, step, value in read_scalars(tmp_path / "logs"):
        curves.setdefault(tag, {})[step] = value
    assert list(curves["train/loss"]) == list(range(1, 37))
    np.testing.assert_allclose(list(curves["train/loss"].values()), losses, rtol=1e-6)
    rates = [RECIPE.rate_at(step, 36) for step in range(36)]
    np.testing.assert_allclose(list(curves["train/rate"].values()), rates, rtol=1e-6)
    assert min(curves["train/samples_per_second"].values()) > 0
    assert curves["evaluation/top1"] == {12: 62.0, 24: 74.0, 36: 86.0}


def test_looking_on_changes_nothing(tmp_path: Path) -> None:
    alone, watched, looks = small_net(), small_net(), []
    fit(alone, TASKS.get("classify"), Stripes(), RECIPE, tmp_path, ignore)

    def look(step: int) -> dict[str, float]:
        looks.append((step, watched.training))
        return {}

    fit(watched, TASKS.get("classify"), Stripes(), RECIPE, tmp_path, ignore, watch=Watch(look, every=10))
    assert looks == [(10, False), (20, False), (30, False)]
    wanted, got = weights_of(alone), weights_of(watched)
    assert all(np.array_equal(wanted[name], got[name]) for name in wanted)


def test_what_is_looked_at_is_the_average_where_that_is_the_result(tmp_path: Path) -> None:
    net, seen = small_net(), []
    watch = Watch(lambda step: seen.append(net[0].weight.numpy()) or {}, every=36)
    fit(net, TASKS.get("classify"), Stripes(), replace(RECIPE, ema=0.9), tmp_path, ignore, watch=watch)
    np.testing.assert_array_equal(seen[0], net[0].weight.numpy())


def test_without_the_package_there_are_no_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(
        MissingDependency, match=r"--logs needs the tensorboardX package: pip install 'edge-kit\[logs\]'"
    ):
        Scalars(tmp_path)
