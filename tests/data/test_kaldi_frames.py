"""Labelled frames on disk: what is read, what the mini set is, and what is said of a broken folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.speech import AcousticPreprocess, mel_bands, slopes
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.kaldi_frames import SpeechFolder
from edge_kit.data.mini.syllables import NAMES, VOICES, make_mini, utterance

CHUNK = AcousticPreprocess(8, (5, 512), (5, 1024))
BANDS = np.random.default_rng(0).normal(0, 1, (13, 80)).astype("<f4")
TOLD = np.arange(13, dtype="<u4") % 4


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def make_folder(root: Path) -> Path:
    """Two utterances a split, of 8 and 5 frames, one behind the other in each file."""
    for split in ("train", "test"):
        for kind, values in (("feature", BANDS), ("label", TOLD)):
            width = values[0].nbytes
            dim = " 80" if kind == "feature" else ""
            (root / f"{split}_{kind}.bin").write_bytes(values.tobytes())
            (root / f"{split}_{kind}.desc").write_text(
                f"{split} 2\na 0 0 {8 * width} 8{dim}\nb 1 {8 * width} {5 * width} 5{dim}\n"
            )
            (root / f"{split}_{kind}.lst").write_text(f"{split}_{kind}.bin\n{split}_{kind}.desc\n")
    (root / "global_mean_var").write_text("".join(f"{k / 100} {1 + k / 240}\n" for k in range(240)))
    (root / "states.txt").write_text("sil\na\ne\ni\n")
    return root


def opened(root: Path) -> SpeechFolder:
    return SpeechFolder(root, CHUNK, OpenOptions("frames", False))


def test_frames_are_normalised_and_labels_come_five_later(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    assert dataset.sizes == {"num_classes": 4}
    (batch,) = dataset.eval_batches(5)
    assert batch["frames"].shape == (2, 2, 8, 3, 11, 80)
    assert (batch["state"].shape, batch["cell"].shape) == ((2, 5, 512), (2, 5, 1024))
    assert batch["label"].reshape(2, 16).tolist() == [
        [-1] * 5 + [0, 1, 2, 3, 0, 1, 2, 3] + [-1] * 3,
        [-1] * 5 + [0, 1, 2, 3, 0] + [-1] * 6,
    ]
    assert batch["label"].dtype == np.int64
    frames = batch["frames"].reshape(2, 16, 3, 11, 80)
    np.testing.assert_allclose(frames[0, 4, 0, 5, 7], (BANDS[4, 7] - 0.07) / np.sqrt(1 + 7 / 240), rtol=1e-5)
    np.testing.assert_allclose(frames[1, 0, 0, 5, 7], (BANDS[8, 7] - 0.07) / np.sqrt(1 + 7 / 240), rtol=1e-5)
    slope = slopes(BANDS[:8])[4, 7]
    np.testing.assert_allclose(frames[0, 4, 1, 5, 7], (slope - 0.87) / np.sqrt(1 + 87 / 240), rtol=1e-5)


def test_what_fills_an_utterance_up_is_behind_all_that_is_asked(tmp_path: Path) -> None:
    """A unidirectional net then gives the same answers, whatever the longest of a batch is."""
    dataset = opened(make_folder(tmp_path))
    both = next(dataset.eval_batches(2))
    alone = list(dataset.eval_batches(1))[1]
    np.testing.assert_array_equal(both["frames"][1, : alone["frames"].shape[1]], alone["frames"][0])


def test_without_names_there_are_as_many_states_as_published(tmp_path: Path) -> None:
    (make_folder(tmp_path) / "states.txt").unlink()
    assert opened(tmp_path).sizes == {"num_classes": 3040}


def test_a_state_that_has_no_name_is_one_line(tmp_path: Path) -> None:
    (make_folder(tmp_path) / "states.txt").write_text("sil\na\ne\n")
    with pytest.raises(BadData, match=r"has state 3 at byte 0 or behind; there are 3, from 0: name all of them in"):
        next(opened(tmp_path).eval_batches(1))


def test_long_utterances_are_cut(tmp_path: Path) -> None:
    make_folder(tmp_path)
    for kind, values in (("feature", np.zeros((1500, 80), "<f4")), ("label", np.zeros(1500, "<u4"))):
        dim = " 80" if kind == "feature" else ""
        (tmp_path / f"train_{kind}.bin").write_bytes(values.tobytes())
        (tmp_path / f"train_{kind}.desc").write_text(f"train 1\na 0 0 {values.nbytes} 1500{dim}\n")
    dataset = opened(tmp_path)
    assert dataset.train_size() == 2
    sizes = [int((batch["label"] >= 0).sum()) for batch in dataset.calibration_batches(2, 1)]
    assert sizes == [1024, 476]


def spoil(name: str, content: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / name).write_text(content)

    return write


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (
            lambda root: (root / "test_label.lst").unlink(),
            "has no test_label.lst; labelled frames are train_feature.lst",
        ),
        (lambda root: (root / "global_mean_var").unlink(), "has no global_mean_var"),
        (
            spoil("train_feature.lst", "train_feature.bin\n"),
            "has 1 lines; a binary file and its description take turns",
        ),
        (spoil("train_feature.lst", "../x\ntrain_feature.desc\n"), "leaves the data folder: '../x'"),
        (spoil("train_feature.lst", "x.bin\ntrain_feature.desc\n"), "names 'x.bin', which is not there"),
        (spoil("train_feature.desc", "train 3\na 0 0 2560 8 80\n"), "line 1 is not 'name count' with the 1 utterances"),
        (spoil("train_feature.desc", ""), "line 1 is not 'name count'"),
        (spoil("train_feature.desc", "t 1\na 0 0 2560 8\n"), "line 2 is not 'name number start bytes frames dim'"),
        (spoil("train_label.desc", "t 1\na 0 0 -4 1\n"), "line 2 is not 'name number start bytes frames'"),
        (spoil("train_feature.desc", "t 1\na 0 0 2560 8 40\n"), "does not fit 'train_feature.bin' of 4160 bytes"),
        (spoil("train_feature.desc", "t 1\na 0 0 2560 9 80\n"), "line 2 does not fit"),
        (spoil("train_feature.desc", "t 1\na 0 4000 2560 8 80\n"), "line 2 does not fit"),
        (spoil("train_feature.desc", "t 1\na 0 0 2560 8 80\n"), "differ in 'b'"),
        (spoil("train_label.desc", "t 2\na 0 0 28 7\nb 1 32 20 5\n"), "'a' of train has 8 frames and 7 labels"),
        (spoil("global_mean_var", "0 1\n"), "has 1 lines; it holds 'mean variance' 240 times"),
        (spoil("global_mean_var", "0 0\n" * 240), "variances above 0"),
        (spoil("global_mean_var", "0 x\n" * 240), "it holds 'mean variance' 240 times"),
        (spoil("states.txt", "sil\n"), "names 1 states; there must be at least two"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_folder_is_one_line_that_names_the_place(
    change: Callable[[Path], None], word: str, tmp_path: Path
) -> None:
    change(make_folder(tmp_path))
    with pytest.raises(BadData) as fault:
        opened(tmp_path)
    assert word in str(fault.value)
    assert "\n" not in str(fault.value)
    assert len(str(fault.value)) < 500


def test_the_digest_changes_with_a_label_and_not_with_the_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_folder(tmp_path / name)
    assert opened(tmp_path / "one").digest() == opened(tmp_path / "two").digest()
    (tmp_path / "two" / "test_label.bin").write_bytes(np.zeros(13, "<u4").tobytes())
    assert opened(tmp_path / "one").digest() != opened(tmp_path / "two").digest()


def test_the_mini_set_is_read_back_and_is_normalised(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=16, evaluation=3), ignore)
    dataset = opened(tmp_path)
    assert (dataset.train_size(), dataset.eval_size(), dataset.labels) == (16, 3, NAMES)
    whole = list(dataset.train_batches(4, 0, 1))
    (rest,) = dataset.train_batches(4, 0, 1, start=3)
    np.testing.assert_array_equal(rest["frames"], whole[3]["frames"])
    frames = np.concatenate([one["frames"] for one in whole])
    assert abs(frames.mean()) < 0.1 and abs(frames.std() - 1) < 0.1
    seen = np.bincount(np.concatenate([one["label"][one["label"] >= 0] for one in whole]), minlength=len(NAMES))
    assert (seen > 10).all(), "every sound is heard"
    assert "no recorded speech" in (tmp_path / "README.md").read_text()


def test_mini_voices_of_the_test_set_are_no_training_voices() -> None:
    assert not set(VOICES["train"]) & set(VOICES["test"])


def test_a_vowel_has_its_formants() -> None:
    """An 'a' is louder than an 'i' around 1,000 Hz, and the other way round around 2,400."""
    sounds = [utterance("train", np.random.default_rng(k)) for k in range(20)]
    a, i = (
        np.concatenate([mel_bands(sound)[told == NAMES.index(name)] for sound, told in sounds]).mean(axis=0)
        for name in "ai"
    )
    centres = 700 * np.expm1(np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(8000 / 700), 82)[1:-1] / 1127)
    low, high = ((a - i)[(centres > begin) & (centres < end)].mean() for begin, end in ((800, 1400), (2100, 2700)))
    assert low > 1 > high + 1


def test_a_longer_mini_set_is_the_shorter_one_and_more(tmp_path: Path) -> None:
    for name, train in (("short", 2), ("long", 3)):
        make_mini(tmp_path / name, MiniSettings(train=train, evaluation=1), ignore)
    short, long = ((tmp_path / name / "train_feature.bin").read_bytes() for name in ("short", "long"))
    assert long.startswith(short) and len(long) > len(short)
