"""The process that writes the records, and the gateway's line to it.

Beside the gateway's own work on one interpreter, sealing and storing cost a third of its throughput, and a thread's hand-over two
more waits for each commit. The process is alone with what it is given, in order, and answers in order. One that dies is started anew for
what comes next; what it was doing is of unknown outcome, so its requests are refused. It ends when its gateway does, however that ended,
and after what it was given: signals are not for it.
"""

from __future__ import annotations

import asyncio
import marshal
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from itertools import starmap
from operator import attrgetter
from pathlib import Path
from typing import Any

from data.errors import UserError
from serving.gateway.refusal import Refusal, of_store
from serving.records.label import Label, Labelled
from serving.records.prediction import Prediction
from serving.records.store import Records

_LENGTH = struct.Struct("<I")
_LABEL = ("workload", "about", "value", "actor")
_of_label = attrgetter(*_LABEL)
_END_S = 30  # for what it was given before the end


class Scribe:
    """Writes the records of one AIPRIME_HOME. Belongs to one event loop."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._line: _Line | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._beginning = asyncio.Lock()

    async def open(self) -> None:
        """Start the process, and have it connect before anybody waits for that; what is wrong with it the first append will say."""
        line = await self._connected()
        line.ask("open", [])

    async def append(self, predictions: Sequence[Prediction]) -> None:
        """As Records.append. Refusal where the store cannot be written, ValueError where one of them cannot be kept, OSError where
        the process ended."""
        line = self._line if self._line is not None and not self._line.lost else await self._connected()
        await line.ask("append", [*map(tuple, predictions)])

    async def label(self, labels: Sequence[Label]) -> Labelled:
        """As Records.label; the errors of `append`, and UserError."""
        line = await self._connected()
        new, same, corrected = await line.ask("label", [*map(_of_label, labels)])
        return Labelled(new=new, same=same, corrected=corrected)

    async def close(self) -> None:
        """Let it end; returns when it has."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait, _END_S)
        self._line = self._process = None

    async def _connected(self) -> _Line:
        async with self._beginning:
            if self._line is None or self._line.lost:
                await self._begin()
            assert self._line is not None  # noqa: S101
            return self._line

    async def _begin(self) -> None:
        if self._process is not None:  # never two of them
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "serving.gateway.scribe", str(self._home), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        _, self._line = await asyncio.get_running_loop().create_unix_connection(_Line, sock=ours)


class _Line(asyncio.Protocol):
    """Questions and their answers, in order."""

    def __init__(self) -> None:
        self.lost = False
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._transport: Any = None
        self._come = b""

    def ask(self, what: str, rows: list[tuple[Any, ...]]) -> asyncio.Future[Any]:
        raw = marshal.dumps((what, rows))
        self._transport.write(_LENGTH.pack(len(raw)) + raw)
        answer = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        return answer

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._come += data
        while len(self._come) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._come)[0]
            if len(self._come) < end:
                return
            kind, *said = marshal.loads(self._come[_LENGTH.size : end])  # noqa: S302  (a process of our own, on a private socket)
            self._come = self._come[end:]
            _settle(self._asked.popleft(), kind, said)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(ConnectionResetError("the process that writes the records ended"))
                answer.exception()  # "open" has nobody who waits
        self._asked.clear()


def _settle(answer: asyncio.Future[Any], kind: str, said: list[Any]) -> None:
    if answer.done():
        return
    if kind == "done":
        answer.set_result(said[0])
        return
    errors = {"refused": lambda: Refusal(said[0], said[1], retry_after_s=said[2]), "wrong": lambda: UserError(said[0])}
    answer.set_exception(errors.get(kind, lambda: ValueError(said[0]))())
    answer.exception()


# -- the process


def serve(records: Records, line: socket.socket) -> None:
    """Write what comes until the gateway is gone."""
    while True:
        try:
            (length,) = _LENGTH.unpack(_exactly(line, _LENGTH.size))
            what, rows = marshal.loads(_exactly(line, length))  # noqa: S302  (our own gateway, on a private socket)
            raw = marshal.dumps(_written(records, what, rows))
            line.sendall(_LENGTH.pack(len(raw)) + raw)
        except OSError:
            break
    records.close()


def _written(records: Records, what: str, rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    try:
        if what == "append":
            records.append([*starmap(Prediction, rows)])
            return "done", None
        if what == "label":
            done = records.label([Label(**dict(zip(_LABEL, row, strict=True))) for row in rows])
            return "done", (done.new, done.same, done.corrected)
        records.sizes([])
        return "done", None
    except Exception as error:  # noqa: BLE001  (told to the gateway, which says it to whoever waits)
        if (refused := of_store(error)) is not None:
            return "refused", refused.status, refused.what, refused.retry_after_s
        return ("wrong" if isinstance(error, UserError) else "failed"), f"{error}"


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
