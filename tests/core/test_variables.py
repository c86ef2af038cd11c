"""Variables as Paddle 1.x wrote them: read whole, or refused in a line."""

from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.variables import load_variables

HEAD = bytes(16)


def file_of(array: np.ndarray, code: int) -> bytes:
    message = bytes([8, code]) + b"".join(b"\x10" + varint(size) for size in array.shape)
    return HEAD + len(message).to_bytes(4, "little") + message + array.tobytes()


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def test_a_folder_of_variables_is_read_by_name(tmp_path: Path) -> None:
    weight = np.arange(2 * 300, dtype="<f4").reshape(2, 300)
    (tmp_path / "fc_0.w_0").write_bytes(file_of(weight, 5))
    (tmp_path / "counter").write_bytes(file_of(np.array([7], "<i8"), 3))
    read = load_variables(tmp_path)
    assert list(read) == ["counter", "fc_0.w_0"]
    np.testing.assert_array_equal(read["fc_0.w_0"], weight)
    assert read["counter"].dtype == np.int64
    assert read["fc_0.w_0"].flags.writeable


GOOD = file_of(np.ones((2, 3), "<f4"), 5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "its head is not that of a parameter"),
        (b"PK\x03\x04" + bytes(60), "its head is not that of a parameter"),
        (GOOD[:-1], "23 bytes of data do not fill (2, 3) of float32"),
        (GOOD + b"\0", "25 bytes of data"),
        (GOOD.replace(b"\x08\x05", b"\x08\x63"), "its type and shape cannot be read, 99"),
        (GOOD.replace(b"\x10\x02", b"\x22\x02"), "field 4 is none of a tensor's"),
        (HEAD + (2).to_bytes(4, "little") + b"\x10\xff", "cannot be read"),
        (HEAD + (2**31 - 1).to_bytes(4, "little") + b"\x08\x05", "its head"),
        (file_of(np.ones(1, "<f4"), 5).replace(b"\x10\x01", b"\x10" + varint(2**60)), "its type|do not fill"),
    ],
)
def test_a_damaged_variable_is_one_line_that_names_it(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "crfw").write_bytes(content)
    with pytest.raises(BadData) as fault:
        load_variables(tmp_path)
    assert any(part in str(fault.value) for part in said.split("|"))
    assert "crfw" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_an_empty_folder_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadData, match="is no folder of Paddle 1.x variables"):
            load_variables(folder)
