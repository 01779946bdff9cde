"""The loop under faults: `python -m benchmarks.faults [VICTIM[:N]]... [--times N]` kills each N times (20), with -9, at random moments, in a project
of its own in which co2_raw serves, and counts what was lost. Victims: see VICTIMS; `everything` is all processes at once, then `aiprime up`.

While a process of the endpoint is killed clients go on asking and labelling, and note what was acknowledged. Prints a Markdown table, and with
AIPRIME_TRACK=FOLDER keeps the lines for docs/track-record.md.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.retrain_faults import retrain, truths, worker
from benchmarks.watching import (
    CLIENTS,
    ENTITY,
    STUCK_S,
    WORKLOAD,
    Client,
    Fact,
    lost,
    of,
    opened,
    post,
    process,
    until,
    until_found,
    whole,
)
from orchestration import services
from serving import processes
from serving.supervision import Supervisor
from tests.conftest import Project, make_project
from tests.faults import reporting

VICTIMS = {  # and the row of the fault matrix
    **{"gateway": 14, "scribe": 14, "server": 13, "daemon": 4, "code": 3, "web": 5},
    **{"everything": 6, "retrain": 1, "worker": 2},
}


def endpoint(project: Project, victim: str, times: int, chance: random.Random) -> Fact:
    """Kill a process of the endpoint under load."""
    took = []
    with Client(project.places.service("gateway") or "") as client:
        until(lambda: len(client.labelled) > 10, 60, "the first answers")
        for _ in range(times):
            time.sleep(chance.uniform(0.2, 2))
            found = until_found(project, victim)
            found.kill()
            killed, gone = time.monotonic(), found.pid
            until(lambda gone=gone: (now := of(project, victim)) and now.pid != gone, STUCK_S, f"{victim} coming back")
            began = len(client.predicted)
            until(lambda began=began: len(client.predicted) > began + CLIENTS, STUCK_S, "an answer")
            took.append(time.monotonic() - killed)
    predictions, labels = lost(project, client)
    bad = {status for status in client.answers if isinstance(status, int) and status != 200 and status < 500}
    assert not bad, (client.answers, client.said)
    whole(project)
    return {
        "kills": len(took),
        "lost": f"{predictions} of {len(client.predicted):,} predictions, {labels} of {len(client.labelled):,} labels",
        "acknowledged": len(client.predicted) + len(client.labelled),
        "lost_count": predictions + labels,
        "unknown": client.unknown,
        "back": took,
        "else": f"other answers: {_said(client.answers)}",
    }


def _said(answers: Counter[int | str]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in answers.most_common() if status != 200) or "none"


def ticking(project: Project, victim: str, times: int, chance: random.Random) -> Fact:
    """Kill Dagster's daemon or its code server; it is back when the loop's sensor ticks again."""
    took = []
    with opened(project) as instance:
        for _ in range(times):
            time.sleep(chance.uniform(0.2, 5))
            until(lambda: process(project, victim), STUCK_S, victim)
            found = process(project, victim)
            assert found is not None
            for one in [*found.children(recursive=True), found] if victim == "code" else [found]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            killed = time.time()
            took.append(until(lambda killed=killed: ticked(instance) > killed, 120, "the sensor's next tick"))
    whole(project)
    return {"kills": len(took), "lost": "-", "back": took, "else": "back: the sensor's next tick, of one each 30 s"}


def web(project: Project, times: int, chance: random.Random) -> Fact:
    """Kill Dagster's web server; it is back when it answers."""
    took, url = [], f"{project.places.service('dagster')}/server_info"
    for _ in range(times):
        time.sleep(chance.uniform(0.2, 2))
        until(lambda: process(project, "dagster"), STUCK_S, "the web server")
        found = process(project, "dagster")
        assert found is not None
        found.kill()
        found.wait(10)
        took.append(until(lambda: services.answers(url), STUCK_S, "the web server's answer"))
    return {"kills": len(took), "lost": "-", "back": took, "else": "back: it answers"}


def everything(project: Project, times: int, chance: random.Random) -> Fact:
    """Kill every process of the project at once, the supervisor included, under load; `aiprime up` must bring it all back."""
    took, lost_all, acknowledged, labelled, unknown = [], [0, 0], 0, 0, 0
    stuck: list[Any] = []
    for _ in range(times):
        with Client(project.places.service("gateway") or "") as client:
            until(lambda client=client: len(client.labelled) > 10, STUCK_S, "the first answers")
            time.sleep(chance.uniform(0.2, 3))
            for pid in processes.marked(Supervisor(project.places.home).mark):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
        project.aiprime("up", timeout=900)
        answered(project)
        took.append(time.monotonic() - killed)
        predictions, labels = lost(project, client)
        lost_all = [lost_all[0] + predictions, lost_all[1] + labels]
        acknowledged, labelled = acknowledged + len(client.predicted), labelled + len(client.labelled)
        unknown += client.unknown
        with opened(project) as instance:
            stuck += [run.dagster_run.run_id for run in _started(instance) if time.time() - run.start_time > STUCK_S]
        whole(project)
    assert stuck == [], "runs that stay STARTED"
    return {
        "kills": times,
        "lost": f"{lost_all[0]} of {acknowledged:,} predictions, {lost_all[1]} of {labelled:,} labels",
        "acknowledged": acknowledged + labelled,
        "lost_count": sum(lost_all),
        "unknown": unknown,
        "back": took,
        "else": "back: `aiprime up` has ended and a prediction was answered; no run stays STARTED",
    }


def answered(project: Project) -> None:
    """Ask until the endpoint answers."""

    def ask() -> bool:
        at = urlsplit(project.places.service("gateway") or "")
        try:
            connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
            row = {"station": ENTITY, "week": datetime(1991, 1, 5, tzinfo=UTC).isoformat()}
            return post(connection, f"/v1/models/{WORKLOAD}:predict", {"instances": [row]})[0] == 200
        except (OSError, http.client.HTTPException, ValueError):
            return False

    until(ask, STUCK_S, "an answer")


def _started(instance: Any) -> list[Any]:
    import dagster as dg

    chosen = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    return [one for one in instance.get_run_records(chosen) if one.start_time]


def ticked(instance: Any) -> float:
    """When the loop's sensor last ended a tick."""
    for one in instance.all_instigator_state():
        if one.instigator_name == "loop":
            ticks = instance.get_ticks(one.instigator_origin_id, one.selector_id, limit=3)
            return max((tick.timestamp for tick in ticks if tick.status.value in {"SKIPPED", "SUCCESS"}), default=0.0)
    return 0.0


@contextmanager
def served(folder: Path) -> Iterator[Project]:
    """A project in which co2_raw serves and all services run; ended afterwards."""
    made = make_project(folder)
    try:
        made.aiprime("up", "--run", WORKLOAD, timeout=1200)
        yield made
    finally:
        made.aiprime("down", check=False)


def kill(project: Project, victim: str, times: int, seed: int = 0) -> Fact:
    """Kill a victim so many times: kills, what was lost, seconds until it was back (a list), and what else there is to say."""
    chance = random.Random(seed)
    if victim in ("gateway", "scribe", "server"):
        return endpoint(project, victim, times, chance)
    if victim in ("daemon", "code"):
        return ticking(project, victim, times, chance)
    if victim in ("retrain", "worker"):
        truths(project)
    return {"web": web, "retrain": retrain, "worker": worker, "everything": everything}[victim](project, times, chance)


def figures(found: Fact) -> Fact:
    """What the track record shows of a campaign."""
    counts = {"acknowledged": found.get("acknowledged"), "lost": found.get("lost_count", 0), "unknown": found.get("unknown")}
    said = {"said": found["else"]} if "acknowledged" not in found else {}
    return {"seeds": 0, "injections": found["kills"], **counts, "recovery_s": round(max(found["back"]), 1), **said}


def line(victim: str, found: Fact) -> Fact:
    """A campaign's line of the track record."""
    outcome = "broken" if found.get("lost_count") or (max(found["back"]) > STUCK_S and victim == "everything") else "held"
    again = f"python -m benchmarks.faults {victim}"
    return reporting.line(VICTIMS[victim], again, outcome, what=f"kill -9 of {victim}", **figures(found))


def main() -> None:
    """Kill, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("victims", nargs="*", metavar="VICTIM[:N]", help=", ".join(VICTIMS))
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    wanted = {
        victim: int(times or given.times) for victim, _, times in (one.partition(":") for one in given.victims or VICTIMS)
    }
    if unknown := {*wanted} - {*VICTIMS}:
        parser.error(f"no victim {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as made, served(Path(made)) as project:
        print(
            f"{os.cpu_count()} cores\n\n| kill -9 of | times | lost | back after, median · longest | |\n|---|---|---|---|---|"
        )
        for victim, times in wanted.items():
            try:
                found = kill(project, victim, times)
            except AssertionError:
                print(project.aiprime("logs", "-n", "40", check=False).stdout, file=sys.stderr)
                raise
            if folder := os.environ.get("AIPRIME_TRACK"):
                reporting.keep(Path(folder), [line(victim, found)])
            back = f"{statistics.median(found['back']):.1f} s · {max(found['back']):.1f} s"
            print(f"| {victim} | {found['kills']} | {found['lost']} | {back} | {found['else']} |", flush=True)


if __name__ == "__main__":
    main()
