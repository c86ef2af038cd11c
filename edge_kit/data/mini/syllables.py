"""Mini data in the format of `kaldi_frames`: generated syllables.

No recorded speech comes with a package that is installed, so this is not real speech: a buzz or a hiss goes through
resonances at the formants of five vowels and three consonants, with pauses between, and noise lies over it. Features
are computed from that sound as from any other. Voices differ in pitch and in the length of the vocal tract; those of
the test set are not those of the training set. Formants: Peterson and Barney 1952, rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.progress import Progress
from edge_kit.core.speech import DEPTH, HOP, RATE, WINDOW, mel_bands, slopes
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings

REPORT_EVERY = 16
SECONDS = 0.6  # of an utterance
PIECE = 160  # samples that a sound is kept still for
FEATURES, LABELS, NORMALISATION, STATES = "feature", "label", "global_mean_var", "states.txt"


@dataclass(frozen=True, slots=True)
class Sound:
    """One of the sounds that syllables are made of.

    Attributes:
        formants: Centre and width of each resonance, in hertz.
        buzz: Strength of the voice.
        hiss: Strength of noise that goes through the same resonances.
    """

    formants: tuple[tuple[float, float], ...]
    buzz: float
    hiss: float


SOUNDS = {
    "sil": Sound((), 0.0, 0.0),
    "a": Sound(((730, 90), (1090, 110), (2440, 170)), 1.0, 0.01),
    "e": Sound(((530, 60), (1840, 100), (2480, 120)), 1.0, 0.01),
    "i": Sound(((270, 60), (2290, 100), (3010, 120)), 1.0, 0.01),
    "o": Sound(((570, 80), (840, 90), (2410, 150)), 1.0, 0.01),
    "u": Sound(((300, 60), (870, 90), (2240, 140)), 1.0, 0.01),
    "m": Sound(((250, 60), (1200, 300), (2200, 300)), 0.35, 0.0),
    "s": Sound(((5500, 1500), (7000, 1500)), 0.0, 0.35),
    "h": Sound(((1800, 600), (3200, 800)), 0.0, 0.12),
}
NAMES = tuple(SOUNDS)
VOWELS, CONSONANTS = "aeiou", "msh"
VOICES = {  # pitch in hertz, and what formants are multiplied by
    "train": ((95.0, 0.92), (115.0, 0.98), (140.0, 1.03), (190.0, 1.12), (225.0, 1.2)),
    "test": ((105.0, 0.95), (165.0, 1.07), (210.0, 1.16)),
}


CARD = Card(
    "Generated syllables in DeepASR's format",
    "This is no recorded speech and no part of AISHELL, but a buzz or a hiss through resonances: five vowels, three "
    "consonants, pauses, and noise over all of it.",
    (
        "Voices of the test set differ from those of the training set in pitch and in the length of the vocal tract.",
        f"A state is a sound; there are {len(NAMES)}, not 3,040 tied ones of context-dependent phones.",
        "Accuracy on it says that a model learned to tell sounds apart, and nothing of AISHELL.",
    ),
    f"{100 / len(NAMES):.0f} % of frames, from any of {len(NAMES)} states",
    f"utterances of {SECONDS} seconds",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all."""
    folder.mkdir(parents=True, exist_ok=True)
    total, done = settings.train + settings.evaluation, 0
    seen: list[NDArray[np.float32]] = []
    for split, count in (("train", settings.train), ("test", settings.evaluation)):
        utterances = []
        for i in range(count):
            sound, states = utterance(split, np.random.default_rng([settings.seed, split == "test", i]))
            utterances.append((mel_bands(sound), states))
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)
        _write_split(folder, split, utterances)
        if split == "train":
            seen = [_with_slopes(bands) for bands, _ in utterances]
    every = np.concatenate(seen).astype(np.float64)
    lines = [f"{mean:.9g} {variance:.9g}\n" for mean, variance in zip(every.mean(0), every.var(0), strict=True)]
    assert len(lines) == DEPTH
    (folder / NORMALISATION).write_text("".join(lines))
    (folder / STATES).write_text("".join(f"{name}\n" for name in NAMES))


def utterance(split: str, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Some syllables in one voice.

    Returns:
        Sound (samples,) in -1..1, and the place in `NAMES` of what is said in each of its frames.
    """
    pitch, tract = VOICES[split][rng.integers(len(VOICES[split]))]
    pieces = round(SECONDS * RATE / PIECE)
    said: list[int] = [0] * int(rng.integers(3, 8))
    while len(said) < pieces:
        consonant, vowel = (NAMES.index(_one(letters, rng)) for letters in (CONSONANTS, VOWELS))
        said += [consonant] * int(rng.integers(5, 9)) + [vowel] * int(rng.integers(8, 15))
        said += [0] * int(rng.integers(3, 8)) * int(rng.integers(2))
    said = said[:pieces]
    sound = _spoken(said, float(pitch * rng.uniform(0.95, 1.05)), float(tract), rng)
    frames = 1 + (len(sound) - WINDOW) // HOP
    middles = (np.arange(frames) * HOP + WINDOW // 2) // PIECE
    return sound, np.array(said, np.uint32)[middles]


def _spoken(said: list[int], pitch: float, tract: float, rng: np.random.Generator) -> NDArray[np.float32]:
    count = len(said) * PIECE
    turns = np.cumsum(pitch * (1 + 0.03 * np.sin(np.arange(count) * 2 * np.pi * 3 / RATE))) / RATE
    buzz, hiss = np.diff(np.floor(turns), prepend=0.0), rng.normal(0, 0.3, count)
    sound = np.zeros(count)
    loud = _eased([float(bool(one)) for one in said])
    for i in sorted(set(said) - {0}):
        one = SOUNDS[NAMES[i]]
        share = _eased([float(now == i) for now in said])
        source = one.buzz * buzz + one.hiss * hiss
        sound += share * _through(source, [(hertz * tract, width) for hertz, width in one.formants])
    sound = sound / max(float(np.abs(sound).max()), 1e-9) * rng.uniform(0.3, 0.9) * (0.2 + 0.8 * loud)
    return np.asarray(sound + rng.normal(0, 0.003, count), np.float32)


def _eased(pieces: list[float]) -> NDArray[np.float64]:
    """One value a sample, with slopes of 10 ms where it changes."""
    steps = np.repeat(pieces, PIECE)
    return np.convolve(steps, np.full(PIECE, 1 / PIECE), mode="same")


def _through(source: NDArray[np.float64], formants: list[tuple[float, float]]) -> NDArray[np.float64]:
    """A source through resonances side by side, as a Lorentz curve lets each frequency through."""
    spectrum = np.fft.rfft(source)
    hertz = np.fft.rfftfreq(len(source), 1 / RATE)
    gain = sum(1 / (1 + ((hertz - centre) / width) ** 2) / (1 + k) for k, (centre, width) in enumerate(formants))
    return np.fft.irfft(spectrum * gain, len(source))


def _with_slopes(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    first = slopes(bands)
    return np.concatenate([bands, first, slopes(first)], axis=1)


def _write_split(folder: Path, split: str, utterances: list[tuple[NDArray[np.float32], NDArray[np.uint32]]]) -> None:
    for kind, place, dtype in ((FEATURES, 0, "<f4"), (LABELS, 1, "<u4")):
        data, described, start = b"", [f"{split} {len(utterances)}\n"], 0
        for i, pair in enumerate(utterances):
            part = np.ascontiguousarray(pair[place], dtype)
            size = f" {part.shape[1]}" if part.ndim == 2 else ""
            described.append(f"{split}-{i:04d} {i} {start} {part.nbytes} {len(part)}{size}\n")
            data, start = data + part.tobytes(), start + part.nbytes
        (folder / f"{split}_{kind}.bin").write_bytes(data)
        (folder / f"{split}_{kind}.desc").write_text("".join(described))
        (folder / f"{split}_{kind}.lst").write_text(f"{split}_{kind}.bin\n{split}_{kind}.desc\n")


def _one(letters: str, rng: np.random.Generator) -> str:
    return letters[int(rng.integers(len(letters)))]
