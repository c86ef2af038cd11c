"""The rows of a report: as CSV and as Markdown, and how their figures and conditions are worded everywhere."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take for one
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!&])")
HEADINGS = (
    "model",
    "family",
    "version",
    "runtime",
    "metric",
    "same answers",
    "size",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "front",
)
LATENCY = ("p50_ms", "p90_ms", "p99_ms")
TIMING = ("runtime_version", "device", "threads", "batch", "warmup", "repeats")


def cells(row: Row) -> list[str]:
    """A row under `HEADINGS`, for people; `-` where nothing was measured."""
    times = [f"{row['latency'][name]:.3f}" if row["latency"] else "-" for name in LATENCY]
    size = "-" if row["size_bytes"] is None else f"{row['size_bytes'] / 1e6:.2f} MB"
    same = row["agreement"]
    # A share of equal answers needs no name in a column that has it.
    quality = (figure(row["metric"]), f"{same['value']:.2f} %" if same and same["unit"] == "%" else figure(same))
    of = (row["bundle"], row["family"].replace("_", " "), row["version"], row["runtime"])
    return [*of, *quality, size, *times, "yes" if row["front"] else "-"]


def figure(metric: Row | None) -> str:
    """A metric's value with its unit; `-` where there is none."""
    return f"{metric['name']} {metric['value']:.2f} {metric['unit']}".strip() if metric else "-"


def conditions(row: Row) -> str:
    """Under what the figures of a row were taken, in one line."""
    parts = [timing(row["latency"])] if row["latency"] else [f"cannot run: {row['reason']}"]
    scored = (metric for metric in (row["metric"], row["agreement"]) if metric)
    parts += dict.fromkeys(f"scored on {one['samples']:,} samples of {one['dataset']}" for one in scored)
    if row["latency"] and not row["metric"]:
        parts.append("no metric")
    machine = row["machine"]
    parts.append(f"{machine['cpu']}, {machine['cores']} core(s), {machine['isa']}; from {_origin(row)}")
    return "; ".join([*parts, *([f"noisy: {row['noise']}"] if row["noise"] else [])])


def timing(latency: Row) -> str:
    """How a latency was taken."""
    plan = f"{latency['threads']} thread(s), batch {latency['batch']}, {shape(latency)}"
    calls = f"{latency['warmup']} warm-up and {latency['repeats']} timed calls"
    return f"{latency['runtime']} {latency['runtime_version']} on {latency['device']}, {plan}, {calls}"


def shape(latency: Row) -> str:
    """`image 1x3x64x64`."""
    return ", ".join(f"{name} {'x'.join(map(str, axes))}" for name, axes in latency["input_shape"].items())


def _origin(row: Row) -> str:
    return "the bundle's receipt" if row["origin"] == "receipt" else "measurements for this report"


def numbered(rows: Iterable[Row]) -> tuple[list[int], list[str]]:
    """Which conditions each row has, counted from 1, and all of them in words."""
    texts: list[str] = []
    places = []
    for row in rows:
        text = conditions(row)
        if text not in texts:
            texts.append(text)
        places.append(1 + texts.index(text))
    return places, texts


def as_markdown(report: Mapping[str, Any]) -> str:
    """A table, the conditions under it, and what could not be measured."""
    made = report["made"]
    places, texts = numbered(report["rows"])
    lines = ["# Models, measured", "", f"Written by edge-kit {made['edge_kit']} on {made['date']}.", ""]
    lines += [_line((*HEADINGS, "conditions")), _line(["---"] * 4 + ["---:"] * 6 + ["---", "---:"])]
    lines += [_line([*cells(row), f"({place})"]) for row, place in zip(report["rows"], places, strict=True)]
    lines += ["", FRONT, ""]
    lines += [f"- ({i}) {_plain(text)}" for i, text in enumerate(texts, 1)]
    missing = [f"- {_plain(one['name'])}: {_plain(text)}" for one in report["models"] for text in one["missing"]]
    return "\n".join([*lines, *(["", "Not measured:", "", *missing] if missing else []), ""])


FRONT = (
    "front: among the rows of its runtime that were taken alike (metric, data set, machine, device, threads, batch), "
    "none is as fast and better, or as good and faster."
)


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(value) for value in values)} |"


def _plain(text: str) -> str:
    """Text that no Markdown reader takes for markup."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def as_csv(report: Mapping[str, Any]) -> str:
    """A line a row, every condition a column; empty where nothing was measured."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(_record(EMPTY)), lineterminator="\n")
    writer.writeheader()
    for row in report["rows"]:
        writer.writerow({name: _safe(value) for name, value in _record(row).items()})
    return out.getvalue()


EMPTY: Row = {
    **dict.fromkeys(
        ("bundle", "digest", "id", "title", "task", "family", "version", "runtime", "origin", "reason"), ""
    ),
    **dict.fromkeys(("latency", "metric", "agreement", "size_bytes"), None),
    "machine": {"cpu": "", "cores": "", "isa": ""},
    "front": False,
    "noise": "",
}


def _record(row: Row) -> dict[str, Any]:
    latency = row["latency"] or {}
    own = {name: row[name] for name in ("bundle", "id", "title", "family", "task", "version", "runtime")}
    return {
        **own,
        **_metric("metric", row["metric"]),
        **_metric("agreement", row["agreement"]),
        "size_bytes": row["size_bytes"],
        **{name: latency.get(name) for name in LATENCY},
        "front": row["front"],
        **{name: latency.get(name) for name in TIMING},
        "input": shape(latency) if latency else None,
        **{name: row["machine"][name] for name in ("cpu", "cores", "isa")},
        **{name: row[name] for name in ("origin", "noise", "reason", "digest")},
    }


def _metric(prefix: str, metric: Row | None) -> dict[str, Any]:
    names = ("name", "value", "unit", "dataset", "samples")
    return {f"{prefix}_{name}": metric[name] if metric else None for name in names}


def _safe(value: Any) -> Any:
    """A text that begins like a formula is one to a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
