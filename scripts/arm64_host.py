"""A 64-bit ARM processor as a host of workers: an aarch64 Python with ONNX Runtime under qemu-user."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
ALWAYS = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
CPUS = {
    "cortex-a72": (0xD08, ALWAYS),  # products widened and added: smull, sadalp
    "neoverse-n1": (0xD0C, f"{ALWAYS} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"),  # sdot
}
"""Part number and features of each processor, as its kernel tells them; onnxruntime chooses its kernels by them."""


@dataclass(frozen=True, slots=True)
class Arm64:
    """What `scripts/test-arm64 --install` unpacked, run as one processor.

    Attributes:
        folder: With `root`, a Debian of that architecture, and `site`, Python packages for it.
        cpu: One that qemu knows; its instructions choose the kernels.
    """

    folder: Path
    cpu: str

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.cpu} under qemu"

    def start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a worker; files have the same paths there as here."""
        root = self.root()
        python = str(root / "usr/bin/python3.11")
        paths = os.pathsep.join(str(path) for path in (ROOT, self.folder / "site"))
        return subprocess.Popen(
            ["qemu-aarch64", "-cpu", self.cpu, "-L", str(root), python, "-m", "runtimes.worker"],
            cwd=ROOT,
            # Of our own environment only what a program needs: onnxruntime writes to the home folder.
            env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, "HOME": str(self.folder), "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )

    def root(self) -> Path:
        """The same files with a /proc/cpuinfo of this processor: qemu would show that of the host."""
        root = self.folder / self.cpu
        (root / "proc").mkdir(parents=True, exist_ok=True)
        part, features = CPUS[self.cpu]
        identity = f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part:#x}\n"
        text = f"processor\t: 0\nFeatures\t: {features}\n{identity}CPU revision\t: 1\n"
        (root / "proc/cpuinfo").write_text(text)
        for name in ("etc", "lib", "usr"):
            if not (root / name).is_symlink():
                (root / name).symlink_to(Path("..") / "root" / name)
        return root

    def place(self, file: Path) -> str:
        """It reads our disk."""
        return str(file.absolute())
