"""What the campaigns of faults.py look on with: clients that note what was acknowledged, the processes of a project, its records."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psutil

from serving.ledger import Ledger
from serving.records import Records
from serving.supervision import Supervisor
from tests.conftest import Project

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
        self.said: dict[int, str] = {}  # the first of each refusal
        self._threads = [threading.Thread(target=self._ask, args=(random.Random(seed),)) for seed in range(CLIENTS)]

    @property
    def unknown(self) -> int:
        """Requests that may have had their effect or not: cut off, or refused after they were taken."""
        return sum(count for answer, count in self.answers.items() if answer not in (200, "not reached"))

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
                status, answer = post(connection, f"/v1/models/{WORKLOAD}:predict", {"instances": [row]})
                self._count(status, answer)
                if status != 200:
                    self._ended.wait(0.05)
                    continue
                prediction = answer["parameters"]["prediction_id"]
                self.predicted.append(prediction)
                value = round(chance.uniform(350, 360), 6)
                label = {"prediction_id": prediction, "horizon": HORIZON, "value": value}
                status, answer = post(connection, "/v1/labels", {"workload": WORKLOAD, "labels": [label]})
                self._count(status, answer)
                if status == 200:
                    self.labelled[prediction] = value
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.answers["not reached" if isinstance(error, ConnectionRefusedError) else "cut off"] += 1
                connection.close()
                connection = self._new()
                self._ended.wait(0.02)

    def _count(self, status: int, answer: object) -> None:
        self.answers[status] += 1
        if status != 200:
            self.said.setdefault(status, f"{time.strftime('%T')} {answer}")

    def _new(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._at.hostname or "", self._at.port, timeout=30)


def post(connection: http.client.HTTPConnection, path: str, body: object) -> tuple[int, Any]:
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


def of(project: Project, victim: str) -> psutil.Process | None:
    """The process of the endpoint that a victim's name means, where it runs."""
    if victim == "server":
        return process(project, WORKLOAD.replace("_", "-"))
    gateway = process(project, "gateway")
    if victim == "gateway" or gateway is None:
        return gateway
    with suppress(psutil.NoSuchProcess):
        return next((one for one in gateway.children() if "serving.gateway.scribe" in one.cmdline()), None)
    return None


def until_found(project: Project, victim: str) -> psutil.Process:
    """The same, waited for: a scribe is started when there is something to write."""
    until(lambda: of(project, victim), STUCK_S, f"{victim} running")
    found = of(project, victim)
    assert found is not None
    return found


def process(project: Project, name: str) -> psutil.Process | None:
    """The program of that name (or the first that it begins), where it runs."""
    found = (one for one in Supervisor(project.places.home).status() if one.name.startswith(name) and one.pid)
    one = next(found, None)
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(one.pid) if one and one.pid else None
    return None


@contextmanager
def opened(project: Project) -> Iterator[Any]:
    from orchestration import instance

    with instance.get(project.places) as found:
        yield found
