"""What a device's INT8 kernels want, and which target this machine is."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edge_kit.core.errors import MissingDependency
from runtimes.registry import get_runtime, runtime_names

DEFAULT_ENGINE = "onnx"


@dataclass(frozen=True, slots=True)
class Target:
    """The INT8 arithmetic of one kind of device, or of an engine that wants a form of its own.

    Attributes:
        name: As given to `--target`.
        unsigned_activations: Kernels multiply U8 activations by S8 weights (x86), not S8 by S8 (ARM).
        saturating_pairs: U8 x S8 products are added in pairs in int16, which can saturate (x86 without VNNI).
        why: One line for people.
        pads_channels: Kernels fill up an odd number of input channels at every place of the kernel, so that other
            weights are added in pairs than where ONNX Runtime does: no two of a channel may saturate.
        symmetric: Zero points are 0. Such a grid does not clip as Relu does, so activations stay nodes, which these
            engines compute within the kernel; what a kernel reads is quantized and not what it gives, and biases
            are float.
        sums: There are INT8 kernels for sums and pooling besides those with weights.
        any_convolution: There are for convolutions of any rank and grouping, not only over two axes and of one group
            or depthwise.
        engine: What the graphs are made for; where it is a runtime that is installed, it measures them, too.
    """

    name: str
    unsigned_activations: bool
    saturating_pairs: bool
    why: str
    pads_channels: bool = False
    symmetric: bool = False
    sums: bool = True
    any_convolution: bool = True
    engine: str = DEFAULT_ENGINE


TARGETS = {
    target.name: target
    for target in (
        Target(
            "x86-vnni",
            True,
            False,
            "U8 x S8 accumulated in int32 (vpdpbusd): full 8-bit weights are exact",
        ),
        Target(
            "x86-avx2",
            True,
            True,
            "U8 x S8 pairs added in int16 (vpmaddubsw): weights are kept from saturating",
        ),
        Target("arm64", False, False, "S8 x S8 (sdot or smull): signed activations"),
        # What OpenVINO's transformations want is what ONNX Runtime's kernels do, and all of MobileNetV2 and ResNet-18
        # runs in INT8 there; its kernels without VNNI saturate as ONNX Runtime's do, but pair other weights.
        Target(
            "openvino",
            True,
            True,
            "the form of x86-avx2, which OpenVINO runs in INT8 throughout; no two weights saturate in any order",
            pads_channels=True,
            engine="openvino",
        ),
        Target(
            "ncnn",
            False,
            False,
            "ncnn's INT8: S8 x S8 around zero; convolutions of one group or depthwise, and dense layers",
            symmetric=True,
            sums=False,
            any_convolution=False,
            engine="ncnn",
        ),
        Target(
            "mnn",
            False,
            False,
            "the form of arm64: S8 x S8, convolutions whose input and output have a grid",
            engine="mnn",
        ),
        Target(
            "tensorrt",
            False,
            False,
            "TensorRT's explicit quantization: S8 x S8 around zero, one summand of a residual sum, float biases",
            symmetric=True,
            engine="tensorrt",
        ),
    )
}


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The instruction set flags the kernel reports; empty where there is no such file."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name, or its architecture where the kernel gives none."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    names = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(names, platform.machine())


def machine_conditions() -> dict[str, str]:
    """What times and INT8 answers taken here depend on."""
    return {"cpu": cpu_name(), "isa": this_machine().name, "cores": str(os.cpu_count())}


def measured_on(target: Target) -> dict[str, str]:
    """The runtime that a target's graphs are measured on: its engine with its version, or ONNX Runtime without it."""
    if target.engine != DEFAULT_ENGINE and target.engine in runtime_names():
        try:
            runtime = get_runtime(target.engine)
        except MissingDependency:
            return {"runtime": DEFAULT_ENGINE}
        return {"runtime": runtime.name, "version": runtime.version()}
    return {"runtime": DEFAULT_ENGINE}


def this_machine() -> Target:
    """The target of the machine this runs on, read and not asked for."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return TARGETS["arm64"]
    vnni = {"avx512_vnni", "avx_vnni"} & cpu_flags()
    return TARGETS["x86-vnni" if vnni else "x86-avx2"]
