"""What ships to the device: a folder of graphs, what they mean, and how it was proved.

    bundle.json   what a program must know to run it; holds no time and no place, so equal work gives an equal digest
    receipt.json  how it came about and what was measured
    SHA256SUMS    of every other file; `sha256sum -c SHA256SUMS` checks the bundle where Python is missing
    fp32/main.onnx, int8/main.onnx ...
    paddle/main.pdmodel, paddle/main.pdiparams ...: the full precision graphs as Paddle Inference reads them

Reading a bundle needs NumPy and the standard library.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import sha256_file, write_json
from edge_kit.core.images import CropPreprocess, read_preprocess
from edge_kit.core.tensors import TensorSpec
from edge_kit.core.words import KIND as WORDS
from edge_kit.core.words import WordPreprocess

PADDLE_WEIGHTS = ".pdiparams"  # beside each `.pdmodel`, where it has weights
MANIFEST, RECEIPT, SUMS = "bundle.json", "receipt.json", "SHA256SUMS"
FORMAT = 1
SHOWN = 200  # characters of a preprocessing, which may hold a whole vocabulary
FULL = "fp32"  # the precision of the Paddle graphs


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `bundle.json` says.

    Attributes:
        graphs: precision -> graph name -> path in the bundle.
        inputs: graph name -> its inputs, of every precision; pixels are uint8 of layout NHWC, BGR.
        outputs: graph name -> names of its outputs, in order.
        preprocess: How a sample becomes an input; `kind` tells how to read the rest: `image` resizes, crops and
            normalises, `crop` leaves the last to the graph, `words` looks words up.
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

    def words(self) -> WordPreprocess:
        """Turns texts, words divided by spaces, into the inputs.

        Raises:
            BadData: The bundle takes no texts.
        """
        if self.manifest.preprocess.get("kind") != WORDS:
            raise BadData(f"bundle {self.manifest.id!r} takes no texts: {dict(self.manifest.preprocess)}")
        return WordPreprocess.from_dict(self.manifest.preprocess)

    def takes_pixels(self) -> bool:
        """Whether the graphs take pictures as uint8 (N, H, W, 3) BGR, as `compress --input uint8-nhwc` makes them."""
        return self.manifest.preprocess.get("kind") == "crop"

    def verify(self) -> None:
        """Check every file against its recorded SHA-256.

        Raises:
            BadData: Names the first file that is changed, missing or not part of the bundle.
        """
        sums = self.path / SUMS
        if not sums.is_file():
            raise BadData(f"{str(sums)!r} is missing; make the bundle again")
        recorded: dict[str, str] = {}
        for line in sums.read_text(errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            recorded[name] = digest
        there = {p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file()} - {SUMS}
        for name in sorted(there | set(recorded)):
            if name not in there:
                raise BadData(f"{name!r} of bundle {str(self.path)!r} is missing; make the bundle again")
            if name not in recorded:
                raise BadData(f"{name!r} is not part of bundle {str(self.path)!r}; remove it")
            if sha256_file(self.path / name) != recorded[name]:
                raise BadData(f"{name!r} of bundle {str(self.path)!r} was changed after it was made; make it again")


def write_bundle(
    folder: Path,
    manifest: Manifest,
    graphs: Mapping[str, Mapping[str, Path]],
    receipt: Mapping[str, Any],
    paddle: Mapping[str, Path] | None = None,
) -> None:
    """Fill an empty folder.

    Args:
        graphs: precision -> graph name -> file to copy to the path that the manifest gives.
        paddle: graph name -> `.pdmodel` to copy likewise, with the weights beside it.
    """
    sources = {manifest.graphs[p][name]: source for p, named in graphs.items() for name, source in named.items()}
    for name, source in (paddle or {}).items():
        sources[manifest.paddle[name]] = source
        weights = source.with_suffix(PADDLE_WEIGHTS)
        if weights.is_file():
            sources[Path(manifest.paddle[name]).with_suffix(PADDLE_WEIGHTS).as_posix()] = weights
    files: dict[str, dict[str, Any]] = {}
    for place, source in sources.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / place)
        files[place] = {"sha256": sha256_file(source), "bytes": source.stat().st_size}
    write_json(folder / MANIFEST, {"format": FORMAT, **asdict(manifest), "files": files})
    write_json(folder / RECEIPT, {"bundle": sha256_file(folder / MANIFEST), **receipt})
    names = sorted([*files, MANIFEST, RECEIPT])
    (folder / SUMS).write_text("".join(f"{sha256_file(folder / name)}  {name}\n" for name in names))


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
