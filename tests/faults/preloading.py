"""The library that fails the k-th write and shifts the clock (preload.c), built where there is a C compiler, and how a program gets it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def preload(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that puts the library before libc; skips where it cannot be built."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("not run: there is no C compiler")
    made = tmp_path_factory.mktemp("preload") / "preload.so"
    source = Path(__file__).with_name("preload.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"], check=True)
    return {**os.environ, "LD_PRELOAD": str(made)}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of failing one write."""

    count: int  # writes that there were
    said: BaseException | None  # what the call raised


def trying(folder: Path, k: int, number: int, *, ever: bool, call: Callable[[], object]) -> Tried:
    """Call with the k-th write below the folder failing; k = 0: none. Only in a process that has the library."""
    library = ctypes.CDLL(None)
    library.fault_count.restype = ctypes.c_long
    library.fault_arm(os.fsencode(str(folder)), ctypes.c_long(k), number, int(ever))
    said = None
    try:
        call()
    except Exception as error:  # noqa: BLE001  (whatever it is: what counts is the state that it leaves)
        said = error
    return Tried(count=library.fault_count(), said=said)
