"""Finds the first tensor that a suspect graph gets wrong, by name.

The suspect is cut at every tensor that it shares with the reference, and each piece is fed with the reference's own
values: an error shows where it is made and is handed on to nobody, so rounding cannot pile up and hide it. A piece
diverges where a channel is further off than `LIMIT` times the noise that is due there (`convert.noise`), or where
more than `CLIPPED` of its signal lies outside the suspect's grid. Three looks, each only when the one before found
nothing: the arithmetic that the file describes; the same through whole grids, as integer kernels compute it; the
file as it is, whose fusions no reading of inner tensors has broken up.

What is too small to be seen, measured with 8 pictures of 64 x 64 in MobileNetV2 (4 places) and ResNet18 (3): in float a
channel less than 0.1 to 0.3 % off. In INT8 a channel less than 10 to 50 % off, all weights less than 5 to 10 %, a zero
point off by less than 2 to 3, a grid less than 2 times too small or 8 to 12 times too coarse, and whatever a silent
channel does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from convert.engine import run_file, run_model
from convert.graph import Array, Graph, label
from convert.noise import FLOAT_ERROR, LIMIT, NO_GRID, Evidence, grids, to_levels, with_rounded_weights
from convert.quantization import Range
from convert.segments import MADE, Cut, Piece, stored_pairs
from convert.symptoms import Case, name_symptom
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.tensors import Tensors
from runtimes.faults import check_load, one_line
from runtimes.protocol import Runtime
from runtimes.registry import get_runtime

AT_ONCE = 64  # pieces in one graph: engines take time and memory for outputs, and one bad piece spoils its graph


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first wrong tensor.

    Attributes:
        tensor: Its name in both graphs.
        node: Name of the suspect's node that makes it; that of its output where it has none.
        operator: Kind of that node.
        shape: Of the right values.
        error: With right inputs: root mean square error over that of the right values, worst channel; infinite
            where the values cannot be compared.
        noise: What of it is due in that channel.
        whole: Error of all its channels when the suspect runs from its own inputs.
        inputs: The same of the tensors that its piece reads.
        fault: What was found to be wrong, in words.
        guess: Kind of the fault, where the values prove it; else empty.
    """

    tensor: str
    node: str
    operator: str
    shape: tuple[int, ...]
    error: float
    noise: float
    whole: float
    inputs: dict[str, float]
    fault: str
    guess: str

    def show(self) -> str:
        """One line for people."""
        reads = ", ".join(f"{name!r} {error:.2g}" for name, error in self.inputs.items()) or "nothing"
        guess = f"; {self.guess}" if self.guess else ""
        return (
            f"first wrong tensor {self.tensor!r} {self.shape}, made by {self.operator} {self.node!r}: {self.fault}"
            f"{guess}; run as a whole it is {self.whole:.2g} off, and it reads {reads}"
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing two graphs tensor by tensor found.

    Attributes:
        compared: Tensors of both, in the suspect's order.
        not_compared: The reference's other tensors, which the suspect has fused away or calls something else.
        outputs: Error of each output when the suspect runs as a whole: noise, where `first` is None.
        first: None where every tensor is as it should be.
    """

    compared: tuple[str, ...]
    not_compared: tuple[str, ...]
    outputs: dict[str, float]
    first: Divergence | None

    def show(self) -> str:
        """One line for people."""
        found = self.first.show() if self.first else "no tensor diverges"
        lacking = f", {len(self.not_compared)} have no counterpart" if self.not_compared else ""
        return f"{found} ({len(self.compared)} tensors compared{lacking})"


def find_divergence(
    reference: Path,
    suspect: Path,
    inputs: Sequence[Tensors],
    suspect_runtime: Runtime | None = None,
    *,
    float_error: float = FLOAT_ERROR,
) -> Comparison:
    """Compare two graphs of one network at every tensor that both name.

    Args:
        reference: Float ONNX; it runs on ONNX Runtime.
        suspect: Another float ONNX, an INT8 one with Quantize and Dequantize nodes, or the same file again.
        inputs: A few batches of real samples; what they never excite cannot be seen.
        suspect_runtime: The engine in question; ONNX Runtime by default.
        float_error: Error of one piece that passes in a graph without quantizers, relative to its tensor's size; an
            engine that computes in bfloat16 needs 0.05.

    Raises:
        UsageError: No inputs, or the graphs share no tensor.
        BadData: A file is broken, or its engine cannot run it as a whole.
    """
    if not inputs:
        raise UsageError("no inputs to compare on; give at least one batch")
    runtime = suspect_runtime or get_runtime("onnx")
    search = _Search(_read(reference), _read(suspect), inputs, runtime, float_error)
    if not set(search.shared) - set(search.suspect.inputs):
        raise UsageError(
            f"{str(suspect)!r} computes no tensor that {str(reference)!r} has; give two graphs of one network"
        )
    as_it_is = run_file(runtime, suspect, inputs)  # a file that does not run is told at once
    first = search.look() or search.look(whole_grids=True) or search.broken_fusion(as_it_is)
    compared = [piece.tensor for piece in Cut(search.suspect, search.shared).pieces]
    others = [n for node in search.reference.nodes for n in node.output if n in search.ranges and n not in compared]
    errors = search.errors_of(as_it_is)
    return Comparison(tuple(compared), tuple(others), errors, first)


class _Search:
    """Both graphs, what they share, and the looks that can be taken at it."""

    def __init__(
        self, reference: Graph, suspect: Graph, batches: Sequence[Tensors], runtime: Runtime, float_error: float
    ) -> None:
        self.reference, self.suspect, self.batches, self.runtime = reference, suspect, batches, runtime
        self._float_error = float_error
        self._onnx = get_runtime("onnx")
        self.right = self._right_values()
        self.ranges = {name: _range(name, [right[name] for right in self.right]) for name in self._floats()}
        self._pairs = stored_pairs(suspect)
        computed = {name for node in suspect.nodes for name in node.output}
        self.shared = [name for name in self.ranges if name in computed or name in self._pairs]
        self._grids = grids(suspect, {name: pair.grid for name, pair in self._pairs.items()})
        weights = (value for value in suspect.constants.values() if value.ndim > 1)
        places = any(node.op_type == "DequantizeLinear" for node in suspect.nodes)
        self._quantized = places or any(weight.dtype == np.int8 for weight in weights)
        self._ideal = Cut(with_rounded_weights(reference), self.shared)

    def _right_values(self) -> list[dict[str, Array]]:
        """Every float tensor of the reference, and its inputs, by batch."""
        graph = self.reference
        inner = [name for name in graph.float_tensors() if name not in graph.outputs]
        made = run_model(self._onnx, graph.to_model(extra_outputs=inner), self.batches)
        return [{**batch, **values} for batch, values in zip(self.batches, made, strict=True)]

    def _floats(self) -> list[str]:
        return [name for name, value in self.right[0].items() if value.dtype.kind == "f" and value.size]

    def look(self, *, whole_grids: bool = False) -> Divergence | None:
        """Run every piece on right inputs; the first that is wrong."""
        if whole_grids and not self._pairs:
            return None
        cut = Cut(self.suspect, self.shared, whole_grids=whole_grids)
        evidence = {piece.tensor: self._no_evidence(piece.tensor) for piece in cut.pieces}
        rounds = whole_grids or any(piece.rounds_inputs for piece in cut.pieces)
        for feeds, wanted in self._exercises(whole_grids):
            exact, rounded = self._in_eight_bits(feeds, rounds)
            for piece, got in self._run(cut, cut.pieces, feeds):
                due = rounded if whole_grids or piece.rounds_inputs else exact
                evidence[piece.tensor].add(wanted[piece.tensor], got, due.get(piece.tensor))
                if evidence[piece.tensor].fault:
                    break  # what comes behind it may not run at all
        for piece in cut.pieces:
            if evidence[piece.tensor].is_wrong(self.ranges[piece.tensor]):
                return self._describe(cut, piece, evidence[piece.tensor])
        return None

    @cached_property
    def free_errors(self) -> dict[str, float]:
        """Error of every shared tensor when the suspect runs from its own inputs."""
        read = {name: self._pairs[name].stored if name in self._pairs else name for name in self.shared}
        extra = [inner for inner in read.values() if inner not in (*self.suspect.outputs, *self.suspect.inputs)]
        model = self.suspect.to_model(extra_outputs=extra)
        made = [
            {**batch, **got}
            for batch, got in zip(self.batches, run_model(self.runtime, model, self.batches), strict=True)
        ]
        return self._errors({name: [got[inner] for got in made] for name, inner in read.items()})

    def _errors(self, made: Mapping[str, Sequence[Array]]) -> dict[str, float]:
        """Root mean square error over that of the right values, all batches together; infinite where shapes differ."""
        errors = {}
        for name, batches in made.items():
            off = signal = 0.0
            for right, got in zip(self.right, batches, strict=True):
                exact = right[name].astype(np.float64)
                fits = exact.shape == got.shape and bool(np.isfinite(got).all())
                off += float(((got - exact) ** 2).sum()) if fits else np.inf
                signal += float((exact**2).sum())
            errors[name] = float(np.sqrt(off / max(signal, 1e-30)))
        return errors

    def errors_of(self, as_it_is: Sequence[Tensors]) -> dict[str, float]:
        """Error of every shared output of the file as it is."""
        names = [name for name in self.reference.outputs if name in self.shared]
        return self._errors({name: [got[name] for got in as_it_is] for name in names})

    def broken_fusion(self, as_it_is: Sequence[Tensors]) -> Divergence | None:
        """An output that is wrong, although it was right while inner tensors were read out."""
        for name, error in self.errors_of(as_it_is).items():
            read_out = self.free_errors[name]
            if error > max(LIMIT * read_out, self._float_error):
                piece = next(piece for piece in Cut(self.suspect, self.shared).pieces if piece.tensor == name)
                fault = f"{error:.2g} of its size off in the file as it is, {read_out:.2g} with inner tensors read out"
                found = self._no_evidence(name)
                found.fault, found.shape = fault, tuple(self.right[0][name].shape)
                return self._divergence(piece, found, (error, read_out), "a fusion of the engine")
        return None

    def _no_evidence(self, tensor: str) -> Evidence:
        return Evidence(self._grids.get(tensor, NO_GRID), self._quantized, self._float_error)

    def _exercises(self, whole_grids: bool) -> Iterator[tuple[Tensors, Tensors]]:
        """What to feed to the pieces, and what they must make of it, a batch at a time."""
        for right in self.right:
            feeds = self._held(right) if whole_grids else right
            yield feeds, self._made_right(feeds) if whole_grids else right

    def _held(self, right: Tensors) -> dict[str, Array]:
        """Right values without what the suspect's grids cut off, which is judged where it is cut."""
        return {n: self._grids[n].clip(value) if n in self._grids else value for n, value in right.items()}

    def _made_right(self, feeds: Tensors) -> dict[str, Array]:
        """What the reference's pieces give; graph inputs as they are."""
        cut = Cut(self.reference, self.shared)
        return {**feeds, **_named(*run_model(self._onnx, cut.model(cut.pieces, feeds), [feeds]))}

    def _in_eight_bits(self, feeds: Tensors, rounds: bool) -> tuple[Tensors, Tensors]:
        """What the reference's pieces give with rounded weights; and, where that is asked for, rounded inputs too."""
        if not self._quantized:
            return {}, {}
        model = self._ideal.model(self._ideal.pieces, feeds)
        levels = {name: to_levels(feeds[name], self.ranges[name]) for name in self.ranges} if rounds else {}
        exact, rounded = run_model(self._onnx, model, [feeds, {**feeds, **levels}])
        return _named(exact), _named(rounded)

    def _run(self, cut: Cut, pieces: Sequence[Piece], right: Tensors) -> Iterator[tuple[Piece, Array | str]]:
        """What each piece makes, or why it cannot be run."""
        for start in range(0, len(pieces), AT_ONCE):
            some = pieces[start : start + AT_ONCE]
            try:
                made = _named(*run_model(self.runtime, cut.model(some, right), [right]))
            except BadData as fault:
                if len(some) == 1:
                    yield some[0], f"it cannot be computed from right inputs: {fault}"
                    continue
                half = len(some) // 2
                yield from self._run(cut, some[:half], right)
                yield from self._run(cut, some[half:], right)
                continue
            yield from ((piece, made[piece.tensor]) for piece in some)

    def _describe(self, cut: Cut, piece: Piece, found: Evidence) -> Divergence:
        """Put the evidence in words, and look for what kind of fault gives such values."""
        wanted, got = [], []
        for feeds, right in self._exercises(cut.whole_grids):
            for _, made in self._run(cut, [piece], feeds):
                if not isinstance(made, str):
                    wanted.append(right[piece.tensor])
                    got.append(made)
        due = found.noise(self.ranges[piece.tensor])
        guess = name_symptom(Case(np.concatenate(wanted), np.concatenate(got), due, found.grid)) if got else ""
        sizes = (float("inf"), 0.0)
        if not found.fault:
            worst = int((found.errors() / due).argmax())
            sizes = (float(found.errors()[worst]) / found.signal(), float(due[worst]) / found.signal())
            found.fault = f"{sizes[0]:.2g} of its size off where {sizes[1]:.2g} is due"
            if sizes[0] <= found.allowance() * sizes[1]:
                found.fault = f"{found.clipped():.2g} of its size lies outside its grid, {found.grid.show()}"
        if cut.whole_grids:
            found.fault += "; it is right in float arithmetic, so suspect the engine's integer kernels"
        return self._divergence(piece, found, sizes, guess)

    def _divergence(self, piece: Piece, found: Evidence, sizes: tuple[float, float], guess: str) -> Divergence:
        return Divergence(
            tensor=piece.tensor,
            node=label(piece.maker),
            operator=piece.maker.op_type,
            shape=found.shape,
            error=sizes[0],
            noise=sizes[1],
            whole=self.free_errors[piece.tensor],
            inputs={name: self.free_errors.get(name, 0.0) for name in piece.feeds if name != piece.tensor},
            fault=found.fault,
            guess=guess,
        )


def _read(path: Path) -> Graph:
    check_load("onnx", path, 1, "cpu", ("cpu",))
    try:
        return Graph.load(path)
    except Exception as fault:  # protobuf has a class of its own for each way to be broken
        raise BadData(f"{str(path)!r} is not an ONNX graph: {one_line(fault)}") from fault


def _named(made: Tensors) -> dict[str, Array]:
    return {name.removesuffix(MADE): value for name, value in made.items()}


def _range(name: str, batches: Sequence[Array]) -> Range:
    low, high = min(float(batch.min()) for batch in batches), max(float(batch.max()) for batch in batches)
    if not np.isfinite([low, high]).all():
        raise BadData(f"tensor {name!r} of the reference is not finite on these inputs; look at its weights")
    return Range.holding(low, high)
