"""Supervision: what must run runs, what fell is back, and nothing is left when it is told to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.errors import UserError
from serving.processes import marked
from serving.supervision import Program, Supervisor, free_port
from tests.serving.waiting import exists, until

SLEEP = (sys.executable, "-IS", "-c", "import time; time.sleep(600)")


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    one = Supervisor(tmp_path / "a home; with 50% #ünïcode [x]")
    yield one
    one.shutdown()
    assert not marked(one.mark)


def pid_of(supervisor: Supervisor, name: str) -> int:
    until(lambda: any(one.name == name and one.pid for one in supervisor.status()))
    return next(one.pid for one in supervisor.status() if one.name == name and one.pid)


def supervisord(supervisor: Supervisor) -> int:
    return int((supervisor.home / "supervisor" / "supervisord.pid").read_text())


def test_programs_come_stay_change_and_go(supervisor: Supervisor) -> None:
    """A program is started once, left alone while its statement holds, started anew when it changes, ended when removed."""
    supervisor.apply(Program(name="one", command=SLEEP), Program(name="two", command=SLEEP))
    one, two = pid_of(supervisor, "one"), pid_of(supervisor, "two")

    supervisor.apply(Program(name="one", command=SLEEP), Program(name="two", command=SLEEP, env={"CHANGED": "%d"}))
    assert pid_of(supervisor, "one") == one
    assert pid_of(supervisor, "two") != two
    assert not exists(two)

    supervisor.remove("one")
    assert not exists(one)
    supervisor.remove("never there")
    assert [status.name for status in supervisor.status()] == ["two"]


def test_any_command_environment_and_folder(supervisor: Supervisor, tmp_path: Path) -> None:
    """Spaces, quotes, unicode, percent signs and newlines arrive as written; telemetry is off; what must not be inherited is not."""
    odd = tmp_path / "ein Ordner; mit %(x)s"
    odd.mkdir()
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]), flush=True); import time; time.sleep(600)"
    words = ('a "b" c', "100%", "größe ; # x", "line\nline", "")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = "/nowhere"
    try:
        supervisor.apply(Program(name="odd", command=(sys.executable, "-c", code, *words), env={"WHY": '"%s" ☃\n'}, cwd=odd))
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
    until(lambda: supervisor.logs("odd"))
    arguments, folder, environment = json.loads(supervisor.logs("odd"))
    assert arguments == list(words)
    assert folder == str(odd)
    assert environment["WHY"] == '"%s" ☃\n'
    assert environment["AIPRIME_HOME"] == str(supervisor.home)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["DAGSTER_DISABLE_TELEMETRY"]
    assert not {"PROMETHEUS_MULTIPROC_DIR", "PYTHONDONTWRITEBYTECODE"} & set(environment)


def test_what_a_program_is_told_is_its_owner_s_alone(supervisor: Supervisor) -> None:
    """The statement may hold a token: nobody else can read it, nor one that an older version left open to others."""
    program = Program(name="one", command=SLEEP, env={"TOKEN": "secret"})
    folder = supervisor.home / "supervisor" / "conf.d"
    for _ in range(2):
        supervisor.apply(program)
        assert [file.name for file in folder.iterdir() if file.stat().st_mode & 0o077] == []
        (folder / "one.json").chmod(0o644)


def test_a_killed_program_is_back_at_once(supervisor: Supervisor) -> None:
    """A program that ran for a second and is killed runs again within a second."""
    supervisor.apply(Program(name="one", command=SLEEP))
    until(lambda: supervisor.status()[0].state == "RUNNING")
    killed = pid_of(supervisor, "one")
    os.kill(killed, signal.SIGKILL)
    until(lambda: supervisor.status()[0].pid not in {killed, None}, deadline_s=2)


def test_a_killed_supervisor_leaves_no_orphan_and_comes_back(supervisor: Supervisor) -> None:
    """When supervisord is killed -9 its programs die with it, unasked; the next `ensure` starts all of them again."""
    supervisor.apply(Program(name="one", command=SLEEP), Program(name="two", command=SLEEP))
    pids = [pid_of(supervisor, "one"), pid_of(supervisor, "two")]
    os.kill(supervisord(supervisor), signal.SIGKILL)
    until(lambda: not any(map(exists, pids)), deadline_s=2)
    assert {status.state for status in supervisor.status()} == {"STOPPED"}

    supervisor.ensure()  # the stale pid file and socket are no obstacle
    assert {pid_of(supervisor, "one"), pid_of(supervisor, "two")}.isdisjoint(pids)


def test_a_hung_supervisor_is_replaced(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisord that no longer answers is ended, with its programs, and started anew."""
    supervisor.apply(Program(name="one", command=SLEEP))
    hung, child = supervisord(supervisor), pid_of(supervisor, "one")
    monkeypatch.setattr("serving.supervision.BUSY_S", 0.3)
    monkeypatch.setattr("serving.processes.GRACE_S", 0.3)
    os.kill(hung, signal.SIGSTOP)
    supervisor.ensure()
    assert not exists(hung)
    assert not exists(child)
    assert pid_of(supervisor, "one") != child


def test_shutdown_leaves_no_process(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that ignore SIGTERM and grandchildren in sessions of their own are gone too, and nothing is desired any more."""
    monkeypatch.setattr("serving.processes.GRACE_S", 0.3)
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "p = subprocess.Popen([sys.executable, '-IS', '-c', 'import time; time.sleep(600)'], start_new_session=True); "
        "print(p.pid, flush=True); time.sleep(600)"
    )
    supervisor.apply(Program(name="stubborn", command=(sys.executable, "-c", code), stop_seconds=1))
    until(lambda: supervisor.logs("stubborn"))
    pids = [pid_of(supervisor, "stubborn"), int(supervisor.logs("stubborn")), supervisord(supervisor)]
    supervisor.shutdown()
    assert not any(map(exists, pids))
    assert supervisor.status() == []
    supervisor.shutdown()  # twice is fine


def test_shutdown_leaves_a_program_its_time(supervisor: Supervisor) -> None:
    """A program that needs a moment to end is told once, and ends by itself."""
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True)); "
        "print('up', flush=True); signal.pause(); time.sleep(0.3); print('done', flush=True)"
    )
    supervisor.apply(Program(name="tidy", command=(sys.executable, "-c", code)))
    until(lambda: supervisor.logs("tidy"))
    supervisor.shutdown()
    assert supervisor.logs("tidy").split() == ["up", "told", "done"]


def test_a_program_that_cannot_start_is_named_with_its_log(supervisor: Supervisor) -> None:
    """A missing program and one that ends at once are reported with what they wrote; neither is given up for ever."""
    supervisor.apply(Program(name="absent", command=("/no/such/program",)))
    with pytest.raises(UserError, match="No such file or directory"):
        supervisor.wait("absent", lambda: False)
    supervisor.apply(Program(name="broken", command=(sys.executable, "-c", "raise SystemExit('no model in the folder')")))
    with pytest.raises(UserError, match=r"broken cannot start(.|\n)*no model in the folder"):
        supervisor.wait("broken", lambda: False)
    assert "FATAL" not in {status.state for status in supervisor.status()}


def test_a_program_that_dies_while_waited_for_is_noticed(supervisor: Supervisor) -> None:
    """One that ends after it was counted as running is reported too, not waited for until the deadline."""
    code = "import time; time.sleep(1.2); raise SystemExit('port taken')"
    supervisor.apply(Program(name="late", command=(sys.executable, "-c", code)))
    started = time.monotonic()
    with pytest.raises(UserError, match="port taken"):
        supervisor.wait("late", lambda: False, deadline_s=30)
    assert time.monotonic() - started < 10


def test_two_callers_at_once_share_one_supervisor(tmp_path: Path) -> None:
    """Several processes that bring up programs in a fresh home start one supervisord, and all their programs run."""
    code = (
        "import sys; from pathlib import Path; from serving.supervision import Program, Supervisor; "
        "Supervisor(Path(sys.argv[1])).apply(Program(name=sys.argv[2], command=(sys.executable, '-IS', '-c', 'import time; time.sleep(600)')))"
    )
    supervisor = Supervisor(tmp_path)
    try:
        callers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"p{n}"]) for n in range(4)]
        assert [caller.wait(30) for caller in callers] == [0] * 4
        assert [status.name for status in supervisor.status()] == ["p0", "p1", "p2", "p3"]
        assert len(marked(supervisor.mark)) == 5
    finally:
        supervisor.shutdown()


def test_a_program_s_name_is_plain(supervisor: Supervisor) -> None:
    """A name that could leave its folder or the configuration's syntax is our mistake and is refused."""
    for name in ("../x", "a b", "x]", ""):
        with pytest.raises(ValueError, match="program's name"):
            supervisor.apply(Program(name=name, command=SLEEP))


def test_a_free_port_is_the_preferred_one_where_it_is_free() -> None:
    """The preferred port is given while nobody listens there, another one after."""
    import socket

    port = free_port()
    assert free_port(port) == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert free_port(port) != port
