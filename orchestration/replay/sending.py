"""Requests and labels to the gateway over a few connections that are kept, as clients would send them. Knows no workload."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from data.errors import UserError

CONNECTIONS = 4
_JSON = {"content-type": "application/json"}
_LABELS = 1000  # of one upload
_TRIES = 60  # of one request, while the model is asked for more than it can do


class Client:
    """One gateway. Close it, or use it in a `with` block."""

    def __init__(self, url: str, connections: int = CONNECTIONS) -> None:
        self._at = urlsplit(url)
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="replay")
        self._own = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        for connection in self._opened:
            connection.close()

    def predict(self, workload: str, instances: Sequence[dict[str, Any]]) -> int:
        """Send each instance as a request of its own, in about their order; how many were answered. UserError at a refusal."""
        path = f"/v1/models/{workload}:predict"
        bodies = (json.dumps({"instances": [one]}, ensure_ascii=False).encode() for one in instances)
        return sum(1 for _ in self._pool.map(lambda body: self._post(path, body), bodies))

    def label(self, workload: str, labels: Sequence[dict[str, Any]]) -> int:
        """Upload truths, in parts; how many were sent. The gateway takes each once."""
        for start in range(0, len(labels), _LABELS):
            body = json.dumps({"workload": workload, "labels": labels[start : start + _LABELS]}, ensure_ascii=False).encode()
            self._post("/v1/labels", body)
        return len(labels)

    def _post(self, path: str, body: bytes) -> bytes:
        status, content, again_s = self._answered(path, body)
        for _ in range(_TRIES):
            if status != HTTPStatus.TOO_MANY_REQUESTS:
                break
            time.sleep(again_s)  # a slow model: fewer at a time
            status, content, again_s = self._answered(path, body)
        if status != 200:
            said = content.decode(errors="replace")
            with suppress(ValueError, LookupError, TypeError):
                said = str(json.loads(content)["error"])
            raise UserError(f"the gateway refused ({status}): {said[:500]}", where=self._at.geturl() + path)
        return content

    def _answered(self, path: str, body: bytes) -> tuple[int, bytes, float]:
        try:
            return self._once(path, body)
        except (OSError, http.client.HTTPException):  # a kept connection that was closed: once more
            self._connection().close()
        try:
            return self._once(path, body)
        except (OSError, http.client.HTTPException) as error:
            step = "aiprime up"
            raise UserError(f"the gateway does not answer: {error}", where=self._at.geturl(), next_step=step) from error

    def _once(self, path: str, body: bytes) -> tuple[int, bytes, float]:
        """Status, body, and how long to wait before asking again."""
        connection = self._connection()
        connection.request("POST", path, body, _JSON)
        answer = connection.getresponse()
        return answer.status, answer.read(), float(answer.headers.get("Retry-After", 0))

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection(self._at.hostname or "", self._at.port, timeout=60)
            self._opened.append(self._own.connection)
        return self._own.connection
