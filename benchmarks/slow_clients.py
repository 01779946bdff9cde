"""Slow clients: `python -m benchmarks.slow_clients [--connections 500] [--seconds 14]`.

Hundreds of connections that say nothing, trickle their headers or their bodies, or ask and never read: each must be closed within ten
seconds, while a client that behaves is answered as ever. The model server, and the gateway before it. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

from benchmarks import reference, rivals
from benchmarks.malformed import gateway
from benchmarks.open_loop import Load, One, percentile
from benchmarks.rivals import Rival

PER_SECOND = 50  # the fast client's requests
LIMITS = {"the last closed after s": 10.0, "fast p99 x before": 2.0}
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
NAMED = b"POST /v2/models/reference/infer HTTP/1.1\r\nHost: a\r\n"
ROWS = 20_000
_HEAD = b'{"inputs":[{"name":"x","shape":[%d,20],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}' % (ROWS, ROWS * 80)
_LENGTHS = b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (len(_HEAD), len(_HEAD) + ROWS * 80)
MANY = NAMED + _LENGTHS + _HEAD + bytes(ROWS * 80)  # its answer is half a megabyte
READERS = 50  # as many of the connections, one in so many
OPENING_S = 3.0  # over which the slow clients come


async def silent(streams: Streams) -> None:
    """Say nothing."""


async def headers(streams: Streams) -> None:
    """A header line that never ends, a byte per second."""
    await _trickled(streams, NAMED + b"X: ")


async def body(streams: Streams) -> None:
    """A body of a megabyte, a byte per second."""
    await _trickled(streams, NAMED + b"Content-Length: 1000000\r\n\r\n")


async def chunks(streams: Streams) -> None:
    """Chunks of one byte, one per second, without end."""
    await _trickled(streams, NAMED + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n")


async def reader(streams: Streams) -> None:
    """Ask for more than the sockets hold, and read none of it."""
    streams[1].write(MANY)


KINDS: tuple[Callable[[Streams], Awaitable[None]], ...] = (silent, headers, body, chunks)


async def _trickled(streams: Streams, start: bytes, unit: bytes = b"a") -> None:
    streams[1].write(start)
    while not streams[1].is_closing():
        await asyncio.sleep(1)
        streams[1].write(unit)


class Found(NamedTuple):
    """Seconds until a connection of each kind was closed, NaN where it was not; milliseconds of the fast client."""

    closed: dict[str, list[float]]
    before_p99: float
    during_p99: float
    failed: int
    grew_mb: float


async def measure(server: Rival, url: str, connections: int, seconds: float) -> Found:
    """The fast client alone, then beside the slow ones."""
    fast = Load(url, server.path, server.body(server.row))
    await fast.at_rate(PER_SECOND, 1)
    before = await fast.at_rate(PER_SECOND, seconds / 2)
    memory = server.memory_mb()
    closed, during = await beside(fast, url, connections, seconds)
    grew = server.memory_mb() - memory
    fast.close()
    took = [[one.seconds * 1000 for one in found if one.status == 200] for found in (before, during)]
    failed = sum(one.status != 200 for one in during)
    return Found(closed, percentile(took[0], 0.99), percentile(took[1], 0.99), failed, grew)


async def beside(fast: Load, url: str, connections: int, seconds: float) -> tuple[dict[str, list[float]], list[One]]:
    """The fast client beside the slow ones, which a process of their own is: by kind, when each was closed; and the fast answers."""
    command = [sys.executable, "-m", "benchmarks.slow_clients", "--only", url, "--connections", str(connections)]
    process = await asyncio.create_subprocess_exec(*command, "--seconds", str(seconds), stdout=asyncio.subprocess.PIPE)
    during = await fast.at_rate(PER_SECOND, seconds + OPENING_S)
    return json.loads((await process.communicate())[0]), during


async def slow(url: str, connections: int, seconds: float) -> dict[str, list[float]]:
    """The slow clients, coming one by one: by kind, when each was closed."""
    kinds = [reader if n % READERS == 0 else KINDS[n % len(KINDS)] for n in range(connections)]
    tasks = []
    for kind in kinds:
        tasks.append(asyncio.create_task(_slow(url, kind, seconds)))
        await asyncio.sleep(OPENING_S / connections)
    closed: dict[str, list[float]] = {kind.__name__: [] for kind in (*KINDS, reader)}
    for kind, took in zip(kinds, await asyncio.gather(*tasks), strict=True):
        closed[kind.__name__].append(took)
    return closed


async def _slow(url: str, kind: Callable[[Streams], Awaitable[None]], seconds: float) -> float:
    """When the server closed it; NaN where it did not."""
    at = urlsplit(url)
    raw = socket.socket()
    if kind is reader:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (at.hostname, at.port))
    streams = await asyncio.open_connection(sock=raw, limit=1024)
    began = time.perf_counter()
    doing = asyncio.ensure_future(kind(streams))
    try:
        async with asyncio.timeout(seconds):
            while not (_is_down(raw) if kind is reader else await _is_over(streams)):
                await asyncio.sleep(0.05)
        return time.perf_counter() - began
    except TimeoutError:
        return float("nan")
    finally:
        doing.cancel()
        streams[1].transport.abort()


async def _is_over(streams: Streams) -> bool:
    """Whether the server ended it: an end of what can be read, or a reset."""
    try:
        return not await streams[0].read(65_536)
    except OSError:
        return True


def _is_down(raw: socket.socket) -> bool:
    """The same without reading: the kernel's state of the connection (1 is established)."""
    return raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1


def run(options: argparse.Namespace) -> dict[str, Found]:
    """Both servers."""
    with (
        tempfile.TemporaryDirectory(prefix="aiprime-slow-") as folder,
        rivals.running([rivals.ours(reference.FOLDER)]) as (server,),
    ):
        url = f"http://127.0.0.1:{server.port}"
        found = {"model server": uvloop.run(measure(server, url, options.connections, options.seconds))}
        with gateway(url, Path(folder), "reference", reference.FOLDER) as through:
            found["gateway"] = uvloop.run(measure(server, through.url, options.connections, options.seconds))
    return found


def main() -> None:
    """Measure, print a table."""
    options = _options()
    if options.only:
        print(json.dumps(uvloop.run(slow(options.only, options.connections, options.seconds))))
        return
    found = run(options)
    print(f"## {options.connections} slow connections, {PER_SECOND} requests/s beside them\n")
    kinds = " | ".join(f"{kind.__name__}: closed, last after s" for kind in (*KINDS, reader))
    print(f"| server | {kinds} | fast p99 ms before | during | x | failed | memory grew MB |")
    print("|---|" + "---|" * (len(KINDS) + 6))
    for name, one in found.items():
        ended = {kind: [took for took in all_ if took == took] for kind, all_ in one.closed.items()}
        cells = " | ".join(
            f"{len(ended[kind])} of {len(all_)}, {max(ended[kind], default=float('nan')):.1f}"
            for kind, all_ in one.closed.items()
        )
        ratio = one.during_p99 / one.before_p99
        print(
            f"| {name} | {cells} | {one.before_p99:.1f} | {one.during_p99:.1f} | {ratio:.2f} | {one.failed} | {one.grew_mb:.1f} |"
        )
    print(f"\nLimits: {', '.join(f'{name} <= {limit:g}' for name, limit in LIMITS.items())}.")


def _options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=14)
    parser.add_argument("--only", metavar="URL", help="be the slow clients of this server, and tell when each was closed")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
