"""A client that asks at a constant rate, whatever the answers take, and keeps what it was told: statuses, times, prediction ids."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

from serving.gateway.upstream import Upstream

_ID = b"x-aiprime-prediction-id"
_LATE_S = 30


@dataclass
class Told:
    """What came back."""

    ids: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return len(self.seconds)


class Steady:
    """`with Steady(url, body, 200) as told:` asks 200 times a second as long as the block lasts, in a thread of its own."""

    def __init__(self, url: str, body: bytes, per_second: float) -> None:
        at = urlsplit(url)
        self._line = b"POST " + at.path.encode()
        self._host, self._port = at.hostname or "127.0.0.1", at.port or 80
        self._body, self._every_s = body, 1 / per_second
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.told = Told()

    def __enter__(self) -> Told:
        self._thread.start()
        return self.told

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        server = Upstream("gateway", self._host, self._port, "")
        due, asking = time.perf_counter(), set()
        while not self._over.is_set():
            task = asyncio.create_task(self._ask(server))
            asking.add(task)
            task.add_done_callback(asking.discard)
            due += self._every_s
            await asyncio.sleep(max(0, due - time.perf_counter()))
        if asking:
            await asyncio.wait(asking)
        server.close()

    async def _ask(self, server: Upstream) -> None:
        began = time.perf_counter()
        try:
            headers = [(b"content-type", b"application/json")]
            answer = await server.request(self._line, headers, self._body, deadline_s=_LATE_S)
        except OSError as error:
            self.told.failed.append(f"{type(error).__name__}: {error}")
        else:
            if answer.status == 200:
                self.told.ids += [value.decode() for name, value in answer.headers if name.lower() == _ID]
            else:
                self.told.failed.append(f"{answer.status} {answer.body[:200]!r}")
        self.told.seconds.append(time.perf_counter() - began)
