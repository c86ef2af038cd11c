"""Looks at machines that were made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtimes.conditions import Conditions, look, noise

QUIET = Conditions(cpu="a", cores=2, stolen=0, ticks=1000, load=0.1, mhz=3000)


def test_the_kernels_figures_are_read(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  10 0 20 100 5 0 1 7 0 0\ncpu0 1 1 1 1\n")
    (tmp_path / "loadavg").write_text("0.52 0.58 0.59 1/100 1\n")
    (tmp_path / "cpuinfo").write_text("model name\t: Made Up 9000\n")
    core = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    core.mkdir(parents=True)
    (core / "scaling_cur_freq").write_text("2400000\n")
    found = look(tmp_path, tmp_path)
    assert (found.cpu, found.stolen, found.ticks, found.load, found.mhz) == ("Made Up 9000", 7, 143, 0.52, 2400)
    assert found.cores >= 1


def test_a_system_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    found = look(tmp_path, tmp_path)
    assert (found.stolen, found.ticks, found.load, found.mhz) == (0, 0, 0, 0)
    assert noise(found, found, 1) == ()


@pytest.mark.parametrize(
    ("told", "name"),
    [("NVIDIA H100 80GB HBM3, 580.159.04\nNVIDIA T4, 1\n", "NVIDIA H100 80GB HBM3, driver 580.159.04"), ("", "")],
)
def test_a_gpu_is_named_where_one_is_asked_for(
    told: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "told").write_text(told)
    monkeypatch.setattr("runtimes.conditions.GPU_QUERY", ("cat", str(tmp_path / "told")))
    assert look(gpu=True).gpu == name
    assert look().gpu == ""
    (tmp_path / "told").unlink()
    assert look(gpu=True).gpu == name, "it is asked for once"
    monkeypatch.setattr("runtimes.conditions.GPU_QUERY", ("no-such-tool",))
    assert look(gpu=True).gpu == ""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"stolen": 100, "ticks": 2000}, ("10 % of the processor was taken by other virtual machines",)),
        ({"load": 1.7}, {}, ("1.7 processes were running on 2 cores before it began",)),
        ({}, {"mhz": 2000.0}, ("the frequency went from 3000 to 2000 MHz",)),
        ({}, {"stolen": 10, "ticks": 2000}, ()),
        ({"load": 1.4}, {"mhz": 3100.0}, ()),
    ],
)
def test_noise_is_told_and_quiet_is_not(before: dict[str, float], after: dict[str, float], said: tuple[str]) -> None:
    assert noise(replace(QUIET, **before), replace(QUIET, **after), 1) == said
