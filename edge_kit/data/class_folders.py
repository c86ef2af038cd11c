"""Pictures in a folder a class, the other way that ImageNet lies on disks.

    DIR/train/n01440764/x.JPEG, DIR/val/n01440764/y.JPEG, or DIR/n01440764/y.JPEG alone
    DIR/LOC_synset_mapping.txt or DIR/synset_words.txt   optional, "n01440764 tench, Tinca tinca"

A class is the place of its folder's name among all names in sorted order, as torchvision's ImageFolder has it; for
ImageNet's synsets that is the published order. Where a list of the synsets lies there, its order counts, so that a
part of the classes keeps its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_kit.core.errors import BadData

TRAIN, EVAL = "train", "val"
SYNSETS = ("LOC_synset_mapping.txt", "synset_words.txt")
SUFFIXES = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """What a folder of class folders holds.

    Attributes:
        train: Pictures with their classes, by class and name; empty where there are no splits.
        evaluation: Likewise.
        labels: Readable names, in the order of the classes.
        order: Where that order comes from, for people.
    """

    train: list[tuple[Path, int]]
    evaluation: list[tuple[Path, int]]
    labels: tuple[str, ...]
    order: str


def find_class_folders(root: Path) -> ClassFolders | None:
    """Look for class folders; None where there are none.

    Raises:
        BadData: A split is missing, a class is empty, or one is unknown to the other split or the list of synsets.
    """
    splits = {split: root / split for split in (TRAIN, EVAL) if (root / split).is_dir()}
    if not any(_holds_classes(folder) for folder in splits.values() or [root]):
        return None
    if not splits:
        return _labelled(root, {EVAL: root}, _class_names(root))
    for split in (TRAIN, EVAL):
        if split not in splits:
            [other] = splits
            raise BadData(
                f"data folder {str(root)!r} has class folders in {other}/ and no {split}/; "
                f"add it, or pass {str(root / other)!r} to score all of it"
            )
    return _labelled(root, splits, _class_names(splits[TRAIN]))


def _labelled(root: Path, splits: dict[str, Path], names: list[str]) -> ClassFolders:
    synsets = _synsets(root)
    order = f"{len(names):,} class folders, labels in the sorted order of their names"
    if synsets:
        listed, known = synsets
        names = list(known)
        order = f"class folders, labels in the order of the {len(names):,} synsets of {listed}"
    numbers = {name: i for i, name in enumerate(names)}
    found = {split: _pictures(folder, numbers) for split, folder in splits.items()}
    labels = tuple(known[name] for name in names) if synsets else tuple(names)
    return ClassFolders(found.get(TRAIN, []), found[EVAL], labels, order)


def _pictures(folder: Path, numbers: dict[str, int]) -> list[tuple[Path, int]]:
    found = []
    for name in _class_names(folder):
        if name not in numbers:
            raise BadData(f"class folder {str(folder / name)!r} is none of the {len(numbers):,} classes; take it away")
        paths = sorted(path for path in (folder / name).iterdir() if _is_picture(path))
        if not paths:
            raise BadData(
                f"class folder {str(folder / name)!r} holds no picture ({', '.join(SUFFIXES)}); "
                "fill it, or take it away if there is no such class"
            )
        found += [(path, numbers[name]) for path in paths]
    return found


def _class_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _holds_classes(folder: Path) -> bool:
    return any(_is_picture(path) for name in _class_names(folder) for path in (folder / name).iterdir())


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _synsets(root: Path) -> tuple[str, dict[str, str]] | None:
    """The file that lists the synsets, and their readable names by id, in order."""
    for name in SYNSETS:
        if (root / name).is_file():
            lines = [line.strip().partition(" ") for line in (root / name).read_text(errors="replace").splitlines()]
            return name, {wnid: words or wnid for wnid, _, words in lines if wnid}
    return None
