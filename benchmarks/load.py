"""wrk as the load, and the requests that it sends."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from training.signature import Input, Signature

if TYPE_CHECKING:
    from benchmarks.rivals import Rival

CONNECTIONS = 16
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("%s", "rb")
wrk.body = file:read("*a")
file:close()
function done(summary, latency, requests)
  local e = summary.errors
  local wrong = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("seen %%.3f %%.6f %%.6f %%d\\n", summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, wrong))
end
"""


class Seen(NamedTuple):
    """What one turn of load saw."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: float


def wrk(server: Rival, row: dict[str, Any], seconds: int) -> Seen:
    """Load one server with one row, over and over."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder) / "body", Path(folder) / "post.lua"
        body.write_bytes(server.body(row))
        script.write_text(SCRIPT % body)
        command = [
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds}s",
            "--latency",
            "-s",
            str(script),
            f"http://127.0.0.1:{server.port}{server.path}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("seen "))
    return Seen(*(float(number) for number in line.split()[1:]))


def one_row(folder: Path) -> dict[str, Any]:
    """A v2 request with one row of plain values for an exported folder."""
    values = {"number": 0.37, "integer": 3, "boolean": True, "category": "a", "time": "1989-06-03T00:00:00Z"}

    def value(column: Input, i: int) -> Any:
        found = values[column.kind]
        if column.kind == "number":
            return found + i / 10
        return float(found) if column.datatype == "FP64" else found

    inputs = []
    for i, column in enumerate(Signature.read(folder).inputs):
        size = 1
        for length in column.shape:
            size *= length
        data = [round(0.37 + j / 10, 3) for j in range(size)] if column.shape else [value(column, i)]
        inputs.append({"name": column.name, "shape": [1, *column.shape], "datatype": column.datatype, "data": data})
    return {"id": "one", "inputs": inputs}


def v2(row: dict[str, Any]) -> bytes:
    """The request as the v2 protocol has it."""
    return orjson.dumps(row)
