"""The process that explains answers (`python -m training.explain`): started when somebody first asks, one question at a time.

It speaks over its standard input and output, so nobody else can reach it; it ends by itself when nothing is asked, when its memory's
bound is met, or with the process that started it. Heavy libraries stay in there: whoever asks imports none of them. A folder is named to it
only when a trusted key signed it; that its files are still those the process sees to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from serving.programs import DROPPED, ENVIRONMENT

if TYPE_CHECKING:
    from serving.why import Question

log = logging.getLogger("aiprime.explain")
WAITING = 4  # questions, the one that is being answered among them; more are turned away
DEADLINE_S = 120.0  # of one question; the first one has to wait for some seconds of imports
IDLE_S = 300.0
MEMORY_MB = 1536  # held at most; 0.6 GB are the libraries
_EXHAUSTED = 3  # the process' exit status where it was more
_LONGEST = 64 << 20  # bytes of an answer's line


class Busy(Exception):
    """Too many questions wait already."""


class Late(Exception):
    """The deadline passed; the process was ended."""


class Explainer:
    """Asks the process of one AIPRIME_HOME. For one event loop."""

    def __init__(
        self,
        home: Path,
        *,
        deadline_s: float = DEADLINE_S,
        idle_s: float = IDLE_S,
        memory_mb: int = MEMORY_MB,
        waiting: int = WAITING,
    ) -> None:
        self._home, self._deadline_s, self._idle_s, self._memory_mb, self._most = home, deadline_s, idle_s, memory_mb, waiting
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._waiting = 0

    @property
    def pid(self) -> int | None:
        """The living process; None where there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those that wait, for as long as the block lasts: what is asked in it is not turned away. Busy where none is left."""
        if self._waiting >= self._most:
            raise Busy
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def explain(self, question: Question, wanted: str | None = None) -> dict[str, Any]:
        """The explanation as plain values. UserError where it cannot be given; Late; RuntimeError where the process fails.

        Who asks has a `place`.
        """
        asked = {"do": "explain", **asdict(question), "wanted": wanted}
        return (await self._ask(asked, lambda: refuse_unsigned(self._home, question)))["explanation"]

    async def export(self, walk: Mapping[str, Any], kind: str) -> str:
        """A walk as a document of another standard ("prov-json", "prov-n", "openlineage"). Raises as `explain`; a `place` is wanted too."""
        return (await self._ask({"do": kind, "walk": walk}))["document"]

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, question: Mapping[str, Any], first: Callable[[], None] | None = None) -> dict[str, Any]:
        line = json.dumps(question, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        async with self._turn:
            if first is not None:
                await asyncio.to_thread(first)
            return _read(await self._answer(line))

    async def _answer(self, line: bytes) -> bytes:
        """The answer's line. A process that was just ending by itself is replaced once."""
        try:
            async with asyncio.timeout(self._deadline_s):
                for last in (False, True):
                    process = await self._started()
                    if (answer := await _exchanged(process, line)) is not None:
                        return answer
                    status = await process.wait()
                    if status == _EXHAUSTED:
                        raise UserError(f"the explanation needs more than {self._memory_mb:,} MB of memory")
                    if last:
                        raise RuntimeError(f"the explaining process ended ({status}); {self._log()} says why")
        except BaseException as error:
            await self.close()  # what it may still answer belongs to nobody
            if isinstance(error, TimeoutError):
                raise Late from None
            raise
        raise AssertionError("unreachable")

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._log().parent.mkdir(parents=True, exist_ok=True)
            environment = {name: value for name, value in os.environ.items() if name not in DROPPED} | ENVIRONMENT
            limits = ("--idle_seconds", str(self._idle_s), "--memory_mb", str(self._memory_mb))
            with self._log().open("wb") as stream:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "training.explain", *limits),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=stream,
                    env=environment
                    | {
                        "AIPRIME_HOME": str(self._home),
                        "OMP_NUM_THREADS": "1",
                        "OPENBLAS_NUM_THREADS": "1",
                        "MALLOC_ARENA_MAX": "2",
                    },
                    limit=_LONGEST,
                )
        return self._process

    def _log(self) -> Path:
        return self._home / "logs" / "explain.log"


def refuse_unsigned(home: Path, question: Question) -> None:
    """UserError where no trusted key signed the folder as what `digest` names. Nothing of it is parsed."""
    from serving.trust import keys, verification

    folder = Path(question.folder)
    if not folder.is_dir():
        raise UserError("the model's files are gone", where=str(folder), next_step="aiprime gc deletes those of old versions")
    if verification.candidate(folder, keys.found(home)).digest != question.digest:
        raise UserError("the model's files are not the ones that answered: they were changed since", where=str(folder))


async def _exchanged(process: asyncio.subprocess.Process, line: bytes) -> bytes | None:
    """The answer to a line; None where the process ended before it answered."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process was started without pipes")
    try:
        process.stdin.write(line)
        await process.stdin.drain()
        answer = await process.stdout.readline()
    except (BrokenPipeError, ConnectionResetError):
        return None
    return answer if answer.endswith(b"\n") else None


def _read(answer: bytes) -> dict[str, Any]:
    found = json.loads(answer)
    if "error" in found:
        raise UserError(found["error"], next_step=found.get("next", ""))
    if "failed" in found:
        raise RuntimeError(found["failed"])
    return found
