"""PASCAL VOC, laid out as PaddleCV/ssd lists it, or as the challenge itself does.

    DIR/trainval.txt, test.txt   "VOCdevkit/VOC2007/JPEGImages/x.jpg VOCdevkit/VOC2007/Annotations/x.xml" a line
    DIR/label_list               one class a line, `background` first; VOC's twenty where there is none

or, without those lists,

    DIR/JPEGImages/x.jpg, DIR/Annotations/x.xml
    DIR/ImageSets/Main/trainval.txt and test.txt, or train.txt and val.txt   one x a line

Boxes are taken as they are written, counted from 1 as VOC does. Difficult objects are learned from, and neither count
as found nor as missed.

Source: PaddlePaddle/models release/1.6, PaddleCV/ssd and PaddleCV/PaddleDetection (data set sections).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.parsers import expat

from edge_kit.core.errors import BadData
from edge_kit.core.images import StretchPreprocess
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.mini.voc import make_mini
from edge_kit.data.objects import Objects
from edge_kit.data.scenes import SceneFolder, Shot

LISTS, LABELS = ("trainval.txt", "test.txt"), "label_list"
SETS = Path("ImageSets/Main")
BACKGROUND = "background"
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
LARGEST = 1 << 20  # bytes of one annotation
SHOWN = 80  # characters of a faulty line
CORNERS = ("xmin", "ymin", "xmax", "ymax")
OBJECT = "annotation/object"


def open_folder(root: Path, preprocess: StretchPreprocess, options: OpenOptions) -> SceneFolder:
    """Read a folder of either layout.

    Raises:
        BadData: It is of neither, or more is broken than the options allow.
    """
    labels = _read_labels(root / LABELS)
    bad: list[str] = []
    parts = [_shots(root, pairs, labels, bad) for pairs in _listed(root)]
    return SceneFolder(root, preprocess, options, labels, (parts[0], parts[1]), bad)


def _listed(root: Path) -> list[list[tuple[Path, Path]]]:
    """Pictures and annotations, for training and for evaluation."""
    if all((root / name).is_file() for name in LISTS):
        return [_read_list(root, name) for name in LISTS]
    for names in (LISTS, ("train.txt", "val.txt")):
        if all((root / SETS / name).is_file() for name in names):
            return [_read_stems(root, SETS / name) for name in names]
    raise BadData(
        f"data folder {str(root)!r} has neither {' and '.join(LISTS)}, 'picture.jpg annotation.xml' a line, nor "
        f"{SETS}/trainval.txt and test.txt beside JPEGImages and Annotations"
    )


def _read_list(root: Path, name: str) -> list[tuple[Path, Path]]:
    pairs = []
    for number, line in enumerate((root / name).read_text(errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].endswith(".xml"):
            raise BadData(f"{str(root / name)!r} line {number} is not 'picture.jpg annotation.xml': {line[:SHOWN]!r}")
        _refuse_outside(root / name, number, words)
        pairs.append((root / words[0], root / words[1]))
    return pairs


def _read_stems(root: Path, name: Path) -> list[tuple[Path, Path]]:
    pairs = []
    for number, line in enumerate((root / name).read_text(errors="replace").splitlines(), 1):
        if line.strip():
            stem = line.split()[0]
            _refuse_outside(root / name, number, [stem])
            pairs.append((root / "JPEGImages" / f"{stem}.jpg", root / "Annotations" / f"{stem}.xml"))
    return pairs


def _refuse_outside(path: Path, number: int, names: Sequence[str]) -> None:
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BadData(f"{str(path)!r} line {number} leaves the data folder: {name[:SHOWN]!r}")


def _read_labels(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return CLASSES
    names = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    if names[:1] != [BACKGROUND] or len(names) < 2 or len(set(names)) < len(names):
        raise BadData(f"{str(path)!r} must name {BACKGROUND!r} and then each class once, a line each")
    return tuple(names[1:])


def _shots(root: Path, pairs: Sequence[tuple[Path, Path]], labels: Sequence[str], bad: list[str]) -> list[Shot]:
    shots = []
    for picture, annotation in pairs:
        try:
            shots.append(Shot(picture, read_annotation(annotation, labels)))
        except BadData as fault:
            bad.append(f"{str(annotation.relative_to(root))!r} {fault}")
    return shots


def read_annotation(path: Path, labels: Sequence[str]) -> Objects:
    """The objects of one picture.

    Raises:
        BadData: What is wrong with the file, without its name.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise BadData(f"({(error.strerror or 'unreadable').lower()})") from None
    if len(content) > LARGEST:
        raise BadData(f"is larger than {LARGEST:,} bytes, which no annotation is")
    reader = _Reader()
    reader.read(content)
    rows = [_box(one) for one in reader.objects]
    for name in (one.get("name", "") for one in reader.objects):
        if name not in labels:
            raise BadData(f"names a class {name[:SHOWN]!r} that {LABELS} does not hold")
    return Objects.of(
        rows,
        [labels.index(one["name"]) for one in reader.objects],
        [one.get("difficult", "0") not in ("", "0") for one in reader.objects],
    )


def _box(told: dict[str, str]) -> list[float]:
    try:
        box = [float(told[f"bndbox/{corner}"]) for corner in CORNERS]
    except KeyError as missing:
        raise BadData(f"holds an object without {missing.args[0]}") from None
    except ValueError:
        raise BadData(f"holds a box that is no four numbers: {[told[f'bndbox/{c}'] for c in CORNERS]}") from None
    if not (0 <= box[0] < box[2] < 1e6 and 0 <= box[1] < box[3] < 1e6):
        raise BadData(f"holds an empty box or one outside of any picture: {box}")
    return box


class _Reader:
    """Reads the text of an object's own elements; those of its parts, and all else, are passed over.

    Attributes:
        objects: Text by path below the object.
    """

    def __init__(self) -> None:
        self.objects: list[dict[str, str]] = []
        self._path: list[str] = []
        self._parser = expat.ParserCreate()
        # No document type, hence no entities: nothing expands and nothing is fetched.
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._open
        self._parser.EndElementHandler = self._close
        self._parser.CharacterDataHandler = self._text

    def read(self, content: bytes) -> None:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise BadData(f"is no XML: {expat.ErrorString(error.code)} in line {error.lineno}") from None

    def _refuse(self, *told: object) -> None:
        raise BadData("declares a document type; take that line out, annotations have none")

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if "/".join(self._path) == OBJECT:
            self.objects.append({})

    def _close(self, name: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        path = "/".join(self._path)
        if path.startswith(f"{OBJECT}/") and text.strip():
            own = self.objects[-1]
            key = path.removeprefix(f"{OBJECT}/")
            own[key] = own.get(key, "") + text.strip()


FORMATS.add("voc", DataFormat("voc", open_folder, make_mini, published="voc07+12"))
