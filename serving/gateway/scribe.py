"""The process that writes the records: beside the gateway's own work on one interpreter, sealing and storing took a third of its throughput.

`Scribe` stands in the gateway for the records it writes to; `python -m serving.gateway.scribe HOME` is the other end of its socket.
A scribe that dies is started anew for the next group, and what it was just doing is of unknown outcome: its requests are refused.
It ends when its gateway does, however that ended, and after what it was given: signals are not for it.
"""

from __future__ import annotations

import marshal
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from data.errors import UserError
from serving.gateway.journal import refusal
from serving.gateway.refusal import Refusal
from serving.records.label import Label, Labelled
from serving.records.prediction import Prediction
from serving.records.store import Records

_LENGTH = struct.Struct("<I")
_PREDICTION = (
    *("id", "workload", "version", "role", "at", "rows", "form", "request", "answer", "entities", "status", "latency_ms"),
)
_LABEL = ("workload", "about", "value", "actor")
_END_S = 30  # for what it was given before the end


class Scribe(Records):
    """Records that are read here and written by the other process. Writing belongs to one thread at a time."""

    def __init__(self, home: Path) -> None:
        """`home` is AIPRIME_HOME."""
        kept = Records.at(home)
        super().__init__(kept._url, kept._noted)
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Start the process; it connects while nobody waits for it."""
        self._asked("open", [])

    def append(self, predictions: Sequence[Prediction]) -> None:
        """As Records.append; Refusal where the store cannot be written, ValueError where one of them cannot be kept."""
        self._asked("append", [*map(attrgetter(*_PREDICTION), predictions)])

    def label(self, labels: Sequence[Label]) -> Labelled:
        """As Records.label."""
        new, same, corrected = self._asked("label", [*map(attrgetter(*_LABEL), labels)])
        return Labelled(new=new, same=same, corrected=corrected)

    def close(self) -> None:
        """Let it end; returns when it has."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.wait(_END_S)
            self._process = None
        super().close()

    def _asked(self, what: str, rows: list[tuple[Any, ...]]) -> Any:
        if self._socket is None:
            self._begin()
        try:
            _send(self._socket, (what, rows))
            kind, *said = _received(self._socket)
        except OSError as error:
            self._abandon()
            raise ConnectionResetError("the process that writes the records ended") from error
        if kind == "refused":
            raise Refusal(said[0], said[1], retry_after_s=said[2])
        if kind == "wrong":
            raise UserError(said[0])
        if kind == "failed":
            raise ValueError(said[0])
        return said[0]

    def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "serving.gateway.scribe", str(self._home), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._socket = ours

    def _abandon(self) -> None:
        """Never two of them: what is left of this one ends before another begins."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def serve(records: Records, line: socket.socket) -> None:
    """Write what comes until the gateway is gone."""
    while True:
        try:
            what, rows = _received(line)
            _send(line, _written(records, what, rows))
        except OSError:
            break
    records.close()


def _written(records: Records, what: str, rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    try:
        if what == "append":
            records.append([Prediction(**dict(zip(_PREDICTION, row, strict=True))) for row in rows])
            return "done", None
        if what == "label":
            done = records.label([Label(**dict(zip(_LABEL, row, strict=True))) for row in rows])
            return "done", (done.new, done.same, done.corrected)
        records.sizes([])
        return "done", None
    except Exception as error:  # noqa: BLE001  (told to the gateway, which says it to whoever waits)
        if (refused := refusal(error)) is not None:
            return "refused", refused.status, refused.what, refused.retry_after_s
        return ("wrong" if isinstance(error, UserError) else "failed"), f"{error}"


def _send(line: socket.socket | None, message: Any) -> None:
    if line is None:
        raise ConnectionResetError
    raw = marshal.dumps(message)
    line.sendall(_LENGTH.pack(len(raw)) + raw)


def _received(line: socket.socket | None) -> Any:
    if line is None:
        raise ConnectionResetError
    (length,) = _LENGTH.unpack(_exactly(line, _LENGTH.size))
    return marshal.loads(_exactly(line, length))  # noqa: S302  (our own process at the other end of a private socket)


def _exactly(line: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = line.recv(min(length, 1 << 20))
        if not part:
            raise ConnectionResetError("the other end is gone")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    serve(Records.at(Path(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])))
