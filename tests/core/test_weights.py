"""Weights load to the values that were saved, and a file can do nothing but be read or refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_kit.core.errors import BadData, EdgeKitError
from edge_kit.core.tensors import Array
from edge_kit.core.weights import load_weights, read_metadata, save_weights

SAVE_WITH_PADDLE = """
import os, sys
os.environ["FLAGS_enable_pir_api"] = "0"
import numpy as np, paddle
from paddle import nn
from paddle.framework import io, io_utils
paddle.seed(7)
net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1D(4))
state = dict(net.state_dict())
def save(stem, state, protocol=4):
    np.savez(f"{stem}.npz", **{name: value.numpy() for name, value in state.items()})
    paddle.save(state, f"{stem}.pdparams", protocol=protocol)
for protocol in (2, 3, 4):
    save(f"flat{protocol}", state, protocol)
    save(f"named{protocol}", state, protocol)
    with open(f"named{protocol}.pdparams", "wb") as file:  # as for other containers
        io._pickle_save(net.state_dict(), file, protocol)
save("bfloat16", {name: value.astype("bfloat16") for name, value in state.items()})
save("float16", {name: value.astype("float16") for name, value in state.items()})
save("odd", {"empty": paddle.zeros([0, 3]), "scalar": paddle.to_tensor(1.5)}, 2)
paddle.save({"model": state, "epoch": 3}, "checkpoint.pdparams")
code = io_utils._unpack_saved_dict.__code__  # cut at 40 bytes instead of at 1 GiB
consts = tuple(40 if const == 2**30 - 1 else const for const in code.co_consts)
io_utils._unpack_saved_dict.__code__ = code.replace(co_consts=consts)
save("sliced", state, 2)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that the real `paddle.save` wrote, in a process of its own."""
    folder = tmp_path_factory.mktemp("saved")
    subprocess.run([sys.executable, "-c", SAVE_WITH_PADDLE], cwd=folder, check=True)
    return folder


def truth(saved: Path, stem: str = "flat4") -> dict[str, Array]:
    with np.load(saved / f"{stem}.npz") as file:
        return dict(file)


def assert_same(got: dict[str, Array], wanted: dict[str, Array]) -> None:
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (got[name].dtype, got[name].shape) == (value.dtype, value.shape)
        assert got[name].tobytes() == value.tobytes()


STEMS = [f"{kind}{protocol}" for kind in ("flat", "named") for protocol in (2, 3, 4)]


@pytest.mark.parametrize("stem", [*STEMS, "bfloat16", "float16", "odd", "sliced"])
def test_paddles_files_load_to_the_values_saved(saved: Path, stem: str) -> None:
    weights = load_weights(saved / f"{stem}.pdparams")
    assert_same(weights, truth(saved, stem))
    assert (b"UnpackBig" in (saved / f"{stem}.pdparams").read_bytes()) == (stem == "sliced")
    assert all(array.flags.writeable for array in weights.values())


def test_bfloat16_comes_as_its_bits(saved: Path) -> None:
    assert load_weights(saved / "bfloat16.pdparams")["1.weight"].tolist() == [0x3F80] * 4


def test_a_whole_checkpoint_is_refused_by_the_entry_that_is_no_array(saved: Path) -> None:
    with pytest.raises(BadData, match="entry 'model' is dict, no array"):
        load_weights(saved / "checkpoint.pdparams")


def test_content_decides_and_not_the_ending(saved: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "a.pdparams", truth(saved), {})
    assert_same(load_weights(tmp_path / "a.pdparams"), truth(saved))
    (tmp_path / "b.safetensors").write_bytes((saved / "flat4.pdparams").read_bytes())
    assert_same(load_weights(tmp_path / "b.safetensors"), truth(saved))


def test_a_numpy_2_pickle_loads(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T  # pickled in Fortran order
    pickled = pickle.dumps({"a": array}, protocol=3)
    path = tmp_path / "numpy2.pdparams"
    path.write_bytes(pickled.replace(b"numpy.core.multiarray", b"numpy._core.multiarray"))
    assert_same(load_weights(path), {"a": array})


ODD_ARRAYS = {
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "big_endian": np.arange(3, dtype=">f8"),
    "scalar": np.array(3, dtype=np.int64),
    "empty": np.zeros((0, 3), dtype=np.float16),
    "flag": np.array([True, False]),
    "complex": np.array([1 + 2j], dtype=np.complex64),
    "bfloat16": np.array([0x3F80], dtype=np.uint16),
    "byte": np.array([-1], dtype=np.int8),
}


def test_safetensors_round_trip_gives_equal_values_of_any_memory_order(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, ODD_ARRAYS, {"card": "müßig", "source": "here"})
    native = {n: a.astype(a.dtype.newbyteorder("="), order="C") for n, a in ODD_ARRAYS.items()}
    assert_same(load_weights(path), native)
    assert read_metadata(path) == {"card": "müßig", "source": "here"}
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_another_reader_agrees_on_what_was_written(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    path = tmp_path / "w.safetensors"
    numpy_has = {name: array for name, array in ODD_ARRAYS.items() if name != "bfloat16"}
    save_weights(path, numpy_has, {})
    for name, array in load_file(path).items():
        np.testing.assert_array_equal(array, numpy_has[name])
    save_weights(path, ODD_ARRAYS, {})
    assert b'"bfloat16":{"data_offsets":[64,66],"dtype":"BF16","shape":[1]}' in path.read_bytes()


def test_equal_weights_give_equal_bytes_with_sorted_names(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    metadata = {f"key{number}": "x" for number in range(8)}
    save_weights(first, ODD_ARRAYS, metadata)
    save_weights(second, dict(reversed(ODD_ARRAYS.items())), dict(reversed(metadata.items())))
    assert first.read_bytes() == second.read_bytes()
    size = int.from_bytes(first.read_bytes()[:8], "little")
    assert list(names := json.loads(first.read_bytes()[8 : 8 + size])) == sorted(names)


def test_what_safetensors_cannot_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match="weight 'a' of dtype 'object'"):
        save_weights(tmp_path / "w", {"a": np.array([None])}, {})
    with pytest.raises(EdgeKitError, match="cannot write weights .*No such file"):
        save_weights(tmp_path / "nowhere" / "w", {}, {})


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def hostile(command: str) -> dict[str, tuple[Any, str]]:
    code = f"__import__('os').system({command!r})"
    objects = np.empty(1, dtype=object)
    objects[0] = Calls(os.system, command)
    return {
        "os.system": (Calls(os.system, command), "posix.system"),
        "eval": (Calls(eval, code), "eval"),
        "exec in an entry": ({"w": np.zeros(2), "x": Calls(exec, code)}, "exec"),
        "in a tuple in a list": ({"w": [("n", Calls(os.system, command))]}, "posix.system"),
        "in an object array": ({"w": objects}, "dtype 'O8'"),
        "getattr chain": (Calls(getattr, Calls(__import__, "os"), "system"), "getattr"),
        "ordered dict of calls": (OrderedDict(w=Calls(os.system, command)), "posix.system"),
        "shutil": (Calls(shutil.rmtree, "nowhere"), "shutil.rmtree"),
        "structured dtype": ({"w": np.zeros(2, "i4,f4")}, "dtype 'V8'"),
        "texts": ({"w": np.array(["a"])}, "dtype 'U1'"),
    }


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("attack", hostile("").keys())
def test_a_pickle_that_would_run_code_is_refused_and_has_no_effect(attack: str, protocol: int, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "x.pdparams"
    thing, named = hostile(f"touch {marker}")[attack]
    path.write_bytes(pickle.dumps(thing, protocol=protocol))
    with pytest.raises(BadData) as caught:
        load_weights(path)
    assert (message := str(caught.value)).startswith(f"weights {str(path)!r}")
    if protocol in (2, 3, 4):  # the others stop earlier, at an opcode that Paddle never writes
        assert named in message and message.endswith("a state dict holds arrays only")
    assert not marker.exists()


def safetensors(shape: list[int], end: int, dtype: str = "F32", size: int | None = None) -> bytes:
    text = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + bytes(min(end, 4))


NDARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01bt"
DEEP = b")" + b"\x85" * 200_000  # a tuple in a tuple; to hash it ends the process
SLICES = b"\x80\x04}\x8c\x15UnpackBigParamInfor@@}\x8c\x01w}\x8c\x06slices]("
AXIS = b"\x8a\x08" + b"\xff" * 7 + b"\x0f"  # 2**60 - 1
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R"
HANDMADE = {
    "copyreg": b"\x80\x02ccopyreg\n_reconstructor\n.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0ef2py.os.system\x93.",
    "INST": b"(S'touch x'\nios\nsystem\n.",
    "newline in the name": b"\x80\x04\x8c\x04o\nos\x8c\x06system\x93.",
    "state of a class": b"\x80\x02cnumpy\nndarray\n}b.",
    "memo of 34 GB": b"\x80\x02}r\xff\xff\xff\x7fj\xff\xff\xff\x7e.",
    "bytes of 2**62": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.",
    "array of 2**60": b"\x80\x03}X\x01\x00\x00\x00a" + NDARRAY + b"R(K\x01" + AXIS + b"\x85" + DTYPE + b"\x89C\x01xtb.",
    "deep key": b"\x80\x02}" + DEEP + b"K\x01s.",
    "deep name": b"\x80\x04" + DEEP + b"\x8c\x01x\x93.",
    "deep slice": SLICES + DEEP + b"esss.",
    "list inside itself": b"\x80\x02]q\x00h\x00a.",
    "nothing": b"\x80\x02.",
    "empty": b"",
    "zip": b"PK\x03\x04" + bytes(60),
    "header of 2**62": safetensors([1], 4, size=2**62),
    "header of 4 GB": safetensors([1], 4, size=2**32 - 1),
    "4 TB of data": safetensors([2**40], 2**42),
    "shape that overflows": safetensors([2**62, 4], 0),
    "no elements of 2**62": safetensors([0, 2**62], 0),
    "more data than the shape says": safetensors([1], 8),
    "float8": safetensors([4], 4, "F8_E4M3"),
}


@pytest.mark.parametrize("name", HANDMADE)
def test_a_file_made_to_break_the_reader_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pdparams"
    path.write_bytes(HANDMADE[name])
    with pytest.raises(BadData, match=r"^weights '.*x\.pdparams'.*\Z"):
        load_weights(path)


def test_one_blob_used_many_times_does_not_multiply(tmp_path: Path) -> None:
    blob = bytes(1 << 20)
    build = NDARRAY + b"R(K\x01M\x00\x04M\x00\x04\x86" + DTYPE + b"\x89h\x00tb"
    first = build.replace(b"h\x00", b"B" + len(blob).to_bytes(4, "little") + blob + b"q\x00")
    entries = [b"X\x01\x00\x00\x00" + bytes([65 + n]) for n in range(20)]
    body = b"".join(name + (build if n else first) + b"s" for n, name in enumerate(entries))
    (tmp_path / "x").write_bytes(b"\x80\x03}" + body + b".")
    with pytest.raises(BadData, match="more elements than bytes"):
        load_weights(tmp_path / "x")


@pytest.fixture(params=["flat2", "flat3", "flat4", "named4", "safetensors"])
def whole(request: pytest.FixtureRequest, saved: Path, tmp_path: Path) -> bytes:
    if request.param != "safetensors":
        return (saved / f"{request.param}.pdparams").read_bytes()
    save_weights(tmp_path / "whole", truth(saved), {"a": "b"})
    return (tmp_path / "whole").read_bytes()


def test_a_file_cut_anywhere_is_bad_data(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadData):
            load_weights(path)


def test_a_file_with_a_flipped_bit_is_read_or_bad_data(whole: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "flipped"
    outcomes: set[type] = set()
    for _ in range(200):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            outcomes.add(type(load_weights(path)))
        except BadData as error:
            outcomes.add(type(error))
    assert outcomes == {dict, BadData}


def test_a_missing_file_a_folder_and_no_metadata_are_named(tmp_path: Path) -> None:
    for read in (load_weights, read_metadata):
        for path in (tmp_path / "absent", tmp_path):
            with pytest.raises(BadData, match=str(path)):
                read(path)
    save_weights(tmp_path / "w", {}, {})
    assert read_metadata(tmp_path / "w") == {}
    assert load_weights(tmp_path / "w") == {}
