"""Runs of `digits` in a project of its own, as a person starts them, and what must hold of them however they were disturbed."""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable

from serving.ledger import Ledger
from tests.conftest import Project
from tests.faults.struck import strike
from training.tracking import Tracking

ANSWERED = {"image": [[0.0] * 8] * 8}


def started(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """`aiprime ARGUMENTS` in a process of its own, its progress readable."""
    command = [sys.executable, "-m", "orchestration.cli", *arguments]
    return subprocess.Popen(
        command, cwd=project.places.root, env=project.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str], word: str, deadline_s: float = 300) -> None:
    """Wait until the process's progress says `word`."""
    assert process.stderr is not None
    end, seen = time.monotonic() + deadline_s, ""
    while word not in seen:
        ready, _, _ = select.select([process.stderr], [], [], max(0, end - time.monotonic()))
        assert ready, f"{word!r} was not said:\n{seen}"
        line = process.stderr.readline()
        assert line, f"ended before {word!r}:\n{seen}"
        seen += line


def registered(project: Project) -> list[str]:
    return [decision.version for decision in Ledger.at(project.places.home).history("digits", "registered")]


def is_whole(project: Project, versions: int) -> None:
    """So many versions, each registered once, here and in MLflow, no promotion twice, and the champion answers."""
    ledger = Ledger.at(project.places.home)
    assert ledger.verify() is None
    assert registered(project) == [str(number + 1) for number in range(versions)]
    promoted = [decision.version for decision in ledger.history("digits", "promoted")]
    assert len(promoted) == len({*promoted})
    known = Tracking(project.places.service("mlflow") or "").client.search_model_versions("name='digits'")
    assert len(known) == len({one.tags["model_digest"] for one in known}) == versions
    answer = json.loads(project.aiprime("predict", "digits", "--json", json.dumps(ANSWERED)).stdout)
    assert set(answer) == {"label", "probabilities"}


def reseeded(project: Project, seed: int) -> None:
    """Another seed in the YAML: another model."""
    defs = project.places.defs("digits")
    defs.write_text(re.sub(r"size: tiny\n(    seed: \d+\n)?", f"size: tiny\n    seed: {seed}\n", defs.read_text()))


def struck(project: Project, point: str, action: str = "SIGKILL", meanwhile: Callable[[int], None] = lambda _: None) -> None:
    """`aiprime run digits`, struck at a point."""
    point = point.replace("VERSION", str(len(registered(project)) + 1))
    command = [sys.executable, "-m", "orchestration.cli", "run", "digits"]
    strike(command, project.places.home, point, action, base=project.env, cwd=project.places.root, meanwhile=meanwhile)
