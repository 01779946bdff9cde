"""The processes a person needs: tracking server, gateway, Dagster's code server, UI and daemon. Supervised, on loopback.

`start` returns at once; `wait` waits for their health. Running it twice starts nothing twice.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from data.errors import UserError
from data.files import write_atomically, write_json
from data.places import Places
from orchestration import instance
from serving.instance import begin
from serving.supervision import Program, ProgramStatus, Supervisor, free_port
from training.tracking import ENVIRONMENT

CORE = ("mlflow", "gateway")  # what a run needs
ALL = (*CORE, "code", "dagster", "daemon")
PREFERRED = {"mlflow": 5000, "gateway": 8080, "dagster": 3000, "code": 4266}
HEALTH = {"mlflow": "/health", "gateway": "/v2/health/live", "dagster": "/server_info"}
MODULE = "orchestration.definitions"
DOWN = {"BACKOFF", "EXITED", "FATAL"}  # states of a program that ended by itself
DOWN_S = 4.0  # longer than supervisord's first pauses before it tries again


def start(places: Places, names: Sequence[str] = ALL) -> dict[str, str]:
    """Start the named services that are not running and return the addresses of all that are. Does not wait for them."""
    begin(places.home)  # before a gateway runs: from its first request on it asks whose server answers
    supervisor = Supervisor(places.home)
    supervisor.ensure()
    running = {one.name for one in supervisor.status() if one.state in {"RUNNING", "STARTING"}}
    urls = _addresses(places)
    running -= set(PREFERRED) - set(urls)  # it runs, but its address was lost: it is started anew
    for name in names:
        if name not in running and name in PREFERRED:
            urls[name] = f"http://127.0.0.1:{free_port(_port(urls.get(name)) or _preferred(places, name))}"
    write_json(places.services, urls)
    if set(names) - set(CORE) - running:
        instance.create(places)  # before the three that would all make its databases at once
    if "code" in names:
        _write_workspace(places, urls["code"])
    for name in names:
        if name not in running:
            supervisor.apply(_program(places, name, urls))
    return urls


def wait(places: Places, names: Sequence[str], told: Callable[[str, str], None], deadline_s: float = 120) -> None:
    """Wait until each named service answers, telling `told(name, url)` as it does.

    UserError with its log where one does not within `deadline_s`, and soon where its program keeps ending.
    """
    urls = _addresses(places)
    waiting = [name for name in names if name in HEALTH]
    end = time.monotonic() + deadline_s
    lives = {name: _Lives() for name in waiting}
    supervisor = Supervisor(places.home)
    while waiting:
        for name in list(waiting):
            if answers(urls[name] + HEALTH[name]):
                waiting.remove(name)
                told(name, urls[name])
        for one in supervisor.status() if waiting else ():
            if one.name in waiting and lives[one.name].over(one):
                raise _failed(supervisor, one.name, urls, f"{one.name} keeps ending ({one.state}: {one.description})")
        if waiting and time.monotonic() > end:
            raise _failed(supervisor, waiting[0], urls, f"{waiting[0]} does not answer after {deadline_s:.0f} s")
        time.sleep(0.1)


class _Lives:
    """What was seen of one program while it was waited for."""

    def __init__(self) -> None:
        self._pids: set[int] = set()
        self._down_since: float | None = None

    def over(self, seen: ProgramStatus) -> bool:
        """Whether waiting on is of no use: it ended twice (once may be a port that was just taken), or stays down."""
        if seen.pid is not None:
            self._pids.add(seen.pid)
        if seen.state not in DOWN:
            self._down_since = None
        elif self._down_since is None:
            self._down_since = time.monotonic()
        ended = len(self._pids) - (seen.state not in DOWN)
        return ended >= 2 or (self._down_since is not None and time.monotonic() - self._down_since > DOWN_S)


def _failed(supervisor: Supervisor, name: str, urls: dict[str, str], what: str) -> UserError:
    return UserError(what, where=f"{urls[name]}\n{supervisor.logs(name, 15)}", next_step=f"aiprime logs {name}")


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


def _preferred(places: Places, name: str) -> int:
    """AIPRIME_MLFLOW_PORT and the like, else the usual one."""
    setting = f"AIPRIME_{name.upper()}_PORT"
    wanted = places.setting(setting) or str(PREFERRED[name])
    if not wanted.isdigit() or not 0 < int(wanted) < 65_536:
        raise UserError(
            f"{setting} is {wanted!r}: not a port", next_step="write a whole number from 1 to 65535, or leave it out"
        )
    return int(wanted)


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
            "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "false",
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
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
