"""Environment variables that the engines read at import time, and why each is set."""

import os
from pathlib import Path


def set_engine_defaults() -> None:
    """Set what the pinned engines need, unless the user has set it already."""
    # PaddleSlim 2.6 reads the old program format; Paddle 3.1 writes it only with the new one switched off.
    os.environ.setdefault("FLAGS_enable_pir_api", "0")
    # Installed as a dependency of paddle2onnx; by default it pip-installs what it misses behind the user's back.
    os.environ.setdefault("POLYGRAPHY_AUTOINSTALL_DEPS", "0")
    if _is_amd_with_avx2():
        # Paddle bundles an MKL that takes a slow path on other vendors' processors (18 against 64 GFLOP/s).
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


def _is_amd_with_avx2() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "AuthenticAMD" in text and " avx2 " in text
