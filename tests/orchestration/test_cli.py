"""The command's own manners."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def aiprime(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_help_is_quick_and_names_every_command():
    """`aiprime --help` imports nothing heavy; the best of three is under half a second."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = aiprime("--help")
        times.append(time.perf_counter() - started)
    words = ("up", "down", "status", "run", "workloads", "predict", "new", "remove", "gc", "logs", "doctor")
    for command in (*words, "backup", "restore", "verify"):
        assert f" {command} " in done.stdout
    assert min(times) < 0.5


def test_a_mistake_is_three_lines_without_a_traceback(tmp_path: Path):
    """Outside a project, or with a name that is none, the error says what, where and the next step."""
    done = aiprime("workloads", cwd=tmp_path)
    assert done.returncode == 1
    assert "no AI Prime project here" in done.stderr
    assert "Traceback" not in done.stderr
    done = aiprime("run", "nothing")
    assert done.returncode == 1
    assert "no workload 'nothing'" in done.stderr
    done = aiprime("run", "co2", "--until", "heaven")
    assert "no stage 'heaven'" in done.stderr
