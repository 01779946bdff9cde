"""What signatures cost: `python -m benchmarks.trust [--rounds 7] [--megabytes 200]`.

Signing in a process of its own (import, the reference model, a large one); verifying; and the model server's start and memory with a released
version, beside `--unsigned` in turns. Prints Markdown.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.registered import WORKLOAD, register
from serving import manifests
from serving.clearance import Clearance
from serving.ledger import Ledger
from serving.programs import free_port
from serving.trust import keys, signature, verification
from training import signing

SIGNED = """
import sys, time
began, cpu = time.perf_counter(), time.process_time()
from pathlib import Path
from training import signing
import model_signing
loaded = time.perf_counter() - began, time.process_time() - cpu
began, cpu = time.perf_counter(), time.process_time()
signing.sign(Path(sys.argv[1]), Path(sys.argv[2]))
print(*loaded, time.perf_counter() - began, time.process_time() - cpu)
"""


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aiprime-trust-") as name:
        home = Path(name) / "home"
        folder = register(home, 1)
        large = Path(name) / "large"
        large.mkdir()
        (large / "weights.safetensors").write_bytes(os.urandom(1 << 20) * options.megabytes)
        _signing(home, {"the reference model": folder, f"{options.megabytes} MB": large}, options.rounds)
        _starting(home, options.rounds)


def _signing(home: Path, folders: dict[str, Path], rounds: int) -> None:
    key = keys.signing(home)
    print("| folder | import s (CPU s) | sign s (CPU s) | verify ms |\n|---|---|---|---|")
    for name, folder in folders.items():
        seen = []
        for _ in range(rounds):
            command = [sys.executable, "-c", SIGNED, str(folder), str(key.file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seen.append([float(one) for one in done.stdout.split()])
        loaded, loaded_cpu, signed, signed_cpu = (median(values) for values in zip(*seen, strict=True))
        signature.beside(folder).write_bytes(signing.sign(folder, key.file))
        verified = []
        for _ in range(rounds):
            began = time.perf_counter()
            verification.candidate(folder, keys.accepted(home))
            verified.append(1000 * (time.perf_counter() - began))
        print(f"| {name} | {loaded:.2f} ({loaded_cpu:.2f}) | {signed:.2f} ({signed_cpu:.2f}) | {median(verified):.1f} |")


def _starting(home: Path, rounds: int) -> None:
    clearance = Clearance(home, Ledger.at(home))
    clearance.give(WORKLOAD, "1", reason="to be measured", actor="aiprime")
    plain, told = manifests.read(manifests.file(home, WORKLOAD, "1")), clearance.manifest(WORKLOAD, "1")
    ways = {"unsigned": manifests.with_arguments(plain, ["--unsigned"]), "released": told}
    seen: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, manifest in ways.items():
            seen[way].append(_started(manifest))
    print("\n| start | ready s | CPU s | memory MB |\n|---|---|---|---|")
    for way, figures in seen.items():
        ready, cpu, memory = (median(values) for values in zip(*figures, strict=True))
        print(f"| {way} | {ready:.2f} | {cpu:.2f} | {memory:.1f} |")


def _started(manifest: dict[str, object]) -> tuple[float, float, float]:
    """Seconds until ready, the process's CPU seconds by then, and its resident megabytes (of a million bytes)."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        manifests.command(manifest, port, free_port()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _ready(port):
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise RuntimeError(f"the server ended with {process.poll()}")
            time.sleep(0.01)
        took = time.perf_counter() - began
        times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        memory = int(Path(f"/proc/{process.pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024 / 1e6
        return took, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"), memory
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", f"/v2/models/{WORKLOAD}/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
