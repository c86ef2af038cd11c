"""What is written for Paddle Inference: names that hold, and nothing of the machine that wrote it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import paddle
import pytest

from convert.export import export_paddle
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.tensors import GraphSpec, TensorSpec

ROOT = Path(__file__).parents[2]
X = TensorSpec("x", ("N", 3))
EXPORT = """
import sys
from pathlib import Path
import edge_kit, paddle
from convert.export import export_paddle
from edge_kit.core.tensors import GraphSpec, TensorSpec
paddle.seed(0)
net = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.ReLU())
export_paddle(net, GraphSpec((TensorSpec("x", ("N", 3)),), ("logits",)), Path(sys.argv[1]))
"""


class Pair(paddle.nn.Layer):
    def __init__(self, give: str) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        y = x * 2
        return {"same": (y, y), "input": (x, y)}[self.give]


def test_bytes_depend_on_neither_place_nor_process_nor_line(tmp_path: Path) -> None:
    made = []
    for name, padding, seed in (("a", "", "1"), ("longer/b", "\n" * 7, "2")):
        prefix = tmp_path / name / "main"
        prefix.parent.mkdir(parents=True)
        script = prefix.parent / "script.py"
        script.write_text(padding + EXPORT)
        env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "HOME": str(tmp_path)}
        subprocess.run([sys.executable, script, prefix], env=env, cwd=prefix.parent, capture_output=True, check=True)
        made.append([prefix.with_suffix(suffix).read_bytes() for suffix in (".pdmodel", ".pdiparams")])
    assert made[0] == made[1]
    assert b".py" not in made[0][0]


@pytest.mark.parametrize("give", ["same", "input"])
def test_an_output_must_be_a_tensor_of_its_own(give: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match=r"^'pair\.pdmodel' gives .* for outputs \['a', 'b'\]; each must be"):
        export_paddle(Pair(give), GraphSpec((X,), ("a", "b")), tmp_path / "pair")


def test_an_output_cannot_have_the_name_of_a_tensor_inside(tmp_path: Path) -> None:
    net = paddle.nn.Linear(3, 4, weight_attr=paddle.ParamAttr(name="taken"))
    with pytest.raises(EdgeKitError, match=r"^output 'taken' of 'main\.pdmodel' is called as a tensor inside it"):
        export_paddle(net, GraphSpec((X,), ("taken",)), tmp_path / "main")
