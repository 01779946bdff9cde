"""The door to `supervisor`: programs that are kept running, and that all end when told to.

The configuration files under HOME/supervisor/conf.d are the desired state. Nothing that a person names stands in them: command,
environment and folder of a program go through `serving/child.py`, which also ends it when supervisord dies. Socket and paths
that supervisord reads begin in /tmp/aiprime-UID-MARK, for a unix socket's path is at most 107 bytes and HOME may hold spaces.
Refuses to know what the programs do.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

from data.errors import UserError
from data.files import write_atomically
from serving import processes
from serving.processes import Remote
from serving.programs import DROPPED, ENVIRONMENT, Program, files, free_port, supervisord

__all__ = ["Program", "ProgramStatus", "Supervisor", "free_port"]

_START_S = 20.0  # for supervisord to answer
BUSY_S = 15.0  # a busy machine must not pass for a hung supervisord


@dataclass(frozen=True)
class ProgramStatus:
    """A program as supervisord sees it; `state` is STOPPED where supervisord does not run."""

    name: str
    state: str  # STARTING, RUNNING (up for a second), BACKOFF (ended early, will be tried again), STOPPING, STOPPED, EXITED
    pid: int | None
    uptime_s: int
    log: str
    description: str


class Supervisor:
    """The programs of one AIPRIME_HOME. Safe to use from several processes at once."""

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        self._folder = self.home / "supervisor"
        self.mark = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        self._runtime = Path(f"/tmp/aiprime-{os.getuid()}-{self.mark}")  # noqa: S108  (0700 and checked to be ours)
        self._configuration = self._runtime / "home" / "supervisor" / "supervisord.conf"

    # -- supervisord itself

    def alive(self) -> bool:
        """Whether supervisord answers and is not on its way out."""
        try:
            remote = self._remote(BUSY_S)
            return remote("getIdentification") == self.mark and remote("getState")["statecode"] == 1
        except (OSError, Fault):
            return False

    def ensure(self) -> None:
        """Start supervisord if it is not alive, with every program of the desired state. What a crash left over is ended first."""
        with self._locked():
            self._ensure()

    def shutdown(self) -> None:
        """End every program and supervisord itself, and wait until no process is left; nothing remains desired."""
        with self._locked():
            longest = max((self._specification(name).get("stop_seconds", 0) for name in self._desired()), default=0)
            living = processes.marked(self.mark)
            if self.alive():
                with suppress(OSError, Fault):
                    self._remote()("shutdown")
                end = time.monotonic() + longest + 5
                while self._answers() and time.monotonic() < end:
                    time.sleep(0.02)
            processes.end_all(self.mark, living)
            for name in self._desired():
                self._forget(name)
            shutil.rmtree(self._runtime, ignore_errors=True)

    # -- programs

    def apply(self, *programs: Program) -> None:
        """Have these programs run as stated: added, started again where the statement changed, left alone where it did not.

        Returns when supervisord has taken them up; `wait` waits until one is of use. ValueError for a name that is not plain.
        """
        with self._locked():
            for program in programs:
                self._state(program)
            self._ensure()
            self._converge()
            remote = self._remote()
            for program in programs:
                self._start(remote, program.name)

    def remove(self, name: str) -> None:
        """End a program and forget it; nothing happens where there is none."""
        if self.alive():
            self._stop(name)  # outside the lock: draining one server must not block all others
        with self._locked():
            self._forget(name)
            if self.alive():
                self._converge()

    def wait(self, name: str, ready: Callable[[], bool], deadline_s: float = 60, pause_s: float = 0.03) -> None:
        """Wait until `ready()`; UserError with the log's tail where the program ends first or the deadline passes."""
        end = time.monotonic() + deadline_s
        pid = None
        while not ready():
            found = next((one for one in self.status() if one.name == name), None)
            pid = pid or (found and found.pid)
            if found is None or found.state not in {"STARTING", "RUNNING"} or found.pid != pid:
                state = f"{found.state}: {found.description}" if found else "not known"
                raise self._failed(name, f"{name} cannot start ({state})")
            if time.monotonic() > end:
                raise self._failed(name, f"{name} is not ready after {deadline_s:.0f} s")
            time.sleep(pause_s)

    def status(self) -> list[ProgramStatus]:
        """Every program, by name."""
        try:
            found = {one["name"]: one for one in self._remote(timeout_s=5)("getAllProcessInfo")}
        except (OSError, Fault):
            found = {}
        return [self._status(name, found.get(name)) for name in sorted({*self._desired(), *found})]

    def logs(self, name: str, tail: int = 20) -> str:
        """The last `tail` lines that a program wrote."""
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, self.log(name).stat().st_size - 500 * tail))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-tail:])
        except FileNotFoundError:
            return ""

    def log(self, name: str) -> Path:
        """Where a program's output goes: rotated at 10 MB, three old files kept."""
        return self.home / "logs" / f"{name}.log"

    # -- the desired state

    def _desired(self) -> list[str]:
        return sorted(file.stem for file in (self._folder / "conf.d").glob("*.conf"))

    def _specification(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self._folder / "conf.d" / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return {}

    def _state(self, program: Program) -> None:
        folder = self._folder / "conf.d"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for suffix, text in zip(("json", "conf"), files(program, self.home, self._runtime / "home"), strict=True):
            file = folder / f"{program.name}.{suffix}"
            if not file.exists() or file.read_text() != text or file.stat().st_mode & 0o077:
                write_atomically(file, text, mode=0o600)  # a server's token is in it

    def _forget(self, name: str) -> None:
        for suffix in ("conf", "json"):
            (self._folder / "conf.d" / f"{name}.{suffix}").unlink(missing_ok=True)

    def _converge(self) -> None:
        """Make supervisord's programs those of the files, also what an interrupted caller left undone."""
        remote = self._remote()
        [[added, changed, removed]] = remote("reloadConfig")
        for name in [*changed, *removed]:
            self._stop(name)
            self._quietly("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._quietly("addProcessGroup", name)

    def _start(self, remote: Remote, name: str) -> None:
        state = remote("getProcessInfo", name)["statename"]
        if state == "BACKOFF":  # its next try may be minutes away
            self._quietly("stopProcess", name)
        if state not in {"STARTING", "RUNNING"}:
            self._quietly("startProcess", name, False)  # do not wait for the second that makes it RUNNING

    def _stop(self, name: str) -> None:
        remote = self._remote()
        end = time.monotonic() + self._specification(name).get("stop_seconds", 10) + 15
        with suppress(Fault):
            remote("stopProcess", name, False)
            # Asked again and again, supervisord notices the end at once; waiting inside it takes up to its second.
            while remote("getProcessInfo", name)["statename"] == "STOPPING" and time.monotonic() < end:
                time.sleep(0.02)

    def _answers(self) -> bool:
        """Whether supervisord is there at all; one that ends its programs refuses every call."""
        try:
            self._remote(1)("getState")
        except Fault:
            return True
        except OSError:
            return False
        return True

    def _status(self, name: str, found: dict[str, Any] | None) -> ProgramStatus:
        log = str(self.log(name))
        if found is None:
            return ProgramStatus(name, "STOPPED", None, 0, log, "supervisord does not run it")
        uptime = max(0, found["now"] - found["start"]) if found["pid"] else 0
        return ProgramStatus(
            name, found["statename"], found["pid"] or None, uptime, log, found["spawnerr"] or found["description"]
        )

    def _failed(self, name: str, what: str) -> UserError:
        tail = "\n    ".join(self.logs(name).splitlines())
        return UserError(
            what, where=f"{self.log(name)}\n    {tail}", next_step=f"mend what the log says; aiprime logs {name} shows more"
        )

    # -- reaching supervisord

    def _remote(self, timeout_s: float = 90) -> Remote:
        return Remote(self._runtime / "socket", timeout_s)

    def _quietly(self, method: str, name: str, *arguments: Any) -> None:
        """Call, where it is no mistake that another caller has done it already."""
        with suppress(Fault):
            self._remote()(method, name, *arguments)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _ensure(self) -> None:
        self._prepare_runtime()
        if self.alive() and (self._folder / "supervisord.conf").is_file():  # a home that was deleted under it is begun anew
            return
        processes.end_all(self.mark)  # a hung supervisord, and the orphans of a dead one
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        text = supervisord(self.mark, self._runtime / "socket", self._runtime / "home")
        write_atomically(self._folder / "supervisord.conf", text)
        environment = {name: value for name, value in os.environ.items() if name not in DROPPED} | ENVIRONMENT
        child = Path(__file__).with_name("child.py")
        environment["AIPRIME_CHILD"] = shlex.join([sys.executable, "-IS", str(child)])
        environment[processes.MARK] = self.mark
        command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(self._configuration)]
        started = subprocess.run(
            command,
            check=False,
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_S,
        )
        end = time.monotonic() + _START_S
        while started.returncode == 0 and time.monotonic() < end:
            if self.alive():
                return
            time.sleep(0.02)
        log = self.home / "logs" / "supervisord.log"
        raise UserError(
            "supervisord does not start",
            where=f"{log}\n    {(started.stdout + started.stderr).strip()}",
            next_step="aiprime doctor",
        )

    def _prepare_runtime(self) -> None:
        """A short, private folder with ASCII paths; made again on each use, for /tmp is swept."""
        with suppress(FileExistsError):
            self._runtime.mkdir(mode=0o700)
        found = self._runtime.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise UserError(
                "another user's folder stands where supervisord's socket belongs",
                where=str(self._runtime),
                next_step="remove it",
            )
        link = self._runtime / "home"
        if not link.is_symlink() or link.readlink() != self.home:
            link.unlink(missing_ok=True)
            link.symlink_to(self.home)
