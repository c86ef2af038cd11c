"""The zoo's table: as Markdown for the docs, and on the screen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from edge_kit.core.bundle import FULL, SMALL
from edge_kit.report.console import open_console

Document = Mapping[str, Any]


class _Notes:
    """Reasons, numbered as they come; the same one again keeps its number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """What to write in the table for it.

        Folders of this machine are left out: one reason then reads the same of every model.
        """
        text = re.sub(r"'/[^']*/([^/']+)'", r"'\1'", text.partition("; its log: ")[0])
        if text not in self.texts:
            self.texts.append(text)
        return f"[{1 + self.texts.index(text)}]"


def print_matrix(report: Document) -> None:
    """The table, then the notes and the conditions."""
    console = open_console()
    notes = _Notes()
    table = Table()
    for i, heading in enumerate(_headings(report)):
        table.add_column(heading, justify="right" if i else "left", no_wrap=not i)
    for row in report["rows"]:
        table.add_row(*(cell.replace("[", "\\[") for cell in _cells(row, report, notes)))
    console.print(table)
    for line in (*_numbered(notes), *_conditions(report)):
        console.print(line, style="dim", highlight=False, markup=False)


def as_markdown(report: Document) -> str:
    """A page: the conditions, a table each family, the notes."""
    notes, parts = _Notes(), ["# The zoo, measured", "", "Written by `edge-kit matrix`.", ""]
    parts += [f"- {line}" for line in _conditions(report)] + [""]
    for family in dict.fromkeys(row["family"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["family"] == family]
        parts += [f"## {family.replace('_', ' ').capitalize()}", ""]
        headings = _headings(report)
        parts += [_line(headings), _line(["---"] + ["---:"] * (len(headings) - 1))]
        parts += [_line(_cells(row, report, notes)) for row in rows] + [""]
    if notes.texts:
        parts += [f"{line}  " for line in _numbered(notes)] + [""]
    return "\n".join(parts)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _headings(report: Document) -> list[str]:
    plain = ["model", "input", "parameters", "MACs", "FP32", "INT8", "size", "p50 ms", "speed"]
    return [*plain, *report["conditions"]["engines"], "published"]


def _cells(row: Document, report: Document, notes: _Notes) -> list[str]:
    headings = _headings(report)
    published = ", ".join(f"{one['metric']} {one['value']:g} {one['unit']}" for one in row["published"]["metrics"])
    if row["reason"]:
        return [row["id"], f"failed {notes.mark(row['reason'])}", *["-"] * (len(headings) - 3), published or "none"]
    full, small = (row["size_bytes"][name] for name in (FULL, SMALL))
    times = [row["latency"][name]["p50_ms"] for name in (FULL, SMALL)]
    speed = row["speedup"]
    return [
        row["id"],
        _sizes(row["input"]),
        _against(row["parameters"], row["published"]["parameters"]),
        _against(row["macs"], row["published"]["macs"]),
        *_quality(row),
        f"{small / full:.3f}",
        f"{times[0]:.2f} / {times[1]:.2f}",
        f"{speed['ratio']:.2f}x [{speed['low']:.2f}, {speed['high']:.2f}]",
        *(_on_runtime(row, runtime, notes) for runtime in report["conditions"]["engines"]),
        _published(row, published),
    ]


def _sizes(inputs: Document) -> str:
    """Of one sample, input by input; 1 where it is a single number."""
    return ", ".join("x".join(map(str, shape[1:])) or "1" for shape in inputs.values())


def _against(value: int, published: int) -> str:
    return f"{value:,}" if value == published else f"{value:,} (published {published:,})"


def _quality(row: Document) -> tuple[str, str]:
    """Of full precision, and of INT8 beside it."""
    same = f"{_pieces(row)}; {_same(row)}"
    if row["metrics"][FULL]:
        return _metric(row["metrics"][FULL][0]), f"drop {row['drop']:.2f}; {same}"
    mini = row["mini"]
    if not mini:
        return row["weights"], same
    return f"{row['weights']}; {_on_mini(mini)}", f"{same}; mini: {_kept(mini)}"


def _on_mini(mini: Document) -> str:
    scored = "no metric"
    if mini["metrics"][FULL]:
        scored = f"{_metric(mini['metrics'][FULL][0])}, chance {mini['chance'][0]['value']:.2f}"
    told = mini["training"]
    trained = f"; loss {told['first_loss']:.3g} to {told['last_loss']:.3g} in {told['steps']} steps" if told else ""
    return f"mini at {_sizes(mini['input'])}: {scored}{trained}"


def _kept(mini: Document) -> str:
    return _same(mini) if mini["drop"] is None else f"drop {mini['drop']:.2f}, {_same(mini)}"


def _same(figures: Document) -> str:
    agreement = figures["agreement"]
    told = f"{agreement['value']:.4g} {agreement['unit']}"
    return f"{told} same" if agreement["unit"] == "%" else f"{agreement['name']} {told}"


def _pieces(row: Document) -> str:
    """How many tensors of the INT8 graphs were found right."""
    compared = sum(one["compared"] for one in row["pieces"].values())
    wrong = next((one["first"] for one in row["pieces"].values() if one["first"]), "")
    return f"wrong: {wrong}" if wrong else f"{compared} tensors right"


def _metric(metric: Document) -> str:
    return f"{metric['name']} {metric['value']:.2f} {metric['unit']}"


def _on_runtime(row: Document, runtime: str, notes: _Notes) -> str:
    """Relative error of full precision, and how often INT8 gives the answer of full precision on ONNX Runtime."""
    cells = []
    for one in row["parity"]:
        if one["runtime"] != runtime:
            continue
        if one["reason"]:
            cells.append(notes.mark(one["reason"]))
        elif one["precision"] == FULL:
            cells.append(f"{one['max_rel']:.0e}")
        else:
            cells.append(f"{one['agreement']['value']:.4g} {one['agreement']['unit']}".strip())
    return " / ".join(cells)


def _published(row: Document, published: str) -> str:
    """The published row, and what became of it."""
    if not published:
        return "none"
    held = [check for check in row["checks"] if "against published" in check["name"]]
    if not held:
        return f"{published} (not compared)"
    return f"{published} ({'reached' if all(check['ok'] for check in held) else 'short'})"


def _numbered(notes: _Notes) -> list[str]:
    return [f"[{i}] {text}" for i, text in enumerate(notes.texts, 1)]


def _conditions(report: Document) -> list[str]:
    told = report["conditions"]
    machine, packages = told["machine"], ", ".join(f"{name} {number}" for name, number in told["packages"].items())
    engines = ", ".join(f"{name} {version}" for name, version in told["engines"].items())
    compared = sorted({row["agreement"]["samples"] for row in report["rows"] if not row["reason"]})
    samples = " or ".join(map(str, compared)) or "no"
    lines = [
        f"{machine['cpu']}, target {machine['target']}, {machine['cores']} cores; {packages}",
        f"engines: {engines}",
        f"p50 of FP32 / INT8 and speed (FP32 over INT8, with its 95 % interval): onnx, {told['threads']} thread(s), "
        f"batch 1, {told['repeats']} calls of both in turn; size: INT8 bytes over FP32 bytes",
        "INT8: how many tensors are as near to FP32 as 8 bits allow, each computed from right inputs; how often the "
        "answer is that of FP32",
        "a column each engine: largest relative error of FP32 (onnx against Paddle, the others against onnx) / how "
        f"often INT8 gives the answer of FP32 on onnx, on {samples} samples of {told['data']} data",
    ]
    if any(row.get("mini") for row in report["rows"]):
        lines.append(
            "mini: on the mini set of the format, at its input size and with its classes; chance: the same metric of "
            "noise in place of all outputs; loss: means over the first and the last tenth of the steps"
        )
    if any(row.get("weights") == "untrained" for row in report["rows"]):
        lines.append(
            "untrained: random weights, scaled by one pass over mini pictures at the published input size; they tell "
            "pictures apart by little, and the best two of their answers lie close, so that rounding changes many"
        )
    return lines
