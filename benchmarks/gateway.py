"""The gateway's cost, and what a switch costs its clients. Needs `wrk` (a Debian package).

    python -m benchmarks.gateway [cost|switches]...      (default: both)

`cost`: the committed reference model behind `python -m serving`, asked directly and through the gateway, and a bare server (uvicorn and
onnxruntime, no checks) the same two ways; rounds interleaved, medians. `switches`: clients that never stop asking while versions of it
are released by the local target, each with a new process.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from data.files import tree_digest, write_atomically
from serving import manifests, routes
from serving.deploy import LocalTarget
from serving.routes import Route
from serving.servers import answer
from serving.supervision import Program, Supervisor, free_port

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "benchmarks" / "reference_model"
ROUNDS, SECONDS = 5, 3
SWITCHES = 50
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


def register(home: Path, version: int) -> None:
    """One more version of the reference model."""
    manifest = manifests.render("reference", version, MODEL, tree_digest(MODEL), manifests.ServeSection())
    write_atomically(manifests.file(home, "reference", version), manifests.text(manifest))


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
    pid = next(one.pid for one in supervisor.status() if one.name == "gateway")
    resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    print(f"\nThe gateway's resident memory after it: {int(resident.split()[1]) / 1024:.0f} MB.")


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


def main() -> None:
    """Each part in a home of its own; no process is left."""
    for part in sys.argv[1:] or ["cost", "switches"]:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            script = Path(folder) / "post.lua"
            script.write_text(LUA)
            try:
                {"cost": cost, "switches": switches}[part](home, script)
            finally:
                Supervisor(home).shutdown()


if __name__ == "__main__":
    main()
