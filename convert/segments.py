"""Cuts a graph at named tensors, so that each piece can be run alone on inputs known to be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from convert.graph import Graph, label
from edge_kit.core.tensors import Tensors

MADE = "@made"  # what a piece computes itself, beside the tensor of that name which it is fed


@dataclass(frozen=True, slots=True)
class Pair:
    """A QuantizeLinear and the DequantizeLinear behind it: a tensor as the graph stores it."""

    quantize: NodeProto
    dequantize: NodeProto

    @property
    def stored(self) -> str:
        """The tensor on its grid, as floats."""
        return str(self.dequantize.output[0])

    @property
    def grid(self) -> tuple[str, str]:
        """Names of the scale and the zero point that turn it into floats again; the latter may be empty."""
        names = list(self.dequantize.input[1:])
        return names[0], names[1] if len(names) > 1 else ""


def stored_pairs(graph: Graph) -> dict[str, Pair]:
    """By tensor, the one quantizer that all its readers go through; other tensors are read as they are."""
    pairs: dict[str, Pair] = {}
    for quantize in graph.nodes:
        if quantize.op_type != "QuantizeLinear" or graph.is_constant(quantize.input[0]):
            continue
        reader = graph.only_reader(quantize.output[0])
        if reader is None or reader.op_type != "DequantizeLinear" or graph.only_reader(quantize.input[0]) is None:
            continue
        pairs[quantize.input[0]] = Pair(quantize, reader)
    return pairs


@dataclass(frozen=True, slots=True)
class Piece:
    """What makes one tensor out of others at which the graph is cut.

    Attributes:
        tensor: The one that it makes.
        nodes: In topological order, quantizers and the unpacking of weights included.
        feeds: The tensors that it reads, graph inputs included.
    """

    tensor: str
    nodes: tuple[NodeProto, ...]
    feeds: tuple[str, ...]

    @property
    def rounds_inputs(self) -> bool:
        """Whether it puts what it is fed on a grid, besides what it makes."""
        quantizers = [node for node in self.nodes if node.op_type == "QuantizeLinear"]
        return len(quantizers) > 1 or any(n.input[0] in self.feeds and n.input[0] != self.tensor for n in quantizers)

    @property
    def maker(self) -> NodeProto:
        """The last node that computes, rather than stores; the quantizer of a graph input has none before it."""
        computing = [n for n in self.nodes if n.op_type not in ("QuantizeLinear", "DequantizeLinear", "Identity")]
        return (computing or self.nodes)[-1]


class Cut:
    """A graph cut at some of its tensors.

    Args:
        at: Tensors to cut at; those that the graph does not compute, and inputs, are only fed.
        whole_grids: Whether a piece reads its feeds through their own quantizers, as integer kernels do; else each
            feed takes the place of the tensor behind the quantizer, and a wrong grid shows where it is and nowhere
            else.
    """

    def __init__(self, graph: Graph, at: Iterable[str], *, whole_grids: bool = False) -> None:
        self.graph, self.whole_grids = graph, whole_grids
        self._pairs = stored_pairs(graph)
        self._at = dict.fromkeys((*graph.inputs, *at))
        self._producers = {name: node for node in graph.nodes for name in node.output}
        self._order = {id(node): place for place, node in enumerate(graph.nodes)}
        self._fed = {self._pairs[n].stored: n for n in self._at if n in self._pairs and not whole_grids}
        self._fed |= {name: name for name in self._at}
        self.pieces = [piece for piece in map(self._piece, self._ordered()) if piece.nodes]

    def _ordered(self) -> list[str]:
        def place(name: str) -> int:
            return self._order[id(self._producers[name])] if name in self._producers else -1

        return sorted((n for n in self._at if n in self._producers or n in self._pairs), key=place)

    def _piece(self, tensor: str) -> Piece:
        pair = self._pairs.get(tensor)
        found: dict[int, NodeProto] = {}
        feeds: dict[str, None] = {}
        wanted = [tensor] if tensor in self._producers else []
        if pair:
            found = {id(node): node for node in (pair.quantize, pair.dequantize)}
            wanted += [*pair.quantize.input[1:], *pair.dequantize.input[1:]]
        if tensor not in self._producers:
            feeds[tensor] = None
        start = True
        while wanted:
            name = wanted.pop(0)
            if name in self._fed and not start:
                feeds.setdefault(self._fed[name])
                continue
            start = False
            node = self._producers.get(name)
            if node is not None and id(node) not in found:
                found[id(node)] = node
                wanted += [read for read in node.input if read]
        nodes = sorted(found.values(), key=lambda node: self._order[id(node)])
        return Piece(tensor, tuple(nodes), tuple(feeds))

    def model(self, pieces: Iterable[Piece], examples: Tensors) -> ModelProto:
        """One graph of some pieces side by side; `NAME@made` is what the piece of NAME computes.

        Args:
            examples: By name, what will be fed; gives types and shapes.
        """
        nodes: list[NodeProto] = []
        feeds: dict[str, None] = {}
        outputs: list[str] = []
        for piece in pieces:
            nodes += self._renamed(piece)
            feeds |= dict.fromkeys(piece.feeds)
            outputs.append(f"{piece.tensor}{MADE}")
        return self.graph.with_body(nodes, {name: examples[name] for name in feeds}, outputs)

    def _renamed(self, piece: Piece) -> list[NodeProto]:
        """The nodes of a piece under names of its own, as two pieces may hold the same node."""
        mine: dict[str, str] = {}
        pair = self._pairs.get(piece.tensor)
        last = pair.stored if pair else piece.tensor
        copies = []
        for node in piece.nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{piece.tensor}/{label(node)}"
            copy.input[:] = [mine.get(name, self._feed_of(name)) for name in node.input]
            for name in node.output:
                mine[name] = f"{piece.tensor}{MADE}" if name == last else f"{piece.tensor}/{name}"
            copy.output[:] = [mine[name] for name in node.output]
            copies.append(copy)
        return copies

    def _feed_of(self, name: str) -> str:
        return str(self._fed.get(name, name))
