"""The processes a person needs: tracking server, gateway, Dagster's code server, UI and daemon. Supervised, on loopback.

`start` returns at once; `wait` waits for their health. Running it twice starts nothing twice.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from data.errors import UserError
from data.files import write_atomically, write_json
from data.places import Places
from orchestration import instance
from serving.supervision import Program, Supervisor, free_port
from training.tracking import ENVIRONMENT

CORE = ("mlflow", "gateway")  # what a run needs
ALL = (*CORE, "code", "dagster", "daemon")
PREFERRED = {"mlflow": 5000, "gateway": 8080, "dagster": 3000, "code": 4266}
HEALTH = {"mlflow": "/health", "gateway": "/v2/health/live", "dagster": "/server_info"}
MODULE = "orchestration.definitions"


@dataclass(frozen=True)
class Service:
    """A supervised program and, where it has one, its address."""

    program: Program
    url: str | None


def start(places: Places, names: Sequence[str] = ALL) -> dict[str, str]:
    """Start the named services that are not running and return the addresses of all that are. Does not wait for them."""
    supervisor = Supervisor(places.home)
    supervisor.ensure()
    running = {one.name for one in supervisor.status() if one.state in {"RUNNING", "STARTING"}}
    urls = _addresses(places)
    for name in names:
        if name not in running and name in PREFERRED:
            urls[name] = f"http://127.0.0.1:{free_port(_port(urls.get(name)) or PREFERRED[name])}"
    write_json(places.services, urls)
    if "code" in names:
        _write_workspace(places, urls["code"])
    for name in names:
        if name not in running:
            supervisor.apply(_program(places, name, urls))
    return urls


def wait(places: Places, names: Sequence[str], told: Callable[[str, str], None], deadline_s: float = 120) -> None:
    """Wait until each named service answers, telling `told(name, url)` as it does; UserError with its log where one does not."""
    urls = _addresses(places)
    waiting = [name for name in names if name in HEALTH]
    end = time.monotonic() + deadline_s
    while waiting:
        for name in list(waiting):
            if answers(urls[name] + HEALTH[name]):
                waiting.remove(name)
                told(name, urls[name])
        if waiting and time.monotonic() > end:
            tail = Supervisor(places.home).logs(waiting[0], 15)
            raise UserError(
                f"{waiting[0]} does not answer after {deadline_s:.0f} s",
                where=f"{urls[waiting[0]]}\n{tail}",
                next_step=f"aiprime logs {waiting[0]}",
            )
        time.sleep(0.1)


def stop(places: Places) -> None:
    """End every process that was started; none is left."""
    Supervisor(places.home).shutdown()
    places.services.unlink(missing_ok=True)


def answers(url: str) -> bool:
    """Whether a GET gives 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  (our own URL)
            return answer.status == 200
    except OSError:
        return False


def reload_definitions(places: Places) -> None:
    """Have a running Dagster read the workloads again; nothing happens where none runs."""
    url = places.service("dagster")
    if url is None or not answers(url + HEALTH["dagster"]):
        return
    body = json.dumps({"query": "mutation { reloadWorkspace { __typename } }"}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60):  # noqa: S310
        pass


def _addresses(places: Places) -> dict[str, str]:
    try:
        return json.loads(places.services.read_bytes())
    except FileNotFoundError:
        return {}


def _port(url: str | None) -> int | None:
    return urlsplit(url).port if url else None


def _program(places: Places, name: str, urls: dict[str, str]) -> Program:
    port = str(_port(urls.get(name)) or "")
    python = sys.executable
    dagster_home = str(instance.prepare(places))
    environment = {
        "AIPRIME_HOME": str(places.home),
        "DAGSTER_HOME": dagster_home,
        "PYTHONPATH": str(places.root),
        **ENVIRONMENT,
    }
    workspace = str(places.home / "dagster" / "workspace.yaml")
    commands: dict[str, tuple[str, ...]] = {
        "mlflow": (python, "-m", "training.tracking_server", *_mlflow(places, port)),
        "gateway": (python, "-m", "serving.gateway", "--port", port),
        "code": (
            python,
            "-m",
            "dagster",
            "code-server",
            "start",
            "-m",
            MODULE,
            "-h",
            "127.0.0.1",
            "-p",
            port,
            "-d",
            str(places.root),
        ),
        "dagster": (python, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", port, "-w", workspace),
        "daemon": (python, "-m", "dagster._daemon", "run", "-w", workspace),
    }
    if name == "mlflow":
        environment |= {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": r"^(models:|mlflow-artifacts:).*",
        }
    return Program(name=name, command=commands[name], env=environment, cwd=places.root)


def _mlflow(places: Places, port: str) -> tuple[str, ...]:
    store = places.home / "mlflow"
    store.mkdir(parents=True, exist_ok=True)
    return (
        *("--host", "127.0.0.1", "--port", port, "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"),
        *("--artifacts-destination", (store / "artifacts").as_uri(), "--serve-artifacts"),
        *("--allowed-hosts", "127.0.0.1:*,localhost:*"),
    )


def _write_workspace(places: Places, url: str) -> None:
    text = f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {_port(url)}, location_name: aiprime}}\n"
    write_atomically(places.home / "dagster" / "workspace.yaml", text)
