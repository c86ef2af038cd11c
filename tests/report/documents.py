"""A report as the pipeline gathers it, made by hand so that a test knows every figure."""

from __future__ import annotations

from typing import Any

from edge_kit.pipeline.report import mark_fronts

MACHINE = {"cpu": "A processor", "isa": "x86-vnni", "cores": "2"}
HOSTILE = "=<script>alert(1)</script>|`'\"<a href='http://evil.example'>*x*"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
PIXEL = {
    "src": f"data:image/png;base64,{PNG}",
    "width": 96,
    "height": 96,
}


def latency(runtime: str, p50: float) -> dict[str, Any]:
    plan = {"runtime": runtime, "runtime_version": "1.2", "device": "cpu", "threads": 1, "batch": 1}
    calls = {"warmup": 20, "repeats": 200, "input_shape": {"image": [1, 3, 64, 64]}, "cpus": []}
    return {"p50_ms": p50, "p90_ms": 1.1 * p50, "p99_ms": 1.5 * p50, **plan, **calls}


def metric(value: float, name: str = "top1") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": "%", "dataset": "mini-imagenet val", "samples": 1000}


def row(bundle: str, version: str, runtime: str, p50: float, top1: float | None, size: int) -> dict[str, Any]:
    of = {"bundle": bundle, "digest": f"digest of {bundle}", "id": bundle, "title": "A title", "task": "classify"}
    return {
        **of,
        "family": "image_classification",
        "version": version,
        "runtime": runtime,
        "machine": MACHINE,
        "origin": "receipt" if runtime == "onnx" else "this report",
        "latency": latency(runtime, p50),
        "metric": None if top1 is None else metric(top1),
        "agreement": metric(99.5, "same top1") if version == "int8" else None,
        "size_bytes": size,
        "reason": "",
        "noise": "",
    }


def failed(bundle: str, runtime: str, reason: str) -> dict[str, Any]:
    empty = dict.fromkeys(("latency", "metric", "agreement"))
    return {**row(bundle, "int8", runtime, 1.0, None, 1000), **empty, "reason": reason}


def model(name: str) -> dict[str, Any]:
    operators = [
        {"name": "Conv.0", "kind": "QLinearConv", "place": "CPU", "precision": "int8", "ms": 0.4, "node": "Conv.0"}
    ]
    kinds = [{"kind": "QLinearConv", "count": 1, "ms": 0.4}, {"kind": "QGemm", "count": 1, "ms": 0.1}]
    graph = {"name": "x int8/main", "quantized": True, "size_bytes": 1000, "total_ms": 0.5, "int8_ms": 0.5}
    graph |= {"operator_count": 2, "untimed": "", "findings": [], "kinds": kinds, "operators": operators}
    conditions = {"runtime": "onnx", "runtime_version": "1.2", "device": "cpu", "threads": 1, "calls": 20}
    chart = {"kind": "confusion", "labels": ["cat", HOSTILE], "counts": [[0, 0, 7], [0, 1, 3], [1, 1, 10]]}
    example = {"sample": 4, "text": "", "truth": "cat", "same": False, "pictures": {"": PIXEL}}
    example["answers"] = {"fp32": "cat", "int8": HOSTILE}
    layers = [{"graph": "main", "node": "Conv.0", "operator": "Conv", "noise": 1e-3, "same": 0.99, "weights": 9}]
    times = {version: [p50 + 0.01 * (i % 7) for i in range(200)] for version, p50 in (("fp32", 2.0), ("int8", 1.0))}
    of = {"runtime": "onnx", "machine": MACHINE, "noise": ""}
    check = {"name": "int8 top1 drop", "value": 0.25, "limit": 0.5, "ok": True, "unit": "points", "sense": "max"}
    return {
        "name": name,
        "digest": f"digest of {name}",
        "id": name,
        "title": "A title",
        "task": "classify",
        "family": "image_classification",
        "target": "x86-vnni",
        "size": {"parameters": 1234567},
        "stages": [{"name": "train", "seconds": 12.5}, {"name": "measure", "seconds": 3.25}],
        "sensitivity": {"id": name, "target": "x86-vnni", "algorithm": "hist", "samples": 200, "layers": layers},
        "latencies": [{**of, "version": v, "latency": latency("onnx", t[0]), "times_ms": t} for v, t in times.items()],
        "shown": {
            "explained": {**conditions, "graphs": [graph]},
            "charts": {"fp32": chart, "int8": chart},
            "examples": [example],
            "data": {"name": "mini-imagenet", "samples": 20},
        },
        "missing": [],
        "checks": [{**check, "note": "why"}],
        "reference": [{"dataset": "ImageNet", "metric": "top1", "value": 72.15, "unit": "%", "source": HOSTILE}],
        "machine": MACHINE,
        "versions": {"onnxruntime": "1.2"},
        "notes": [HOSTILE],
        "source": "a test",
        "licence": "none",
        "request": {"data": "mini", "quantize": "ptq", "algorithm": "hist"},
        "calibration": {"samples": 200, "sha256": "00"},
    }  # fmt: skip


def document() -> dict[str, Any]:
    """Two models on two runtimes: one that one runtime cannot run, and one of random weights with a hostile name."""
    rows = [
        row("small", "fp32", "onnx", 2.0, 90.25, 4_000_000),
        row("small", "int8", "onnx", 1.0, 89.75, 1_000_000),
        row("small", "fp32", "openvino", 3.0, 90.25, 4_000_000),
        failed("small", "openvino", "it has no kernel"),
        row("large", "fp32", "onnx", 8.0, 90.0, 40_000_000),
        row("large", "int8", "onnx", 4.0, 95.5, 10_000_000),
        row(HOSTILE, "fp32", "onnx", 1.5, None, 2_000_000),
    ]
    mark_fronts(rows)
    models = [model("small"), model("large"), {**model(HOSTILE), "shown": None, "stages": [], "sensitivity": None}]
    models[2] |= {"latencies": [], "missing": [f"not measured anew: {HOSTILE}"]}
    return {"made": {"edge_kit": "0.1.0", "date": "2026-01-31", "machine": MACHINE}, "rows": rows, "models": models}
