"""Resolve the locks anew: `python -m infra.locks.compile`, with uv on the path.

- main.txt       everything but torch
- torch-cpu.txt  the CPU wheel, where pip's find-links offers it (its hash differs from PyPI's build)
- torch.txt      PyPI's Linux build with its CUDA companions
- uv.txt         what installs them, where the machine has no uv

Releases younger than COOL_OFF_DAYS are not taken: the compromised releases of this field were found within hours. Those that are known
(denied.toml) are not taken at any age. The locks are requirement files with hashes, so they name no index.
"""

import hashlib
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.locks.pins import compromised, constraints, denied, pins

HERE = Path(__file__).parent
COOL_OFF_DAYS = 7
TORCH = "2.13.0"


def compile_lock(source: str, *options: str, stdin: str | None = None) -> str:
    """uv's resolution of `source` as a requirements file with hashes."""
    newest = (datetime.now(UTC) - timedelta(days=COOL_OFF_DAYS)).strftime("%Y-%m-%dT00:00:00Z")
    command = ["uv", "pip", "compile", source, "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--exclude-newer", newest, "--no-emit-find-links", "--no-emit-index-url", *options]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as refused:
        refused.write(constraints(denied()))
        refused.flush()
        command += ["--constraint", refused.name]
        lock = subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout
    if wrong := compromised(pins(lock), denied()):
        sys.exit("not written, for it holds what was compromised: " + "; ".join(wrong))
    return lock


def blocks(lock: str) -> dict[str, str]:
    """A lock's entries by package name."""
    entries: dict[str, str] = {}
    name = ""
    for line in lock.splitlines(keepends=True):
        if not line.startswith(" "):
            name = line.split("==")[0].strip()
            entries[name] = ""
        entries[name] += line
    return entries


def main() -> None:
    """Write the locks that can be resolved here."""
    links = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False
    ).stdout.strip()
    with_links = ["--find-links", links] if links else []
    main_lock = compile_lock(
        "pyproject.toml", "--group", "dev", "--prerelease=if-necessary-or-explicit", "--no-emit-package", "torch", *with_links
    )
    taken = blocks(main_lock)
    full = blocks(compile_lock("-", "--constraint", str(HERE / "main.txt"), stdin=f"torch=={TORCH}"))
    companions = {name: text for name, text in full.items() if name not in taken}
    # A companion that only the CUDA build needs belongs to its lock, also where the resolution above went through PyPI's torch.
    cuda_only = [name for name in taken if name.startswith(("nvidia-", "cuda-", "triton"))]
    (HERE / "main.txt").write_text("".join(text for name, text in taken.items() if name not in cuda_only))
    (HERE / "torch.txt").write_text("".join((companions | {name: taken[name] for name in cuda_only}).values()))
    (HERE / "uv.txt").write_text(compile_lock("-", stdin="uv\n"))
    for wheel in Path(links).glob(f"torch-{TORCH}+cpu-cp311-*_x86_64.whl") if links else ():
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (HERE / "torch-cpu.txt").write_text(f"torch=={TORCH}+cpu \\\n    --hash=sha256:{digest}\n")


if __name__ == "__main__":
    main()
