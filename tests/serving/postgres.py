"""A real PostgreSQL for tests: a server of its own in a folder of its own, on a unix socket, ended when the tests are."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian's, which are not on the path
_READY_S = 60


def program(name: str) -> Path | None:
    """Where PostgreSQL's program lies; None where it is not installed."""
    found = shutil.which(name, path=os.pathsep.join([*map(str, _PLACES), os.environ.get("PATH", "")]))
    return Path(found) if found else None


class Postgres:
    """One running server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def url(self) -> str:
        """A new, empty database."""
        import psycopg

        name = f"t{uuid4().hex}"
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"


@contextmanager
def running() -> Iterator[Postgres]:
    """A server that is ready. Needs `program("initdb")`."""
    # Not pytest's folder: only root may enter that, and PostgreSQL refuses to be root. A socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    initdb = [
        program("initdb"),
        "-D",
        folder / "data",
        "-U",
        "postgres",
        "-A",
        "trust",
        "--no-sync",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    subprocess.run(list(map(str, initdb)), user=user, check=True, capture_output=True, cwd=folder)
    options = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "max_connections=40"]
    command = [program("postgres"), "-D", folder / "data", *(part for option in options for part in ("-c", option))]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(list(map(str, command)), user=user, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(server, folder)
        yield Postgres(folder)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
        shutil.rmtree(folder)


def _wait(server: subprocess.Popen[bytes], folder: Path) -> None:
    import psycopg

    end = time.monotonic() + _READY_S
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
