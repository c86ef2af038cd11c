"""What is wrong with a tensor, where its values say so.

Each test supposes one kind of fault, works out from the right values what it would give, and holds only where that is
what came out. What no test explains gets no name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from convert.graph import Array
from convert.noise import LIMIT, Grid, by_channel

LISTED = 4  # channels named in a sentence
BORDER = 2  # widest border that is looked at, in pixels
MOST_AXES = 5  # of which all orders are tried
MOST_CHANNELS = 512  # that are matched with each other
FEWEST = 4  # values that a factor and a constant are read from
SAME_FACTOR = 0.05  # relative spread of the channels' factors that still is one factor


@dataclass(frozen=True, slots=True)
class Case:
    """A wrong tensor.

    Attributes:
        wanted: Right values, batch axis first.
        got: What came out; of another shape where that is the fault.
        noise: Error that each channel may have (root mean square), (C,).
        grid: On which `got` lies.
    """

    wanted: Array
    got: Array
    noise: Array
    grid: Grid

    def explained_by(self, supposed: Array, where: Array | None = None) -> bool:
        """Whether a supposed result is what came out, but for noise.

        Args:
            where: Mask of the values that the supposition is about; all of them by default.
        """
        off = self.grid.clip(supposed) - self.got
        if where is not None:
            if where.mean() < 0.01:
                return False  # too few to say
            off = np.where(where, off, 0)
        return bool((np.sqrt(by_channel(off**2)) <= LIMIT * self.noise).all())

    def bad_channels(self) -> list[int]:
        """Channels whose error is more than noise."""
        off = np.sqrt(by_channel((self.grid.clip(self.wanted) - self.got) ** 2))
        return [int(i) for i in np.flatnonzero(off > LIMIT * self.noise)]


def name_symptom(case: Case) -> str:
    """Name the kind of fault; empty where no test holds."""
    same_shape = case.got.shape == case.wanted.shape
    if same_shape and not case.bad_channels():
        return ""
    for test in _TESTS if same_shape else (_reordered,):
        found = next(test(case), "")
        if found:
            return found
    return ""


def _constant(case: Case) -> Iterator[str]:
    if case.got.std() == 0 and case.wanted.std() > 0:
        yield f"every value is {float(case.got.flat[0]):.4g}"


def _shifted_by_constant(case: Case) -> Iterator[str]:
    inside = _inside(case, case.wanted)
    if inside.any():
        offset = float((case.got - case.wanted)[inside].mean())
        if abs(offset) > case.noise.max() and case.explained_by(case.wanted + offset, inside):
            yield f"shifted by {offset:.4g}"


def _scaled(case: Case) -> Iterator[str]:
    """One factor for all channels, or one for each wrong channel, a constant added or not."""
    bad = case.bad_channels()
    if case.wanted.ndim < 2 or not bad:
        return
    inside = _inside(case, case.wanted)
    fitted = _fitted(case, case.wanted, inside, bad)
    if fitted is None or not case.explained_by(fitted[0], inside):
        return
    values = np.array(fitted[1])
    if np.allclose(values, 1, atol=SAME_FACTOR):
        yield f"{_channels(bad)} shifted by a constant"
    elif values.std() <= SAME_FACTOR * abs(values.mean()):
        # Channels that hardly vary show no factor: most of them are enough for "all"
        whole = len(bad) > case.wanted.shape[1] / 2
        yield f"{'' if whole else _channels(bad) + ' '}scaled by {values.mean():.3g}"
    else:
        yield f"{_channels(bad)} scaled, each by its own factor ({values.min():.3g} to {values.max():.3g})"


def _permuted(case: Case) -> Iterator[str]:
    """Channels in each other's place; their bias or scale may have stayed behind."""
    bad = case.bad_channels()
    if case.wanted.ndim < 2 or not 2 <= len(bad) <= MOST_CHANNELS:
        return
    held = case.grid.clip(case.wanted)
    wanted, got = (
        _standardised(np.moveaxis(a, 1, 0)[bad].reshape(len(bad), -1)) for a in (held, case.got)
    )  # (C, rest)
    source = [bad[int(i)] for i in (got @ wanted.T).argmax(axis=1)]
    if sorted(source) != bad or source == bad:
        return
    supposed = case.wanted.astype(np.float64)
    supposed[:, bad] = supposed[:, source]
    exact = case.explained_by(supposed)
    inside = _inside(case, supposed)
    if not exact:
        fitted = _fitted(case, supposed, inside, bad)
        if fitted is None or not case.explained_by(fitted[0], inside):
            return
    how = "swapped" if len(bad) == 2 else "permuted"
    yield f"{_channels(bad)} {how}{'' if exact else ', but not their bias or scale'}"


def _standardised(rows: Array) -> Array:
    """Rows of mean 0 and length 1."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-30))


def _fitted(case: Case, supposed: Array, inside: Array, channels: list[int]) -> tuple[Array, list[float]] | None:
    """`supposed` with a factor and a constant for each of some channels that bring it nearest to what came out."""
    fitted, factors = supposed.astype(np.float64), []
    for channel in channels:
        x, y = (a[:, channel][inside[:, channel]].astype(np.float64) for a in (supposed, case.got))
        if x.size < FEWEST or x.std() <= case.noise[channel]:
            return None
        factor, constant = np.polyfit(x, y, 1)
        fitted[:, channel] = factor * fitted[:, channel] + constant
        factors.append(float(factor))
    return fitted, factors


def _reordered(case: Case) -> Iterator[str]:
    axes = range(1, case.wanted.ndim)
    if not 2 <= len(axes) < MOST_AXES or case.got.size != case.wanted.size:
        return
    for order in list(permutations(axes))[1:]:  # the first is the right one
        supposed = case.wanted.transpose(0, *order)
        if supposed.shape != case.got.shape:
            continue
        off = np.sqrt(np.mean((case.grid.clip(supposed) - case.got) ** 2))
        if off <= LIMIT * np.sqrt(np.mean(case.noise**2)):
            yield f"transposed: its axes lie as {(0, *order)}"


def _moved(case: Case) -> Iterator[str]:
    if case.wanted.ndim != 4:
        return
    for down in range(-BORDER, BORDER + 1):
        for right in range(-BORDER, BORDER + 1):
            away = _away_from_border(case.wanted.shape, max(abs(down), abs(right)))
            if (down or right) and case.explained_by(np.roll(case.wanted, (down, right), (2, 3)), away):
                yield f"moved by {(down, right)} pixels (down, right): padding"


def _border(case: Case) -> Iterator[str]:
    if case.wanted.ndim == 4:
        for width in range(1, BORDER + 1):
            if case.explained_by(case.wanted, _away_from_border(case.wanted.shape, width)):
                yield f"differs at the border only, {width} wide: padding"


def _inside(case: Case, supposed: Array) -> Array:
    """Where neither side lies at an end, be it of the grid or of a Relu: (N, C, ...) bool."""
    low = max(case.wanted.min(), case.grid.low)
    high = min(case.wanted.max(), case.grid.high)
    return np.asarray((supposed > low) & (supposed < high) & (case.got > low) & (case.got < high))


def _away_from_border(shape: tuple[int, ...], width: int) -> Array:
    mask = np.zeros(shape, np.bool_)
    mask[..., width : shape[2] - width, width : shape[3] - width] = True
    return mask


def _channels(names: list[int]) -> str:
    if len(names) == 1:
        return f"channel {names[0]}"
    if len(names) > LISTED:
        return f"{len(names)} channels"
    return f"channels {', '.join(map(str, names[:-1]))} and {names[-1]}"


_TESTS: tuple[Callable[[Case], Iterator[str]], ...] = (
    _constant,
    _permuted,
    _shifted_by_constant,
    _scaled,
    _reordered,
    _border,
    _moved,
)
