"""How fast the model server answers, as ratios: `python -m benchmarks.serving [--mlflow] [--mlserver PYTHON] [--seconds 2] [--rounds 5]`.

Load comes from wrk (a Debian package) at 16 connections on the same cores as the server. Servers take turns, round by round, so that a
busy machine is busy for all of them; medians are compared. Prints Markdown.
"""

from __future__ import annotations

import argparse
import http.client
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks import load, reference, rivals
from benchmarks.rivals import Rival

ROWS = 10_000
LIMITS = {
    "single row, x bare": 0.45,
    "single row, x stock KServe": 3.0,
    "single row, x mlflow models serve": 4.0,
    "single row, x MLServer": 2.0,
    "p99, x bare (at most)": 3.0,
    "10,000 rows by gRPC, x onnxruntime called directly": 0.2,
    "10,000 rows by REST binary, x stock KServe": 5.0,
    "ready after, s (at most)": 2.0,
    "memory when ready, MB (at most)": 255.0,
}


def main() -> None:
    """Measure, and print two tables."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="aiprime-benchmark-") as folder:
        columns = Path(folder) / "columns"
        reference.make(columns, columns=True)
        figures: dict[str, float] = {}
        starts = [_start_up() for _ in range(3)]
        figures["ready after, s (at most)"] = statistics.median(seconds for seconds, _ in starts)
        figures["memory when ready, MB (at most)"] = statistics.median(memory for _, memory in starts)
        others = [rivals.mlflow(Path(folder))] if options.mlflow else []
        others += [rivals.mlserver(Path(folder), options.mlserver)] if options.mlserver else []
        with rivals.running(
            [rivals.bare(reference.FOLDER), rivals.ours(reference.FOLDER), rivals.stock(reference.FOLDER), *others]
        ) as servers:
            print("## One row, 16 connections\n")
            _compare(servers, load.one_row(reference.FOLDER), options, figures)
            print("\n## 10,000 rows\n")
            _batch(servers[1], servers[2], figures)
        print("\n## One row, the same net over 20 columns (stated, no limit)\n")
        with rivals.running([rivals.bare(columns), rivals.ours(columns), rivals.stock(columns)]) as servers:
            _compare(servers, load.one_row(columns), options, {})
        if options.model:
            print(f"\n## One row, {options.model} (stated, no limit)\n")
            with rivals.running([rivals.ours(options.model)]) as servers:
                _compare(servers, load.one_row(options.model), options, {})
    print("\n## Against the limits\n\n| figure | measured | limit | |\n|---|---|---|---|")
    for name, limit in LIMITS.items():
        kept = (
            "not run" if name not in figures else "kept" if (figures[name] <= limit) == name.endswith("(at most)") else "MISSED"
        )
        print(
            f"| {name} | {figures[name]:.2f} | {limit:g} | {kept} |"
            if name in figures
            else f"| {name} | | {limit:g} | not run |"
        )


def _compare(servers: list[Rival], row: dict[str, Any], options: argparse.Namespace, figures: dict[str, float]) -> None:
    """wrk against each server in turn."""
    seen: dict[str, list[load.Seen]] = {server.name: [] for server in servers}
    for turn in range(options.rounds + 1):
        for server in servers:
            result = load.wrk(server, row, seconds=options.seconds if turn else 1)
            if turn:  # the first only warms up
                seen[server.name].append(result)
    median = {
        name: load.Seen(*(statistics.median(values) for values in zip(*results, strict=True))) for name, results in seen.items()
    }
    first = servers[0].name
    print(f"| server | req/s | x {first} | p50 ms | p99 ms | errors | memory MB |\n|---|---|---|---|---|---|---|")
    for server in servers:
        m = median[server.name]
        share = m.per_second / median[first].per_second
        print(
            f"| {server.name} | {m.per_second:,.0f} | {share:.2f} | {m.p50_ms:.2f} | {m.p99_ms:.2f} | {m.errors:.0f} | {server.memory_mb():.0f} |"
        )
    mine = median.get("AI Prime")
    for name, key in (
        ("bare", "x bare"),
        ("stock KServe", "x stock KServe"),
        ("mlflow models serve", "x mlflow models serve"),
        ("MLServer", "x MLServer"),
    ):
        if mine is not None and name in median:
            figures[f"single row, {key}"] = mine.per_second / median[name].per_second
    if mine is not None and "bare" in median:
        figures["p99, x bare (at most)"] = mine.p99_ms / median["bare"].p99_ms


def _batch(mine: Rival, stock: Rival, figures: dict[str, float]) -> None:
    """gRPC, REST binary, REST JSON and onnxruntime called directly, in turns."""
    import onnxruntime as ort

    from benchmarks.calls import grpc_call

    x = np.random.default_rng(0).normal(size=(ROWS, reference.WIDTH)).astype(np.float32)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    session = ort.InferenceSession(str(reference.FOLDER / "model.onnx"), settings)
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32"}
    head = orjson.dumps(
        {
            "id": "b",
            "parameters": {"binary_data_output": True},
            "inputs": [tensor | {"parameters": {"binary_data_size": x.nbytes}}],
        }
    )
    in_json = orjson.dumps({"id": "b", "inputs": [tensor | {"data": x.ravel()}]}, option=orjson.OPT_SERIALIZE_NUMPY)
    in_binary = head + x.tobytes()
    raw = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "onnxruntime directly": (lambda: session.run(None, {"x0": x}), 10),
        "AI Prime, gRPC raw": (grpc_call(mine.grpc_port, x), 10),
        "AI Prime, REST binary": (lambda: post(mine, in_binary, raw), 10),
        "AI Prime, REST JSON": (lambda: post(mine, in_json, {"content-type": "application/json"}), 2),
        "stock KServe, REST binary": (lambda: post(stock, in_binary, raw), 2),
        "stock KServe, REST JSON": (lambda: post(stock, in_json, {"content-type": "application/json"}), 2),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(6):
        for name, (call, repeats) in calls.items():
            for _ in range(repeats):
                started = time.perf_counter()
                call()
                if turn:
                    times[name].append(time.perf_counter() - started)
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    direct = median["onnxruntime directly"]
    print("| call | ms | rows/s | x directly |\n|---|---|---|---|")
    for name, seconds in median.items():
        print(f"| {name} | {1000 * seconds:.2f} | {ROWS / seconds:,.0f} | {direct / seconds:.3f} |")
    figures["10,000 rows by gRPC, x onnxruntime called directly"] = direct / median["AI Prime, gRPC raw"]
    figures["10,000 rows by REST binary, x stock KServe"] = (
        median["stock KServe, REST binary"] / median["AI Prime, REST binary"]
    )


def post(server: Rival, body: bytes, headers: dict[str, str]) -> bytes:
    """One request on the server's kept connection."""
    if server.connection is None:
        server.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    server.connection.request("POST", server.path, body, headers)
    response = server.connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise RuntimeError(f"{server.name}: {response.status} {content[:200]!r}")
    return content


def _start_up() -> tuple[float, float]:
    """Seconds from the start of the process to its first true readiness, and MB then. The first start of all writes bytecode."""
    started = time.perf_counter()
    with rivals.running([rivals.ours(reference.FOLDER)]) as (server,):
        return time.perf_counter() - started, server.memory_mb()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=2, help="of load per server and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mlflow", action="store_true", help="compare with `mlflow models serve` too")
    parser.add_argument(
        "--mlserver",
        type=Path,
        metavar="PYTHON",
        help="compare with MLServer: the interpreter of an environment that has mlserver and onnxruntime",
    )
    parser.add_argument("--model", type=Path, help="another exported folder to state beside, such as data/store/co2/model")
    if shutil.which("wrk") is None:
        parser.exit(2, "wrk is not installed: apt-get install wrk\n")
    return parser.parse_args()


if __name__ == "__main__":
    main()
