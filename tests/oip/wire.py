"""HTTP by hand: what is sent is sent as it is, and what comes back is told as it came: a status, a reset, silence."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 8.0


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of one request. `status` is 0 where no answer came; `reset` says that the connection broke instead."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: bool = False
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error_shaped(self) -> bool:
        """Whether the body is the protocol's error object."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return False
        return isinstance(document, dict) and isinstance(document.get("error"), str)


class Wire:
    """One server's address, and a connection that is kept from request to request while the server keeps it."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self.host, self.port = at.hostname or "127.0.0.1", at.port or 80
        self._kept: socket.socket | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Told:
        """One request on the kept connection; a connection that the server closed between two requests is replaced."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        stated = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines += [f"{name}: {value}" for name, value in (stated | (headers or {})).items()]
        text = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")
        fresh = self._kept is None
        told = self.raw(text, keep=True)
        return self.raw(text, keep=True) if told.status == 0 and not fresh else told

    def raw(self, text: bytes, *, keep: bool = False) -> Told:
        """These bytes, on a connection of their own unless `keep`."""
        connection, self._kept = (self._kept if keep else None), (None if keep else self._kept)
        began = time.perf_counter()
        reset = False
        try:
            connection = connection or socket.create_connection((self.host, self.port), timeout=PATIENCE_S)
            try:
                connection.sendall(text)
            except OSError:  # refused before all was sent: the answer may be there to be read
                reset = True
            told, again = _answer(connection, head_only=text.startswith(b"HEAD "))
        except OSError:
            if connection is not None:
                connection.close()
            return Told(status=0, reset=True, seconds=time.perf_counter() - began)
        if keep and again:
            self._kept = connection
        else:
            connection.close()
        status, headers, body = told
        return Told(status=status, headers=headers, body=body, reset=reset and not status, seconds=time.perf_counter() - began)

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()


def _answer(connection: socket.socket, *, head_only: bool) -> tuple[tuple[int, dict[str, str], bytes], bool]:
    """The first final answer, and whether the connection may be used again; status 0 where it was closed without one."""
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            part = connection.recv(65_536)
            if not part:
                return (0, {}, received), False
            received += part
        head, _, received = received.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        status = int(line.split()[1])
        if status >= 200:  # 100 Continue is not the answer
            break
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    if head_only or status in (204, 304):
        return (status, headers, b""), "close" not in headers.get("connection", "")
    if "chunked" in headers.get("transfer-encoding", ""):
        while not received.endswith(b"0\r\n\r\n"):
            part = connection.recv(65_536)
            if not part:
                break
            received += part
        return (status, headers, _joined(received)), False
    length = int(headers["content-length"]) if "content-length" in headers else None
    while length is None or len(received) < length:
        part = connection.recv(65_536)
        if not part:
            break
        received += part
    return (status, headers, received[:length]), length is not None and "close" not in headers.get("connection", "")


def _joined(chunked: bytes) -> bytes:
    body = b""
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        if not size or (count := int(size.split(b";")[0], 16)) == 0:
            break
        body, chunked = body + rest[:count], rest[count + 2 :]
    return body
