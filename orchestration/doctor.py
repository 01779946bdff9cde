"""`aiprime doctor`: what commonly goes wrong, looked at, each with the next step."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator

from assets.spec import names, read
from data import failpoints, state
from data.errors import UserError
from data.places import Places
from orchestration import databases
from orchestration.findings import Finding


def examine(places: Places) -> list[Finding]:
    """Look at the machine, the project and the state; changes nothing (a database that AIPRIME_LEDGER_URL names gets its tables)."""
    checks: list[Callable[[Places], Iterator[Finding]]] = [_machine, _project, _state, _trust, _services]
    return [finding for check in checks for finding in _looked(check, places)]


def _looked(check: Callable[[Places], Iterator[Finding]], places: Places) -> list[Finding]:
    """One part's findings; a database that is too damaged to be asked does not keep the other parts from being looked at."""
    from sqlalchemy.exc import DatabaseError

    found = []
    try:
        for finding in check(places):
            found.append(finding)
    except DatabaseError as error:
        found.append(Finding(check.__name__.strip("_"), "bad", f"a database cannot be read: {error.orig}; aiprime verify"))
    return found


def _machine(places: Places) -> Iterator[Finding]:
    supported = sys.platform == "linux" and platform.machine() == "x86_64"
    yield Finding(
        "platform",
        "good" if supported else "note",
        f"{sys.platform} {platform.machine()}, Python {platform.python_version()}"
        + ("" if supported else ": best effort, Linux x86-64 is supported"),
    )
    free = shutil.disk_usage(places.root).free / 1e9
    yield Finding(
        "disk",
        "good" if free > 2 else "bad",
        f"{free:.1f} GB free" + ("" if free > 2 else ": aiprime gc, or make room; a run needs about 1 GB"),
    )
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        yield Finding(
            "bytecode", "note", "PYTHONDONTWRITEBYTECODE is set in your shell: aiprime ignores it, dvc repro is slower with it"
        )
    if set_off := os.environ.get(failpoints.SETTING):
        yield Finding(
            "failpoints",
            "bad",
            f"faults are injected into whatever is started here ({failpoints.SETTING}={set_off}): unset {failpoints.SETTING}, then aiprime down and up",
        )
    missing = [name for name in ("torch", "dagster", "mlflow", "kserve", "feast") if importlib.util.find_spec(name) is None]
    yield Finding(
        "packages", "bad" if missing else "good", f"missing: {', '.join(missing)}: make install" if missing else "installed"
    )


def _project(places: Places) -> Iterator[Finding]:
    broken = []
    for name in names(places):
        try:
            read(places.defs(name))
        except UserError as error:
            broken.append(str(error))
    yield Finding("workloads", "bad" if broken else "good", "\n".join(broken) or ", ".join(names(places)))
    from data import infer

    listed = set(infer.registered(places.root))
    if listed != set(names(places)):
        yield Finding(
            "dvc names",
            "bad",
            f"orchestration/workloads/index.yaml lists {sorted(listed)}, the folders are {names(places)}: mend the list",
        )


def _state(places: Places) -> Iterator[Finding]:
    from serving.ledger import Ledger

    if not places.home.is_dir():
        yield Finding("state", "note", f"{places.home} does not exist yet: make run")
        return
    if not os.access(places.home, os.R_OK | os.W_OK | os.X_OK):  # the ledger cannot even be read then: SQLite writes beside it
        yield Finding("state", "bad", f"{places.home} cannot be written: mend its owner or its mode")
        return
    try:
        state.refuse_newer(places.home)
        databases.refuse_damaged(places.home)
    except UserError as error:
        yield Finding("state", "bad", str(error))
    elsewhere = os.environ.get("AIPRIME_LEDGER_URL")
    if not elsewhere and not (places.home / "ledger.db").is_file():  # to open it would create it
        if (places.home / "ledger.head").is_file():
            yield Finding("ledger", "bad", f"{places.home / 'ledger.db'} is gone: restore it from a backup")
        else:
            yield Finding("ledger", "note", "nothing was decided yet: aiprime run NAME")
        return
    broken = Ledger.at(places.home).verify()
    yield Finding(
        "ledger",
        "bad" if broken else "good",
        f"the chain is broken at {broken}: restore it from a backup" if broken else "the chain holds",
    )


def _trust(places: Places) -> Iterator[Finding]:
    from assets import signing
    from serving.trust import keys

    if not (places.home / "ledger.db").is_file() and not os.environ.get("AIPRIME_LEDGER_URL"):
        return
    if not keys.folder(places.home).is_dir():
        yield Finding("signatures", "note", "no key was made yet: aiprime run NAME")
        return
    try:
        refused = signing.verify(places)
        open_to = [file for file in keys.folder(places.home).glob("*.pem") if file.stat().st_mode & 0o077]
        refused += [f"{file} can be read by others: chmod 600" for file in open_to]
        said = (
            "\n".join(refused) or f"what serves is signed; new models by key {keys.short(keys.signing(places.home).public.id)}"
        )
    except UserError as error:
        refused, said = [error.what], str(error)
    yield Finding("signatures", "bad" if refused else "good", said)


def _services(places: Places) -> Iterator[Finding]:
    from orchestration import services
    from serving.supervision import Supervisor

    processes = Supervisor(places.home).status()
    if not processes:
        yield Finding("services", "note", "nothing runs: aiprime up")
    for one in processes:
        if one.state != "RUNNING":
            yield Finding(one.name, "bad", f"{one.state}: aiprime logs {one.name}")
    for name, path in services.HEALTH.items():
        url = places.service(name)
        if url:
            alive = services.answers(url + path)
            yield Finding(
                name,
                "good" if alive else "bad",
                f"{url} answers" if alive else f"{url} does not answer: aiprime up, then aiprime logs {name}",
            )
