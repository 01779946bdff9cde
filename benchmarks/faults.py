"""The loop under faults: `python -m benchmarks.faults [gateway|server|daemon|retrain|worker]... [--times N]` kills each N times (20), with -9,
at random moments, in a project of its own in which co2_raw serves, and counts what was lost.

While a process of the endpoint is killed clients go on asking and labelling, and note what was acknowledged. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from assets import retraining
from assets.platform import Platform
from assets.spec import load
from data import prepare, sources
from serving.ledger import Ledger
from serving.records import Label, Records, by_time
from serving.supervision import Supervisor
from tests.conftest import Project, make_project

WORKLOAD, ENTITY, HORIZON = "co2_raw", "mauna-loa", 4
CLIENTS = 3
STUCK_S = 60.0
Fact = dict[str, Any]


class Client:
    """Predicts and labels what it predicted until told to end; keeps what was acknowledged, and how all else was answered."""

    def __init__(self, url: str) -> None:
        self._at, self._ended = urlsplit(url), threading.Event()
        self.predicted: list[str] = []
        self.labelled: dict[str, float] = {}
        self.answers: Counter[int | str] = Counter()
        self._threads = [threading.Thread(target=self._ask, args=(random.Random(seed),)) for seed in range(CLIENTS)]

    def __enter__(self) -> Client:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, chance: random.Random) -> None:
        connection = self._new()
        while not self._ended.is_set():
            try:
                week = datetime(1991, 1, 5, tzinfo=UTC) + timedelta(weeks=chance.randrange(400))
                row = {"station": ENTITY, "week": week.isoformat()}
                status, answer = _post(connection, f"/v1/models/{WORKLOAD}:predict", {"instances": [row]})
                self.answers[status] += 1
                if status != 200:
                    self._ended.wait(0.05)
                    continue
                prediction = answer["parameters"]["prediction_id"]
                self.predicted.append(prediction)
                value = round(chance.uniform(350, 360), 6)
                label = {"prediction_id": prediction, "horizon": HORIZON, "value": value}
                status, _ = _post(connection, "/v1/labels", {"workload": WORKLOAD, "labels": [label]})
                self.answers[status] += 1
                if status == 200:
                    self.labelled[prediction] = value
            except (OSError, http.client.HTTPException, ValueError):
                self.answers["no answer"] += 1
                connection.close()
                connection = self._new()
                self._ended.wait(0.02)

    def _new(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._at.hostname or "", self._at.port, timeout=30)


def _post(connection: http.client.HTTPConnection, path: str, body: object) -> tuple[int, Any]:
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, json.loads(content)


def lost(project: Project, client: Client) -> tuple[int, int]:
    """Acknowledged predictions and labels that the records do not have, or otherwise."""
    records = Records.at(project.places.home)
    kept = records.sizes(client.predicted)
    predictions = sum(one not in kept for one in client.predicted)
    labels = sum(value not in {one.value for one in records.labels_of(of)} for of, value in client.labelled.items())
    return predictions, labels


def whole(project: Project) -> None:
    """Both chains hold; AssertionError says where not."""
    broken = Ledger.at(project.places.home).verify() or Records.at(project.places.home).verify()
    assert broken is None, broken


def until(condition: Callable[[], object], deadline_s: float, what: str) -> float:
    """Seconds until the condition holds; AssertionError past the deadline."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < deadline_s, f"{what} took more than {deadline_s:.0f} s"
        time.sleep(0.02)
    return time.monotonic() - began


def process(project: Project, name: str) -> psutil.Process | None:
    """The program of that name (or the first that it begins), where it runs."""
    found = (one for one in Supervisor(project.places.home).status() if one.name.startswith(name) and one.pid)
    one = next(found, None)
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(one.pid) if one and one.pid else None
    return None


def endpoint(project: Project, victim: str, times: int, chance: random.Random) -> Fact:
    """Kill a process of the endpoint under load."""
    name = {"gateway": "gateway", "server": WORKLOAD.replace("_", "-")}[victim]
    took = []
    with Client(project.places.service("gateway") or "") as client:
        until(lambda: len(client.labelled) > 10, 60, "the first answers")
        for _ in range(times):
            time.sleep(chance.uniform(0.2, 2))
            found = process(project, name)
            assert found is not None
            found.kill()
            killed, gone = time.monotonic(), found.pid
            until(lambda gone=gone: (now := process(project, name)) and now.pid != gone, STUCK_S, f"{victim} coming back")
            began = len(client.predicted)
            until(lambda began=began: len(client.predicted) > began + CLIENTS, STUCK_S, "an answer")
            took.append(time.monotonic() - killed)
    predictions, labels = lost(project, client)
    bad = {status for status in client.answers if isinstance(status, int) and status != 200 and status < 500}
    assert not bad, client.answers
    whole(project)
    return {
        "kills": len(took),
        "lost": f"{predictions} of {len(client.predicted):,} predictions, {labels} of {len(client.labelled):,} labels",
        "back": took,
        "else": f"other answers: {_said(client.answers)}",
    }


def _said(answers: Counter[int | str]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in answers.most_common() if status != 200) or "none"


def daemon(project: Project, times: int, chance: random.Random) -> Fact:
    """Kill Dagster's daemon; it is back when the loop's sensor ticks again."""
    took = []
    with opened(project) as instance:
        for _ in range(times):
            time.sleep(chance.uniform(0.2, 5))
            found = process(project, "daemon")
            assert found is not None
            found.kill()
            killed = time.time()
            took.append(until(lambda killed=killed: ticked(instance) > killed, 120, "the sensor's next tick"))
    whole(project)
    return {"kills": len(took), "lost": "-", "back": took, "else": "back: the sensor's next tick, of one each 30 s"}


@contextmanager
def opened(project: Project) -> Iterator[Any]:
    from orchestration import instance

    with instance.get(project.places) as found:
        yield found


def ticked(instance: Any) -> float:
    """When the loop's sensor last ended a tick."""
    for one in instance.all_instigator_state():
        if one.instigator_name == "loop":
            ticks = instance.get_ticks(one.instigator_origin_id, one.selector_id, limit=3)
            return max((tick.timestamp for tick in ticks if tick.status.value in {"SKIPPED", "SUCCESS"}), default=0.0)
    return 0.0


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
            from orchestration.loop_sensor import ASKED

            runs = _runs(instance, ASKED, str(asked.sequence))
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


@contextmanager
def served(folder: Path) -> Iterator[Project]:
    """A project in which co2_raw serves and all services run; ended afterwards."""
    made = make_project(folder)
    try:
        made.aiprime("up", "--run", WORKLOAD, timeout=400)
        yield made
    finally:
        made.aiprime("down", check=False)


def kill(project: Project, victim: str, times: int, seed: int = 0) -> Fact:
    """Kill a victim so many times: kills, what was lost, seconds until it was back (a list), and what else there is to say."""
    chance = random.Random(seed)
    if victim in ("gateway", "server"):
        return endpoint(project, victim, times, chance)
    if victim in ("retrain", "worker"):
        truths(project)
    return {"daemon": daemon, "retrain": retrain, "worker": worker}[victim](project, times, chance)


def main() -> None:
    """Kill, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    victims = ("gateway", "server", "daemon", "retrain", "worker")
    parser.add_argument("victims", nargs="*", metavar="VICTIM", help=", ".join(victims))
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    if unknown := {*given.victims} - {*victims}:
        parser.error(f"no victim {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as project:
        print(
            f"{os.cpu_count()} cores\n\n| kill -9 of | times | lost | back after, median · longest | |\n|---|---|---|---|---|"
        )
        for victim in given.victims or victims:
            found = kill(project, victim, given.times)
            back = f"{statistics.median(found['back']):.1f} s · {max(found['back']):.1f} s"
            print(f"| {victim} | {found['kills']} | {found['lost']} | {back} | {found['else']} |", flush=True)


if __name__ == "__main__":
    main()
