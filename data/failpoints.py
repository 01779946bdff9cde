"""Points at which a test ends, stops or fails a process, as in etcd's suite: `AIPRIME_FAILPOINTS="after-register=SIGKILL" aiprime run co2`.

Written NAME=ACTION, several with commas; a point that many files pass is narrowed as NAME@FILE. ACTION is SIGKILL, SIGTERM, SIGSTOP,
`error` (Injected is raised) or `sleep`; `:SECONDS` says for how long it sleeps, or after how long a SIGSTOP is followed by a SIGCONT.

Each mention acts once: a mark in HOME/failpoints is made first, so that the retry goes through. Only the process's environment can set
it, as it was when the process began, and only where it names AIPRIME_HOME too; what acts says so on standard error. Not set, a point costs one comparison.
Knows nothing of what happens around it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SETTING = "AIPRIME_FAILPOINTS"
POINTS = {
    "before-train": "the data were checked, the model is not fitted",
    "during-training": "an epoch ended (@N, from 0)",
    "before-rename": "a file is whole and synced beside its place (@FILE)",
    "after-rename": "a file is in its place (@FILE)",
    "after-train": "the model was judged, nothing of it is registered",
    "after-mlflow": "MLflow has the version, the ledger does not",
    "before-sign": "the version's files are in their place, without a signature",
    "after-register": "the ledger has the version, it was not cleared to serve",
    "after-clearing": "the version may serve, nothing is decided",
    "after-decision": "what may serve is decided, the pointer is as before (@promoted, @exposed, @rolled_back)",
    "after-point": "the pointer is the new one's, the old server is not drained",
    "during-drain": "the old server is drained, it still runs",
    "before-commit": "a group of predictions is written, not committed",
    "after-commit": "a group of predictions is durable, nobody was told",
    "before-label-commit": "labels are written, not committed",
    "after-label-commit": "labels are durable, nobody was told",
    "before-window": "a window was judged, it is not on record",
    "after-window": "a window is on record, nothing was decided on it",
    "after-retrain-asked": "a retrain is on record, no run was started",
    "during-backup": "a file was copied, more are to come",
    "during-forget": "a step of an erasure is done, the next is not begun (@ one of assets.forgetting.doing.STEPS)",
}
ACTIONS = ("SIGKILL", "SIGTERM", "SIGSTOP", "error", "sleep")
_SLEEP_S = 1.0
_set = os.environ.get(SETTING, "")


class Injected(Exception):
    """The failure that `error` asks for."""


def failpoint(name: str, of: str = "") -> None:
    """A point of POINTS, passed with what it is about (a file's name); nothing happens unless the environment names it."""
    if _set:
        _passed(name, of)


def chosen(text: str) -> list[tuple[str, str, str, float | None]]:
    """(name, file or "", action, seconds or None) of each mention; ValueError where a name or an action is not known."""
    found = []
    for mention in filter(None, (one.strip() for one in text.split(","))):
        point, _, what = mention.partition("=")
        (name, _, of), (action, _, seconds) = point.partition("@"), what.partition(":")
        if name not in POINTS or action not in ACTIONS:
            raise ValueError(
                f"{SETTING}: {mention!r} is no NAME=ACTION; names: {', '.join(POINTS)}; actions: {', '.join(ACTIONS)}"
            )
        found.append((name, of, action, float(seconds) if seconds else None))
    return found


def _passed(name: str, of: str) -> None:
    home = os.environ.get("AIPRIME_HOME")
    if not home:
        return
    for number, (wanted, file, action, seconds) in enumerate(chosen(_set)):
        if wanted == name and file in ("", of) and _first(Path(home) / "failpoints" / f"{number}-{name}"):
            sys.stderr.write(f"failpoint {name}{f' ({of})' if of else ''}: {action} for process {os.getpid()}\n")
            sys.stderr.flush()
            _act(action, seconds, name)


def _first(mark: Path) -> bool:
    """Whether nobody was here before; whoever is first leaves a mark."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def _act(action: str, seconds: float | None, name: str) -> None:
    if action == "error":
        raise Injected(f"failpoint {name}")
    if action == "sleep":
        time.sleep(_SLEEP_S if seconds is None else seconds)
        return
    if action == "SIGSTOP" and seconds is not None:
        waker = f"import os, signal, time; time.sleep({seconds}); os.kill({os.getpid()}, signal.SIGCONT)"
        subprocess.Popen([sys.executable, "-IS", "-c", waker], start_new_session=True)
    os.kill(os.getpid(), signal.Signals[action])
