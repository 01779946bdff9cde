"""Retrains under faults, for faults.py: the command is killed, or the process in which Dagster runs one that the loop asked for."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psutil

from assets import retraining
from assets.platform import Platform
from assets.spec import load
from benchmarks.watching import ENTITY, WORKLOAD, Fact, opened, process, until, whole
from data import prepare, sources
from serving.ledger import Ledger
from serving.records import Label, Records, by_time
from tests.conftest import Project


def truths(project: Project) -> None:
    """What became true after the training data, as labels."""
    data = load(project.places, WORKLOAD).data.model_copy(update={"until": None, "since": date(1990, 1, 1)})
    rows = prepare.prepare(sources.read(data, project.places), data).dropna()
    told = zip(rows["week"], rows["co2"], strict=True)
    labels = [Label(workload=WORKLOAD, about=by_time(int(at.timestamp()), ENTITY), value=value) for at, value in told]
    Records.at(project.places.home).label(labels)


def retrain(project: Project, times: int, chance: random.Random) -> Fact:
    """Kill `aiprime retrain` at a random moment, and run it again: one version for each cutoff, and one end."""

    def command(number: int) -> list[str]:
        day = (datetime(1992, 1, 1, tzinfo=UTC) + timedelta(days=91 * number)).strftime("%Y-%m-%d")
        return ["retrain", WORKLOAD, "--reason", f"kill {number}", "--until", day, "--json"]

    ledger = Ledger.at(project.places.home)
    before, began = _versions(ledger), time.monotonic()
    project.aiprime(*command(0), timeout=300, check=False)
    whole_s, took = time.monotonic() - began, []
    for number in range(1, times + 1):
        arguments = [sys.executable, "-m", "orchestration.cli", *command(number)]
        null = subprocess.DEVNULL
        running = subprocess.Popen(arguments, cwd=project.places.root, env=project.env, stdout=null, stderr=null)
        with suppress(subprocess.TimeoutExpired):
            running.wait(chance.uniform(1, whole_s))
        running.send_signal(signal.SIGKILL)
        running.wait()
        again = time.monotonic()
        project.aiprime(*command(number), timeout=300, check=False)
        took.append(time.monotonic() - again)
        assert _versions(ledger) == before + number + 1, "one version for each retrain"
        asked = [one for one in ledger.history(WORKLOAD, "retrain") if one.payload.get("reason") == f"kill {number}"]
        ends = [one.payload["of"] for one in ledger.history(WORKLOAD, "retrain") if "of" in one.payload]
        assert ends.count(asked[-1].sequence) == 1, "the retrain that was run again has one end"
        assert all(ends.count(one.sequence) <= 1 for one in asked)
    whole(project)
    assert in_mlflow(project) == _versions(ledger)
    said = f"{times} retrains, {_versions(ledger) - before - 1} versions, none twice, also in MLflow"
    return {"kills": times, "lost": "-", "back": took, "else": f"{said}; back: the same command again, whole: {whole_s:.0f} s"}


def _versions(ledger: Ledger) -> int:
    """How many versions there are; AssertionError where two hold the same bytes."""
    digests: dict[str, set[str]] = {}
    for one in ledger.history(WORKLOAD, "registered"):
        digests.setdefault(one.payload["model_digest"], set()).add(one.version)
    assert all(len(versions) == 1 for versions in digests.values()), digests
    return len(digests)


def in_mlflow(project: Project) -> int:
    """The registered versions that the tracking server knows; each must hold bytes of its own."""
    from training.tracking import Tracking

    found = Tracking(project.places.service("mlflow") or "").client.search_model_versions(f"name='{WORKLOAD}'")
    assert len({one.tags["model_digest"] for one in found}) == len(found)
    return len(found)


def worker(project: Project, times: int, chance: random.Random) -> Fact:
    """Kill the process in which Dagster runs a retrain that the loop asked for; Dagster runs it again by itself."""
    os.environ |= {"AIPRIME_HOME": str(project.places.home)}
    spec, platform, ledger, took, tries = load(project.places, WORKLOAD), Platform(), Ledger.at(project.places.home), [], []
    before = _versions(ledger)
    with opened(project) as instance:
        for number in range(times):
            day = datetime(1997, 1, 1, tzinfo=UTC) + timedelta(days=91 * number)
            tags = retraining.request(spec, platform, until=day, reason=f"worker {number}", window=timedelta(days=400))
            asked = retraining.record(ledger, spec, tags, by_person=False, actor="loop", follows=ledger.newest())
            until(lambda: workers(project), 180, "the run's worker")
            time.sleep(chance.uniform(0, 12))
            for one in workers(project):
                one.kill()
            took.append(until(lambda asked=asked: _ends(ledger, asked), 300, "the end of the run that was tried again"))
            runs = _runs(instance, retraining.ASKED, str(asked.sequence))
            assert all(one.is_finished for one in runs)
            tries.append(len(runs))
            assert len(_ends(ledger, asked)) == 1
            assert _versions(ledger) == before + number + 1, "one version for each retrain"
    whole(project)
    ends = Counter(one.payload["state"] for one in ledger.history(WORKLOAD, "retrain") if "of" in one.payload)
    return {"kills": times, "lost": "-", "back": took, "else": f"runs of each request: {tries}; ends: {dict(ends)}"}


def _ends(ledger: Ledger, asked: Any) -> list[Any]:
    return [one for one in ledger.history(WORKLOAD, "retrain") if one.payload.get("of") == asked.sequence]


def _runs(instance: Any, tag: str, value: str) -> list[Any]:
    import dagster as dg

    return list(instance.get_runs(dg.RunsFilter(tags={tag: value})))


def workers(project: Project) -> list[psutil.Process]:
    """The processes in which Dagster's code server runs retrains now: they hold the workload's lease."""
    file = project.places.home / "locks" / f"{WORKLOAD}.lock"
    code = process(project, "code")
    if code is None or not file.is_file():
        return []
    found = []
    for one in code.children(recursive=True):
        with suppress(psutil.Error):
            found += [one] if str(file.resolve()) in {opened.path for opened in one.open_files()} else []
    return found
