"""ONNX Runtime with the times of its operators read from its own trace: the least that `Profiling` asks for."""

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import onnxruntime

from edge_kit.core.tensors import Tensors
from runtimes.ort import OnnxRuntime
from runtimes.protocol import OperatorTime


class ProfiledRuntime(OnnxRuntime):
    name = "profiled"

    def profile(
        self, graph: Path, inputs: Tensors, *, threads: int = 1, device: str = "cpu", calls: int = 20
    ) -> tuple[OperatorTime, ...]:
        with tempfile.TemporaryDirectory() as folder:
            options = self._options(threads)
            options.enable_profiling = True
            options.profile_file_prefix = f"{folder}/trace"
            session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
            for _ in range(calls):
                session.run(None, dict(inputs))
            events = json.loads(Path(session.end_profiling()).read_text())
        found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for event in events:
            name = event["name"]
            if event["cat"] == "Node" and name.endswith("_kernel_time"):
                key = (name.removesuffix("_kernel_time"), event["args"]["op_name"], event["args"]["provider"])
                found[key].append(event["dur"] / 1000)
        return tuple(OperatorTime(*key, "", median(times)) for key, times in found.items())
