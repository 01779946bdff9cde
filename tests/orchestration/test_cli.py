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


def seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - began


def test_help_is_quick_and_names_every_command():
    """`aiprime --help` imports nothing heavy: the best of five is under two and a half times that of its parser and its printer alone."""
    done, ours, least = aiprime("--help"), [], []
    for _ in range(5):  # in turns, for the machine is shared
        ours.append(seconds("-m", "orchestration.cli", "--help"))
        least.append(seconds("-c", "import typer, rich.markdown, rich.panel"))
    words = ("up", "down", "status", "run", "workloads", "predict", "new", "remove", "gc", "logs", "doctor")
    for command in (*words, "backup", "restore", "verify"):
        assert f" {command} " in done.stdout
    assert min(ours) < 2.5 * min(least)


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
