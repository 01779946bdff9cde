"""Ten times what a model can do: `python -m benchmarks.overload [--seconds 10] [--predict 0.02] [--times 10]`.

A model with a fixed time, asked at a constant rate: who is refused must know it within 50 ms, who is accepted must not notice, and the
memory must not grow. The model server alone, and through the gateway. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks import reference, rivals
from benchmarks.malformed import gateway
from benchmarks.open_loop import Load, One, percentile
from benchmarks.rivals import Rival

LIMITS = {"refused p99 ms": 50.0, "accepted p99 x unloaded": 2.0, "memory grew MB": 50.0}


class Found(NamedTuple):
    """One way's figures; milliseconds and MB."""

    capacity: float
    asked: int
    statuses: Counter[int]
    unloaded_p99: float
    accepted_p99: float
    refused_p99: float
    refused_worst: float
    told: set[str]
    grew: float


def measure(server: Rival, url: str, options: argparse.Namespace) -> Found:
    """Unloaded for a while, then the overload."""
    capacity = len(os.sched_getaffinity(0)) / options.predict
    return uvloop.run(_measured(server, url, options, capacity))


async def _measured(server: Rival, url: str, options: argparse.Namespace, capacity: float) -> Found:
    asking = Load(url, server.path, server.body(server.row))
    await asking.at_rate(capacity * options.times, 1)  # warms everything up: connections, allocator
    alone = await asking.in_turn(options.seconds / 2)
    before, peak = server.memory_mb(), 0.0

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, server.memory_mb())
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    found = await asking.at_rate(capacity * options.times, options.seconds)
    watching.cancel()
    asking.close()
    refused = _ms(found, 429)
    return Found(
        capacity=capacity,
        asked=len(found),
        statuses=Counter(one.status for one in found),
        unloaded_p99=percentile(_ms(alone, 200), 0.99),
        accepted_p99=percentile(_ms(found, 200), 0.99),
        refused_p99=percentile(refused, 0.99),
        refused_worst=max(refused, default=float("nan")),
        told={one.again for one in found if one.status == 429},
        grew=peak - before,
    )


def _ms(found: list[One], status: int) -> list[float]:
    return [one.seconds * 1000 for one in found if one.status == status]


def slow_model(predict: float) -> Rival:
    """Our server with a model of a fixed time."""
    rival = rivals.ours(reference.FOLDER)
    at = rival.command.index("serving")
    rival.command[at : at + 1] = ["benchmarks.fixed_model", str(predict)]
    return rival


def run(options: argparse.Namespace) -> dict[str, Found]:
    """Both ways."""
    with (
        tempfile.TemporaryDirectory(prefix="aiprime-overload-") as folder,
        rivals.running([slow_model(options.predict)]) as (server,),
    ):
        url = f"http://127.0.0.1:{server.port}"
        found = {"model server": measure(server, url, options)}
        with gateway(url, Path(folder), "reference", reference.FOLDER) as through:
            found["through the gateway"] = measure(server, through.url, options)
    return found


def main() -> None:
    """Measure, print a table."""
    options = _options()
    found = run(options)
    print(f"## {options.times:g} times what a model of {options.predict * 1000:g} ms can do, {options.seconds:g} s\n")
    print(
        "| way | asked/s | asked | 200 | 429 | other | unloaded p99 ms | accepted p99 ms | x unloaded | refused p99 ms | worst | Retry-After | memory grew MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for way, one in found.items():
        other = one.asked - one.statuses[200] - one.statuses[429]
        print(
            f"| {way} | {one.capacity * options.times:,.0f} | {one.asked:,} | {one.statuses[200]:,} | {one.statuses[429]:,} | {other} "
            f"| {one.unloaded_p99:.1f} | {one.accepted_p99:.1f} | {one.accepted_p99 / one.unloaded_p99:.2f} | {one.refused_p99:.1f} "
            f"| {one.refused_worst:.1f} | {', '.join(sorted(one.told))} | {one.grew:.1f} |"
        )
    print(f"\nLimits: {', '.join(f'{name} <= {limit:g}' for name, limit in LIMITS.items())}.")


def _options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--predict", type=float, default=0.020, metavar="SECONDS", help="of one prediction")
    parser.add_argument("--times", type=float, default=10, help="the capacity")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
