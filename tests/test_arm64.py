"""What `scripts/test-arm64` concludes, and how it starts a processor; running one is a long check of its own."""

from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import EdgeKitError
from scripts.arm64_check import int8_checks, main
from scripts.arm64_host import CPUS, Arm64

EYE = np.eye(3, dtype=np.float32)
LABELS = np.arange(3)


def test_one_class_that_was_not_predicted_is_found() -> None:
    turned = EYE[[0, 1, 1]]
    good, bad = (int8_checks("cpu", got, EYE, EYE, LABELS) for got in (EYE, turned))
    assert [one.ok for one in good] == [True, True]
    assert [(one.value, one.ok) for one in bad] == [(1, False), (pytest.approx(100 / 3), False)]


def test_logits_that_are_not_numbers_are_no_agreement() -> None:
    got = np.where(EYE == 1, np.nan, EYE).astype(np.float32)
    assert int8_checks("cpu", got, EYE, EYE, LABELS)[0].value == 3


@pytest.mark.parametrize("cpu", CPUS)
def test_a_processor_tells_its_own_features_and_shares_the_files(cpu: str, tmp_path: Path) -> None:
    (tmp_path / "root/usr").mkdir(parents=True)
    (tmp_path / "root/usr/held").write_text("one copy")
    for _ in range(2):  # a second worker finds all in place
        root = Arm64(tmp_path, cpu).root()
    assert (root / "usr/held").read_text() == "one copy"
    told = (root / "proc/cpuinfo").read_text()
    assert ("asimddp" in told.split()) == (cpu == "neoverse-n1")  # without it, sdot would be an illegal instruction


def test_without_an_arm_system_it_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match="scripts/test-arm64 --install unpacks one"):
        main(tmp_path)
