"""What malformed requests do to a server: `python -m benchmarks.malformed [--requests 2000] [--seed 0] [--no-stock]`.

The corpus of tests/oip, schemathesis on the protocol's document and hypothesis on tensors, sent to the model server, through the gateway,
and to KServe as it comes. Each answer is judged by an oracle of its own. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import reference, rivals
from serving import routes
from serving.programs import free_port
from serving.routes import Route
from tests.oip import corpus, fuzz
from tests.oip.target import Target

KINDS = ("5xx", "accepted", "refused", "reset", "silence", "shape", "status")


class Row(NamedTuple):
    """What was found of one server."""

    sent: int
    answered: int
    found: Counter[str]
    slowest_s: float
    examples: list[str]


def campaign(target: Target, requests: int, seed: int) -> Row:
    """Send it all; the corpus last, for it unloads the model where it may."""
    cases = [case for case in corpus.cases() if case.applies(target)]
    made = fuzz.from_schema(target, max(10, (requests - len(cases)) // 3), seed)
    made += fuzz.from_tensors(target, max(0, requests - len(cases) - len(made)), seed)
    found: Counter[str] = Counter()
    examples: list[str] = []
    slowest = 0.0
    answered = 0
    for one in made:
        told = fuzz.send(one, target)
        slowest, answered = max(slowest, told.seconds), answered + (told.status == 200)
        if what := fuzz.verdict(one, told, target):
            found[what] += 1
            examples.append(f"{what}: {one.path} {(one.body or b'')[:120]!r} -> {told.status} {told.body[:80]!r}")
    for case in cases:
        told = case.send(target)
        slowest = max(slowest, told.seconds)
        if what := judged(case, told):
            found[what] += 1
            examples.append(f"{what}: {case.name} -> {told.status} {told.body[:80]!r}")
    return Row(len(made) + len(cases), answered, found, slowest, examples)


def judged(case: corpus.Case, told: corpus.Told) -> str:
    """What is wrong with the answer to a case of the corpus."""
    if told.status == 0:
        return "reset" if told.reset else "silence"
    if told.status >= 500:
        return "5xx"
    if told.status < 400:
        return "accepted"
    return "status" if not case.kept(told) else "" if told.error_shaped else "shape"


@contextmanager
def gateway(url: str, home: Path, workload: str, model: Path) -> Iterator[Target]:
    """A gateway in front of a running server."""
    routes.point(home, Route(workload=workload, fence=1, version="1", server="one", url=url, model=str(model)), newest=1)
    port = free_port()
    command = [sys.executable, "-m", "serving.gateway", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    target = Target(url=f"http://127.0.0.1:{port}", model=workload)
    try:
        end = time.monotonic() + 60
        while target.wire.ask("GET", "/v2/health/live").status != 200:
            if time.monotonic() > end:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.05)
        yield target
    finally:
        target.wire.close()
        process.terminate()
        process.wait(20)


def main() -> None:
    """Run the campaigns, print a table and what went wrong."""
    options = _options()
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory(prefix="aiprime-malformed-") as folder:
        servers = [rivals.ours(reference.FOLDER)] + ([] if options.no_stock else [rivals.stock(reference.FOLDER)])
        with rivals.running(servers) as (ours, *stock):
            direct = Target(url=f"http://127.0.0.1:{ours.port}", model="reference")
            rows["AI Prime, model server"] = campaign(direct, options.requests, options.seed)
            with gateway(direct.url, Path(folder), "reference", reference.FOLDER) as through:
                rows["AI Prime, through the gateway"] = campaign(through, options.requests, options.seed)
            for one in stock:
                told = Target(url=f"http://127.0.0.1:{one.port}", model="reference", told=direct.metadata)
                rows["KServe as it comes"] = campaign(told, options.requests, options.seed)
    print(f"## {options.requests} malformed requests, seed {options.seed}\n")
    print(
        "| server | sent | valid, answered | 5xx | wrongly accepted | wrongly refused | reset | no answer | not the error's shape | another 4xx than stated | slowest s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(
            f"| {name} | {row.sent:,} | {row.answered:,} | "
            + " | ".join(str(row.found[kind]) for kind in KINDS)
            + f" | {row.slowest_s:.2f} |"
        )
    for name, row in rows.items():
        if "AI Prime" in name:
            print("".join(f"\n{name}: {example}" for example in row.examples[:20]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000, help="to each server, the corpus among them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-stock", action="store_true", help="leave KServe as it comes out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
