"""What must run, written down: a program, the environment that every program gets, and supervisord's files for both."""

from __future__ import annotations

import hashlib
import json
import random
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
_FOREVER = 1_000_000_000  # start retries: a program is never given up (FATAL)

# What every program gets, and what a parent's environment must not hand down.
ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",  # the log's last line is the last thing that happened
    "OMP_WAIT_POLICY": "PASSIVE",  # idle threads of one process must not burn another's core
    "DAGSTER_DISABLE_TELEMETRY": "yes",  # telemetry is off wherever we start something
    "DO_NOT_TRACK": "true",  # evidently, mlflow
    "DVC_NO_ANALYTICS": "1",
    "FEAST_USAGE": "False",
    "GX_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
DROPPED = ("PYTHONDONTWRITEBYTECODE", "PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")


@dataclass(frozen=True, kw_only=True)
class Program:
    """What must run: a name (ASCII letters, digits, `_.-`), an argument list, what its environment adds, where it starts."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None  # None: AIPRIME_HOME
    stop_seconds: int = 10  # between SIGTERM and SIGKILL
    autorestart: bool = True


def specification(command: tuple[str, ...], env: Mapping[str, str], cwd: Path) -> dict[str, Any]:
    """What `serving/child.py` reads: a program's command, the environment it adds and must not have, and its folder."""
    return {"command": list(command), "env": {**ENVIRONMENT, **env}, "unset": list(DROPPED), "cwd": str(cwd)}


def files(program: Program, home: Path, root: Path) -> tuple[str, str]:
    """NAME.json (for `child.py`) and NAME.conf (for supervisord); `root` leads to `home` by an ASCII path without spaces.

    ValueError for a name that is not plain.
    """
    if not _NAME.fullmatch(program.name):
        raise ValueError(f"{program.name!r} cannot be a program's name")
    stated = specification(program.command, {**program.env, "AIPRIME_HOME": str(home)}, program.cwd or home)
    stated["stop_seconds"] = program.stop_seconds
    text = json.dumps(stated, indent=2, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    here = f"{root}/supervisor"
    lines = (
        f"[program:{program.name}]",
        f"command=%(ENV_AIPRIME_CHILD)s {here}/supervisord.conf {here}/conf.d/{program.name}.json {digest}",
        f"autorestart={'true' if program.autorestart else 'false'}",
        f"startsecs=1\nstartretries={_FOREVER}",
        f"stopwaitsecs={program.stop_seconds}\nstopasgroup=true\nkillasgroup=true",
        f"redirect_stderr=true\nstdout_logfile={root}/logs/{program.name}.log",
        "stdout_logfile_maxbytes=10MB\nstdout_logfile_backups=3",
    )
    return text + "\n", "\n".join(lines) + "\n"


def supervisord(identifier: str, socket_path: Path, root: Path) -> str:
    """supervisord.conf; it reads every conf.d/*.conf beside it."""
    lines = (
        f"[unix_http_server]\nfile={socket_path}\nchmod=0700",
        f"[supervisord]\nidentifier={identifier}\npidfile={root}/supervisor/supervisord.pid\nlogfile={root}/logs/supervisord.log",
        "logfile_maxbytes=5MB\nlogfile_backups=2\nnocleanup=true",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[include]\nfiles=conf.d/*.conf",
    )
    return "\n".join(lines) + "\n"


def free_port(preferred: int | None = None) -> int:
    """A port that nothing listens on: `preferred` where it is free, else one at random below the range that clients are given."""
    for port in [*([preferred] if preferred else []), *random.sample(range(18_000, 32_000), 200)]:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
            return port
    raise UserError("no free port between 18000 and 32000", next_step="end what listens there")
