"""What ships to the device: a folder of graphs, what they mean, and how it was proved.

    bundle.json   what a program must know to run it; holds no time and no place, so equal work gives an equal digest
    receipt.json  how it came about and what was measured
    SHA256SUMS    of every other file; `sha256sum -c SHA256SUMS` checks the bundle where Python is missing
    fp32/main.onnx, int8/main.onnx ...
    paddle/main.pdmodel, paddle/main.pdiparams ...: the full precision graphs as Paddle Inference reads them
    sentinel.npz  a few real inputs with what full precision answers, so that it can be checked without a data set

Reading a bundle needs NumPy and the standard library.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import as_json, sha256_file, sha256_json, write_json
from edge_kit.core.images import CropPreprocess, read_preprocess
from edge_kit.core.preprocess import P
from edge_kit.core.tensors import TensorSpec

PADDLE_WEIGHTS = ".pdiparams"  # beside each `.pdmodel`, where it has weights
MANIFEST, RECEIPT, SUMS = "bundle.json", "receipt.json", "SHA256SUMS"
SENTINEL = "sentinel.npz"
SEAL = "sha256"  # in the receipt: of all the rest of it
FORMAT = 1
SHOWN = 200  # characters of a preprocessing, which may hold a whole vocabulary
FULL, SMALL = "fp32", "int8"  # precisions; the Paddle graphs are of the first


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `bundle.json` says.

    Attributes:
        graphs: precision -> graph name -> path in the bundle.
        inputs: graph name -> its inputs, of every precision; pixels are uint8 of layout NHWC, BGR.
        outputs: graph name -> names of its outputs, in order.
        preprocess: How a sample becomes an input; `kind` tells how to read the rest: `image` resizes, crops and
            normalises, `crop` leaves the last to the graph, `words` looks words up, `clip` picks frames;
            `edge_kit/core` has a class for each.
        labels: Of the classes, in order.
        target: Of the INT8 graphs.
        model: Facts of the network: parameters, multiply-accumulates, sizes.
        paddle: graph name -> path in the bundle of its full precision `.pdmodel`; empty in older bundles, and where
            graphs take pixels, which a Paddle program cannot.
    """

    id: str
    title: str
    task: str
    target: str
    graphs: Mapping[str, Mapping[str, str]]
    inputs: Mapping[str, tuple[TensorSpec, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    preprocess: Mapping[str, Any]
    labels: tuple[str, ...]
    model: Mapping[str, Any]
    paddle: Mapping[str, str] = field(default_factory=dict)


class Bundle:
    """A bundle on disk.

    Attributes:
        path: Its folder.
        manifest: What it holds.
        digest: Of its content, independent of when and where it was made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / MANIFEST).is_file():
            raise BadData(f"{str(path)!r} is not a bundle: it has no {MANIFEST}")
        try:
            self.manifest = _read_manifest(json.loads((path / MANIFEST).read_text()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadData(f"{str(path / MANIFEST)!r} cannot be read ({error}); make the bundle again") from None
        self.digest = sha256_file(path / MANIFEST)

    def graph(self, precision: str, name: str) -> Path:
        """The file of one graph."""
        try:
            return self.path / self.manifest.graphs[precision][name]
        except KeyError:
            held = ", ".join(f"{p}/{g}" for p, graphs in self.manifest.graphs.items() for g in graphs)
            raise BadData(f"bundle {self.manifest.id!r} has no graph '{precision}/{name}'; it holds {held}") from None

    def paddle_graph(self, name: str) -> Path:
        """The `.pdmodel` of one graph, in full precision."""
        try:
            return self.path / self.manifest.paddle[name]
        except KeyError:
            held = ", ".join(self.manifest.paddle) or "none"
            raise BadData(f"bundle {self.manifest.id!r} has no Paddle graph {name!r}; it holds {held}") from None

    def graph_for(self, precision: str, name: str, suffixes: tuple[str, ...], reader: str = "this runtime") -> Path:
        """The file of one graph in a form that a runtime reads.

        Args:
            suffixes: Of the files that it reads, the one it likes best first; `runtimes.registry.reads` tells them.
            reader: Who it is, for the message.

        Raises:
            BadData: The bundle has no such graph, or holds it in other forms only.
        """
        forms = [self.graph(precision, name)]
        if precision == FULL and name in self.manifest.paddle:
            forms.append(self.paddle_graph(name))
        for suffix in suffixes:
            for form in forms:
                if form.suffix == suffix:
                    return form
        raise BadData(
            f"bundle {self.manifest.id!r} holds no {precision} graph that {reader} reads ({', '.join(suffixes)})"
        )

    def size_bytes(self, precision: str) -> int:
        """Of all ONNX graphs of one precision."""
        return sum((self.path / file).stat().st_size for file in self.manifest.graphs[precision].values())

    def receipt(self) -> dict[str, Any]:
        """What was measured and how."""
        document: dict[str, Any] = json.loads((self.path / RECEIPT).read_text())
        return document

    def preprocess(self) -> CropPreprocess:
        """Turns a picture into the input, as far as the graph does not do that by itself.

        Raises:
            BadData: The bundle takes no pictures.
        """
        try:
            return read_preprocess(self.manifest.preprocess)
        except UsageError:
            given = str(dict(self.manifest.preprocess))[:SHOWN]
            raise BadData(f"bundle {self.manifest.id!r} takes no pictures: {given}") from None

    def preprocess_as(self, wanted: type[P]) -> P:
        """Turns a sample into the inputs, where samples are of the kind that `wanted` prepares.

        Raises:
            BadData: The bundle takes other samples.
        """
        if self.manifest.preprocess.get("kind") != wanted.KIND:
            given = str(dict(self.manifest.preprocess))[:SHOWN]
            raise BadData(f"bundle {self.manifest.id!r} takes no {wanted.KIND}: {given}")
        return wanted.from_dict(self.manifest.preprocess)

    def takes_pixels(self) -> bool:
        """Whether the graphs take pictures as uint8 (N, H, W, 3) BGR, as `compress --input uint8-nhwc` makes them."""
        return self.manifest.preprocess.get("kind") == CropPreprocess.KIND

    def verify(self) -> None:
        """Check every file against its recorded SHA-256, and the three records against each other.

        Raises:
            BadData: Names the first file that is changed, missing, a link, or not part of the bundle.
        """
        fault = _fault(self.path)
        if fault:
            raise BadData(fault)


def write_bundle(
    folder: Path,
    manifest: Manifest,
    graphs: Mapping[str, Mapping[str, Path]],
    receipt: Mapping[str, Any],
    paddle: Mapping[str, Path] | None = None,
    sentinel: Path | None = None,
) -> None:
    """Fill an empty folder.

    Args:
        graphs: precision -> graph name -> file to copy to the path that the manifest gives.
        paddle: graph name -> `.pdmodel` to copy likewise, with the weights beside it.
        sentinel: What `edge_kit.pipeline.sentinel` made; bundles of models without samples have none.
    """
    sources = {manifest.graphs[p][name]: source for p, named in graphs.items() for name, source in named.items()}
    for name, source in (paddle or {}).items():
        sources[manifest.paddle[name]] = source
        weights = source.with_suffix(PADDLE_WEIGHTS)
        if weights.is_file():
            sources[Path(manifest.paddle[name]).with_suffix(PADDLE_WEIGHTS).as_posix()] = weights
    if sentinel is not None:
        sources[SENTINEL] = sentinel
    files: dict[str, dict[str, Any]] = {}
    for place, source in sources.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / place)
        files[place] = {"sha256": sha256_file(source), "bytes": source.stat().st_size}
    write_json(folder / MANIFEST, {"format": FORMAT, **asdict(manifest), "files": files})
    document = {"bundle": sha256_file(folder / MANIFEST), **receipt}
    write_json(folder / RECEIPT, {**document, SEAL: sha256_json(document)})
    names = [*files, MANIFEST, RECEIPT]
    (folder / SUMS).write_text(_sums({name: sha256_file(folder / name) for name in names}))


def _sums(digests: Mapping[str, str]) -> str:
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def _fault(folder: Path) -> str:
    """The first file that is not as it was made, as one line; empty where all are."""
    bundle = f"of bundle {str(folder)!r}"
    entries = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    for name, path in sorted(entries.items()):
        if path.is_symlink() or not path.is_file():
            return f"{name!r} {bundle} is a link or no plain file; make the bundle again"
    if SUMS not in entries:
        return f"{str(folder / SUMS)!r} is missing; make the bundle again"
    text = entries.pop(SUMS).read_bytes()
    recorded = _read_sums(text.decode(errors="replace"))
    for name in sorted(entries.keys() | recorded.keys()):
        if name not in entries:
            unknown = "; or 'SHA256SUMS' was changed" if name not in _named_elsewhere(folder) else ""
            return f"{name!r} {bundle} is missing{unknown}; make the bundle again"
        if name not in recorded:
            named = name in _named_elsewhere(folder)
            return _changed(SUMS, bundle) if named else f"{name!r} is not part {bundle}; remove it"
        if sha256_file(entries[name]) != recorded[name]:
            return _changed(_liar(folder, name), bundle)
    for name in sorted(recorded):
        if _vouched(folder, name) not in (recorded[name], None):
            return _changed(name, bundle)  # together with its line
    # A line added or spelt in another way may still say what is true.
    return "" if text == _sums(recorded).encode() else _changed(SUMS, bundle)


def _changed(name: str, bundle: str) -> str:
    return f"{name!r} {bundle} was changed after it was made; make it again"


def _read_sums(text: str) -> dict[str, str]:
    parts = (line.partition("  ") for line in text.splitlines())
    return {name: digest for digest, _, name in parts}


def _liar(folder: Path, name: str) -> str:
    """Which of two files was changed where `SHA256SUMS` and the file it names do not agree."""
    return SUMS if sha256_file(folder / name) == _vouched(folder, name) else name


def _vouched(folder: Path, name: str) -> str | None:
    """The digest that the other records tell of a file; None where they tell none.

    The manifest tells those of graphs, the receipt that of the manifest, and the receipt vouches for itself.
    """
    if name == RECEIPT:
        content = (folder / name).read_bytes()
        return hashlib.sha256(content).hexdigest() if _is_sealed(content) else None
    return _told(folder, RECEIPT).get("bundle") if name == MANIFEST else _listed(folder).get(name)


def _is_sealed(content: bytes) -> bool:
    try:
        document = json.loads(content)
        seal = document.pop(SEAL)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    written = as_json({**document, SEAL: seal})
    return bool(seal == sha256_json(document) and written == content)


def _named_elsewhere(folder: Path) -> set[str]:
    return {MANIFEST, RECEIPT, *_listed(folder)}


def _listed(folder: Path) -> dict[str, str]:
    """Digests of the files that the manifest tells."""
    files = _told(folder, MANIFEST).get("files")
    return {name: one.get("sha256", "") for name, one in files.items()} if isinstance(files, dict) else {}


def _told(folder: Path, name: str) -> dict[str, Any]:
    """A record that may itself have been changed; empty where it cannot be read."""
    try:
        document = json.loads((folder / name).read_bytes())
    except (ValueError, OSError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _read_manifest(document: dict[str, Any]) -> Manifest:
    if document.get("format") != FORMAT:
        raise ValueError(f"format {document.get('format')!r}, this edge-kit reads {FORMAT}")
    graphs = {precision: dict(named) for precision, named in document["graphs"].items()}
    paddle = dict(document.get("paddle", {}))  # bundles made before it was added have none
    for place in (file for named in (*graphs.values(), paddle) for file in named.values()):
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise ValueError(f"graph {place!r} lies outside the bundle")
    inputs = {name: tuple(TensorSpec.from_dict(t) for t in tensors) for name, tensors in document["inputs"].items()}
    return Manifest(
        id=document["id"],
        title=document["title"],
        task=document["task"],
        target=document["target"],
        graphs=graphs,
        inputs=inputs,
        outputs={name: tuple(names) for name, names in document["outputs"].items()},
        preprocess=document["preprocess"],
        labels=tuple(document["labels"]),
        model=document["model"],
        paddle=paddle,
    )
