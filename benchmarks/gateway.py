"""The gateway's cost, and what a switch costs its clients. Needs `wrk` (a Debian package).

    python -m benchmarks.gateway [cost|log[=ROUNDS]|switches|switch[=SECONDS]|memory[=REQUESTS]]...      (default: cost and switches)

`cost`: the committed reference model behind `python -m serving`, asked directly and through the gateway, and a bare server (uvicorn and
onnxruntime, no checks) the same two ways; rounds interleaved, medians. `switches`: clients that never stop asking while versions of it
are released by the local target, each with a new process.
`log`: directly, through a gateway that keeps no record, and through one that keeps every record durably, in turns, beside a bare durable
commit of SQLite on the same disk; and the CPU that each process takes for a request. `switch`: a constant 200 requests a second while 100 versions are released; lost are ids that a client
was told and the records do not have. `memory`: the gateway's resident memory after 1,000,000 requests.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.registered import register
from benchmarks.steady import Steady
from serving import routes
from serving.deploy import LocalTarget
from serving.records import Records
from serving.routes import Route
from serving.servers import answer
from serving.supervision import Program, Supervisor, free_port

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "benchmarks" / "reference_model"
ROUNDS, SECONDS = 5, 3
SWITCHES = 50
STEADY_SWITCHES, STEADY_PER_SECOND, STEADY_S = 100, 200, 510
MANY = 1_000_000
PATH = "/v2/models/reference/infer"
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 20], "data": [n / 20 for n in range(20)]}]})
LUA = f"wrk.method = 'POST'\nwrk.headers['content-type'] = 'application/json'\nwrk.body = '{BODY}'\n"


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


class Wrk:
    """One running load generator."""

    def __init__(self, script: Path, url: str, connections: int, seconds: int) -> None:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def end(self) -> Load:
        """Stop asking now."""
        self._process.send_signal(signal.SIGINT)
        return self.result()

    def result(self) -> Load:
        """Wait for it and read what it says."""
        said = self._process.communicate()[0]
        failed = [int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", said)]
        failed += [int(n) for line in re.findall(r"Socket errors: (.*)", said) for n in re.findall(r"\d+", line)]
        found = re.search(r"(\d+) requests in", said)
        p50, p99 = (_ms(re.search(rf"^ +{share}% +(\S+)$", said, re.MULTILINE)) for share in (50, 99))
        rate = re.search(r"Requests/sec:\s+(\S+)", said)
        if found is None or rate is None:
            raise SystemExit(said)
        return Load(float(rate[1]), p50, p99, int(found[1]), sum(failed))


def _ms(found: re.Match[str] | None) -> float:
    if found is None:
        return float("nan")
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", found[1]).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def start(supervisor: Supervisor, name: str, command: tuple[str, ...], url: str, path: str) -> str:
    """A supervised program, once it answers."""
    supervisor.apply(Program(name=name, command=command, cwd=ROOT))
    supervisor.wait(name, lambda: answer("GET", url + path, 1)[0] != 0)
    return url


def start_gateway(home: Path, supervisor: Supervisor) -> str:
    """The gateway of `home`."""
    port = free_port()
    command = (sys.executable, "-m", "serving.gateway", "--home", str(home), "--port", str(port))
    return start(supervisor, "gateway", command, f"http://127.0.0.1:{port}", "/v2/health/live")


def cost(home: Path, script: Path) -> None:
    """Requests directly and through the gateway, in turns."""
    supervisor, target = Supervisor(home), LocalTarget(home)
    gateway = start_gateway(home, supervisor)
    register(home, 1)
    target.release("reference", 1, expected=None, reason="to be measured")
    port = free_port()
    bare = start(
        supervisor,
        "bare",
        (sys.executable, "-m", "benchmarks.bare_server", str(MODEL), str(port)),
        f"http://127.0.0.1:{port}",
        "/",
    )
    routes.point(home, Route(workload="bare", fence=1, version="1", server="bare", url=bare), newest=1)
    time.sleep(1)  # the gateway looks twice a second
    path = "/v2/models/reference/infer"
    direct = {"model server": routes.read(home)["reference"].url + path, "bare server": bare + path}  # pyright: ignore[reportOptionalOperand]
    through = {"model server": gateway + path, "bare server": f"{gateway}/v2/models/bare/infer"}
    found: dict[tuple[str, str, int], list[Load]] = {}
    for _ in range(ROUNDS):
        for name in direct:
            for connections in (1, 16):
                for way, urls in (("directly", direct), ("through the gateway", through)):
                    load = Wrk(script, urls[name], connections, SECONDS).result()
                    found.setdefault((name, way, connections), []).append(load)
    print(f"\n### Gateway: cost ({ROUNDS} interleaved rounds of {SECONDS} s, medians)\n")
    print(
        "| server | way | connections | req/s | x direct | p50 ms | p50 added ms | p99 ms | failed |\n|---|---|---|---|---|---|---|---|---|"
    )
    for (name, way, connections), loads in found.items():
        first = found[name, "directly", connections]
        rate, p50, p99 = (median(getattr(one, field) for one in loads) for field in ("per_second", "p50_ms", "p99_ms"))
        ratio = median(a.per_second / b.per_second for a, b in zip(loads, first, strict=True))
        added = median(a.p50_ms - b.p50_ms for a, b in zip(loads, first, strict=True))
        print(
            f"| {name} | {way} | {connections} | {rate:,.0f} | {ratio:.2f} | {p50:.2f} | {added:.2f} | {p99:.2f} | {sum(one.failed for one in loads)} |"
        )
    print(f"\nThe gateway's resident memory after it: {resident_mb(supervisor):.0f} MB.")


def switches(home: Path, script: Path) -> None:
    """Releases under load."""
    supervisor, target = Supervisor(home), LocalTarget(home)
    gateway = start_gateway(home, supervisor)
    register(home, 1)
    target.release("reference", 1, expected=None, reason="the first")
    wrk = Wrk(script, f"{gateway}/v2/models/reference/infer", 8, 3600)
    took = []
    for version in range(2, SWITCHES + 2):
        register(home, version)
        began = time.monotonic()
        target.release("reference", version, expected=version - 1, reason="the next")
        took.append(time.monotonic() - began)
    load = wrk.end()
    print(f"\n### Gateway: {SWITCHES} releases, each with a new process, under 8 connections\n")
    print("| requests | failed | req/s | p50 ms | p99 ms | seconds per release (median, max) |\n|---|---|---|---|---|---|")
    spans = f"{median(took):.1f}, {max(took):.1f}"
    print(f"| {load.requests:,} | {load.failed} | {load.per_second:,.0f} | {load.p50_ms:.2f} | {load.p99_ms:.2f} | {spans} |")


def log(home: Path, script: Path, rounds: int = ROUNDS) -> None:
    """What the durable log costs."""
    supervisor, target = Supervisor(home), LocalTarget(home)
    register(home, 1)
    target.release("reference", 1, expected=None, reason="to be measured")
    route = routes.read(home)["reference"]
    bare = home.with_name("without")
    routes.point(bare, replace(route, sample=0.0), newest=route.fence)
    urls = {"directly": route.url or "", "kept": start_gateway(home, supervisor), "without the log": ""}
    port = free_port()
    command = (sys.executable, "-m", "serving.gateway", "--home", str(bare), "--port", str(port))
    urls["without the log"] = start(supervisor, "without", command, f"http://127.0.0.1:{port}", "/v2/health/live")
    for url in urls.values():
        Wrk(script, url + PATH, 4, 1).result()
    found: dict[tuple[int, str], list[Load]] = {}
    commits: list[float] = []
    used: dict[tuple[int, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        commits.append(commit_ms(home.with_name("commits.db")))
        for connections in (1, 16):
            for way, url in urls.items():
                before = cpu_us(supervisor)
                load = Wrk(script, url + PATH, connections, SECONDS).result()
                found.setdefault((connections, way), []).append(load)
                spent = {name: (us - before[name]) / load.requests for name, us in cpu_us(supervisor).items()}
                used.setdefault((connections, way), []).append(spent)
    print(f"\n### Gateway: the durable log ({rounds} interleaved rounds of {SECONDS} s, medians)\n")
    print(
        "A bare commit of SQLite (WAL, FULL) on the same disk, median of each round: "
        + ", ".join(f"{ms:.2f}" for ms in commits)
        + " ms.\n"
    )
    print(
        "| connections | way | req/s | x direct | p50 ms | p50 added ms | p50 added less a bare commit | p99 ms | p99 x direct | failed |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (connections, way), loads in found.items():
        first = found[connections, "directly"]
        rate, p50, p99 = (median(getattr(one, field) for one in loads) for field in ("per_second", "p50_ms", "p99_ms"))
        ratio = median(a.per_second / b.per_second for a, b in zip(loads, first, strict=True))
        added = median(a.p50_ms - b.p50_ms for a, b in zip(loads, first, strict=True))
        less = median(a.p50_ms - b.p50_ms - c for a, b, c in zip(loads, first, commits, strict=True))
        tail = median(a.p99_ms / b.p99_ms for a, b in zip(loads, first, strict=True))
        failed = sum(one.failed for one in loads)
        print(
            f"| {connections} | {way} | {rate:,.0f} | {ratio:.2f} | {p50:.2f} | {added:.2f} | {less:.2f} | {p99:.2f} | {tail:.1f} | {failed} |"
        )
    print("\nCPU us per request, medians:\n\n| connections | way | process: us |\n|---|---|---|")
    for (connections, way), spents in used.items():
        us = {name: median(spent[name] for spent in spents) for name in spents[0]}
        print(f"| {connections} | {way} | {', '.join(f'{name}: {value:.0f}' for name, value in us.items() if value >= 1)} |")
    print(
        f"\nThe gateway's resident memory after it: {resident_mb(supervisor):.0f} MB. The chain: {Records.at(home).verify() or 'holds'}."
    )


def commit_ms(file: Path, times: int = 200) -> float:
    """The median time of a durable commit of one row as large as a request."""
    database = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE IF NOT EXISTS rows (body BLOB)")
    took = []
    for _ in range(times):
        began = time.perf_counter()
        database.execute("INSERT INTO rows VALUES (?)", (BODY.encode(),))
        took.append(time.perf_counter() - began)
    database.close()
    return median(took) * 1000


def cpu_us(supervisor: Supervisor) -> dict[str, float]:
    """What each program took so far, its children by themselves, and all load generators that ended."""
    times = os.times()
    found = {"client": (times.children_user + times.children_system) * 1e6}
    for one in supervisor.status():
        for name, pids in ((one.name, [one.pid]), (f"{one.name}'s scribe", _children(one.pid))):
            tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))
            if pids:
                found[name] = sum(int(task.read_text().split()[0]) for task in tasks) / 1000
    return found


def _children(pid: int | None) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


def resident_mb(supervisor: Supervisor) -> float:
    """Of the gateway and of the process that writes its records, together."""
    gateway = next(one.pid for one in supervisor.status() if one.name == "gateway")
    lines = (line for pid in (gateway, *_children(gateway)) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def switch(home: Path, _: Path, seconds: int = STEADY_S) -> None:
    """Releases under a constant rate."""
    supervisor, target = Supervisor(home), LocalTarget(home)
    gateway = start_gateway(home, supervisor)
    register(home, 1)
    target.release("reference", 1, expected=None, reason="the first")
    releases = min(STEADY_SWITCHES, max(1, seconds // 5))
    with Steady(gateway + PATH, BODY.encode(), STEADY_PER_SECOND) as told:
        began = time.monotonic()
        for version in range(2, releases + 2):
            register(home, version)
            target.release("reference", version, expected=version - 1, reason="the next")
            time.sleep(max(0, began + (version - 1) * seconds / releases - time.monotonic()))
    records = Records.at(home)
    known = records.sizes(told.ids)
    took = sorted(told.seconds)
    print(f"\n### Gateway: {releases} releases under a constant {STEADY_PER_SECOND} requests/s\n")
    print(
        "| requests | failed | told and not kept | kept | versions that answered | p50 ms | p99 ms | slowest ms | the chain |\n|---|---|---|---|---|---|---|---|---|"
    )
    versions = Counter(one.version for one in records.predictions("reference"))
    p50, p99, worst = (took[int(len(took) * share)] * 1000 for share in (0.5, 0.99, 0.999999))
    lost = sum(one not in known for one in told.ids)
    print(
        f"| {told.requests:,} | {len(told.failed)} | {lost} | {versions.total():,} | {len(versions)} | {p50:.2f} | {p99:.2f} | {worst:.1f} | {records.verify() or 'holds'} |"
    )
    for what, times in Counter(told.failed).most_common(5):
        print(f"failed {times} times: {what}")


def memory(home: Path, script: Path, requests: int = MANY) -> None:
    """Resident memory after many requests."""
    supervisor, target = Supervisor(home), LocalTarget(home)
    gateway = start_gateway(home, supervisor)
    register(home, 1)
    target.release("reference", 1, expected=None, reason="to be measured")
    asked = failed = 0
    while asked < requests:
        load = Wrk(script, gateway + PATH, 16, 20).result()
        asked, failed = asked + load.requests, failed + load.failed
    print(f"\nAfter {asked:,} requests ({failed} failed): {resident_mb(supervisor):.0f} MB resident, both processes together.")


def main() -> None:
    """Each part in a home of its own; no process is left."""
    parts = {"cost": cost, "log": log, "switches": switches, "switch": switch, "memory": memory}
    for asked in sys.argv[1:] or ["cost", "switches"]:
        part, _, size = asked.partition("=")
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            script = Path(folder) / "post.lua"
            script.write_text(LUA)
            try:
                parts[part](home, script, *([int(size)] if size else []))
            finally:
                Supervisor(home).shutdown()


if __name__ == "__main__":
    main()
