"""`edge-kit.toml`: what it says, and what it cannot say."""

from pathlib import Path

import pytest

from edge_kit.core.errors import EdgeKitError
from edge_kit.pipeline.limits import GateLimits, check_models, find_limits, read_limits

WHOLE = """
[defaults]
max_drop = 0.5
max_latency_ratio = 1

[models.mobilenetv2]
max_drop = 1.5
max_size_mb = 2.6

[models.mobilenetv2.openvino]
max_latency_ratio = 0.7

[models.mobilenetv2-uint8-nhwc]
max_size_mb = 2.7
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edge-kit.toml"
    path.write_text(text)
    return path


def test_what_is_nearer_to_the_model_has_precedence(tmp_path: Path) -> None:
    file = read_limits(written(tmp_path, WHOLE))
    onnx = GateLimits(max_drop=1.5, max_latency_ratio=1.0, max_size_mb=2.6)
    assert file.of(("mobilenetv2",), "onnx") == onnx
    assert file.of(("mobilenetv2",), "openvino") == GateLimits(1.5, 0.7, max_size_mb=2.6)
    assert file.of(("mobilenetv2-uint8-nhwc", "mobilenetv2"), "onnx").max_size_mb == 2.7
    assert file.of(("resnet50",), "onnx") == GateLimits(0.5, 1.0)


def test_flags_and_files_leave_what_they_do_not_say(tmp_path: Path) -> None:
    file = read_limits(written(tmp_path, WHOLE))
    merged = GateLimits(max_drop=0.1).over(file.of(("mobilenetv2",), "onnx"))
    assert (merged.max_drop, merged.max_size_mb) == (0.1, 2.6)
    assert GateLimits.recorded({"max_drop": None, "max_size_ratio": 0.3, "max_parity": 1e-4}) == GateLimits(
        max_size_ratio=0.3
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[default]\n", "unknown section 'default'; did you mean 'defaults'?"),
        ("[defaults]\nmax_dorp = 1\n", "unknown limit in [defaults] 'max_dorp'; did you mean 'max_drop'?"),
        ("[defaults]\nmax_drop = '1'\n", "max_drop of [defaults] in {path!r} must be a number, got '1'"),
        ("[defaults]\nmax_drop = true\n", "max_drop of [defaults] in {path!r} must be a number, got True"),
        ("[defaults]\nmax_drop = nan\n", "max_drop of [defaults] in {path!r} must be a number, got nan"),
        ("defaults = 3\n", "defaults in {path!r} must be a section, [defaults], got 3"),
        ("[models]\nm = 3\n", "models.m in {path!r} must be a section, [models.m], got 3"),
        ("[models.m.onxn]\n", "unknown runtime in [models.m] 'onxn'; did you mean 'onnx'?"),
        ("[models.m.onnx]\nmin_agremeent = 1\n", "unknown limit in [models.m.onnx] 'min_agremeent'; did you mean"),
        ("[defaults\n", "cannot be read: "),
        ("[defaults]\nmax_drop = 1\nmax_drop = 2\n", "cannot be read: Cannot overwrite a value"),
    ],
)
def test_a_fault_is_one_line_with_the_nearest_name(text: str, fault: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(EdgeKitError) as caught:
        read_limits(path)
    assert fault.format(path=str(path)) in str(caught.value)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "edge-kit.toml").write_bytes(b"\xff\xfe[")
    with pytest.raises(EdgeKitError, match="cannot be read: "):
        read_limits(tmp_path / "edge-kit.toml")


def test_a_model_that_there_is_not_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "[models.mobilenetv3]\nmax_drop = 1\n[models.mine]\n")
    file, zoo_asked = read_limits(path), []

    def zoo() -> list[str]:
        zoo_asked.append(1)
        return ["mobilenetv2", "resnet50"]

    with pytest.raises(EdgeKitError) as caught:
        check_models(path, file, ["mine"], zoo)
    assert str(caught.value) == f"{str(path)!r}: unknown model 'mobilenetv3'; did you mean 'mobilenetv2'?"
    check_models(path, file, ["mine", "mobilenetv3"], lambda: pytest.fail("all names are known"))


def test_the_file_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_limits(None) is None
    written(tmp_path, "")
    assert find_limits(None) == Path("edge-kit.toml")
    with pytest.raises(EdgeKitError, match=r"^limits file 'other.toml' does not exist$"):
        find_limits(Path("other.toml"))
