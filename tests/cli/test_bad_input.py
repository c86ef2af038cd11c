"""Bad input: one line that names the fault, the right exit code, and nothing lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOY, Cli, Result
from tests.data.test_imagenet import make_folder


def test_an_unknown_model_suggests_the_nearest(cli: Cli) -> None:
    done = cli("compress", "mobilnetv2")
    assert done.code == 2
    assert done.is_one_line()
    assert "unknown model 'mobilnetv2'; did you mean 'mobilenetv2'?" in done.err


@pytest.mark.parametrize(
    "args",
    [
        ("compress",),
        ("compress", "toynet", "--no-such-option"),
        ("compress", "toynet", "--prune", "1.5"),
        ("compress", "toynet", "--prune", "much"),
        ("compress", "toynet", "--target", "z80"),
        ("compress", "toynet", "--target", "ncnn", "--input", "uint8-nhwc"),
        ("compress", "toynet", "--threads", "0"),
        ("compress", "toynet", "--prune", "0.5", "--criterion", "random"),
        ("zoo", "show"),
        ("zoo", "show", "nothing_like_it"),
        ("zoo", "--task", "nothing_like_it"),
        ("bench", "--runtime", "nothing_like_it"),
        ("bench", "--repeats", "0", "x.onnx"),
        ("nothing_like_it",),
    ],
    ids=" ".join,
)
def test_a_request_that_makes_no_sense_is_exit_code_2(args: tuple[str, ...], cli: Cli) -> None:
    done = cli(*args)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_data_folder_of_the_wrong_shape_is_told_the_format(cli: Cli, tmp_path: Path) -> None:
    done = cli("compress", "toynet", "--data", str(tmp_path))
    assert done.code == 1
    assert done.is_one_line()
    assert "has no train_list.txt" in done.err


def test_a_missing_image_is_named_and_counted_and_max_bad_leaves_it_out(cli: Cli, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "imagenet", train=24, val=12)
    (root / "val/3.jpeg").unlink()
    (root / "train/2.jpeg").write_bytes(b"\xff\xd8\xff broken")
    done = cli("compress", "toynet", "--data", str(root))
    assert done.code == 1
    assert done.is_one_line()
    assert "2 images listed" in done.err
    assert "'train/2.jpeg' (truncated)" in done.err
    assert "--max-bad 2" in done.err
    again = cli(*TOY, "--data", str(root), "--max-bad", "2", "--json")
    assert again.code in (0, 3), again.err
    assert again.json["models"]["fp32"]["metric"]["samples"] == 11


def test_on_the_published_data_set_the_published_row_is_held_to(cli: Cli, tmp_path: Path) -> None:
    """Three classes of noise: nobody reaches the published 99 %, and that is a check that falls short."""
    root = make_folder(tmp_path / "imagenet", train=24, val=12)
    done = cli(*TOY, "--data", str(root), "--json")
    assert done.code == 3
    [row] = [check for check in done.json["checks"] if "published" in check["name"]]
    assert row["ok"] is False
    assert row["limit"] == 98.5
    assert "published 99 on toy val" in row["note"]
    assert done.json["models"]["fp32"]["metric"]["dataset"] == "imagenet-1k val"


def save_with_paddle(path: Path, code: str) -> None:
    subprocess.run(
        [sys.executable, "-c", f"import edge_kit, paddle\n{code}", str(path)], check=True, capture_output=True
    )


@pytest.fixture(scope="module")
def linear_pdparams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "linear.pdparams"
    save_with_paddle(path, "import sys; paddle.save(paddle.nn.Linear(3, 4).state_dict(), sys.argv[1])")
    return path


def refused(cli: Cli, weights: Path) -> Result:
    done = cli("compress", "toynet", "--weights", str(weights))
    assert done.code == 1, done.err
    assert done.is_one_line(), done.err
    return done


def test_weights_that_do_not_exist(cli: Cli, tmp_path: Path) -> None:
    assert "does not exist" in refused(cli, tmp_path / "none.pdparams").err


def test_truncated_weights(cli: Cli, linear_pdparams: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.pdparams"
    short.write_bytes(linear_pdparams.read_bytes()[:-30])
    assert "short.pdparams" in refused(cli, short).err


def test_weights_of_another_network(cli: Cli, linear_pdparams: Path) -> None:
    assert "do not fit 'toynet'" in refused(cli, linear_pdparams).err


def test_weights_of_another_number_of_classes(cli: Cli, tmp_path: Path) -> None:
    """Their shapes could be taken for a pruned network's; seven classes for ten would be silently wrong."""
    path = tmp_path / "seven.pdparams"
    code = "import sys, toy_model; paddle.save(toy_model.ToyNet(7).state_dict(), sys.argv[1])"
    program = f"import edge_kit, paddle\n{code}"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True, env=cli.env)
    assert "'main/logits' would be (1, 7) and must be (1, 10)" in refused(cli, path).err


def test_weights_that_would_run_code_are_refused_and_do_not(cli: Cli, tmp_path: Path) -> None:
    marker, evil = tmp_path / "marker", tmp_path / "evil.pdparams"
    evil.write_bytes(b"cposix\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    assert "refused" in refused(cli, evil).err
    assert not marker.exists()


def test_a_workspace_that_cannot_be_written(session_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = session_cli("compress", "toynet", "--workspace", str(tmp_path / "file" / "below"))
    assert done.code == 1
    assert done.is_one_line()
    assert "--workspace DIR" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_is_one_line_and_keeps_what_is_done(session_cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], check=True)
    try:
        done = session_cli("compress", "toynet", "--workspace", str(place))
        assert done.code == 1
        assert done.is_one_line(), done.err
        assert "space" in done.err
        assert not list((place / "stages").glob("data-*")), "a half-made result stands as a whole one"
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_bench_of_an_empty_workspace_says_how_to_fill_it(cli: Cli) -> None:
    done = cli("bench", "--runtime", "onnx")
    assert done.code == 2
    assert done.is_one_line()
    assert "edge-kit compress mobilenetv2" in done.err


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 50], ids=["empty", "text", "bytes"])
def test_bench_of_a_broken_model_file_is_one_line(content: bytes, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    done = cli("bench", str(path))
    assert done.code == 1
    assert done.is_one_line(), done.err
    assert "broken.onnx" in done.err
