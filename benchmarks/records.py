"""The store of predictions at size: `python -m benchmarks.records [N] [FOLDER]` (1,000,000; 10,000,000 is the goal) fills one and measures.

Each part runs in a process of its own, so that its peak memory is its own. Prints one Markdown table.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import orjson

from serving.records import Label, Prediction, Records, by_time
from training.signature import Input, Output, Signature

STEP = 864  # seconds: 1,000 entities make 100,000 predictions a day
ENTITIES = 1000
DAY = 86_400
SAMPLE = 2000  # of a window's requests, for drift
GROUP, SMALL = 512, 32  # the gateway's largest commit, and one of an ordinary load
LOOKUPS = 2000
BEGIN = 1_700_006_400
INPUTS = [f"feature_number_{n}" for n in range(40)]
SIGNATURE = Signature(
    workload="bench",
    family="tabular",
    task="forecasting",
    target="y",
    inputs=(
        Input(name="time", kind="time", tensor="x0"),
        *(Input(name=name, kind="number", tensor=f"x{n + 1}") for n, name in enumerate(INPUTS)),
    ),
    outputs=(Output(name="prediction", datatype="FP64", shape=(2,), tensor="y0"),),
    horizons=(1, 4),
    step_seconds=STEP,
    quantile_levels=(0.1, 0.5, 0.9),
    entity="station",
    time="time",
)


def key(number: int) -> str:
    """The id of the prediction with this number: in order of time, as UUIDv7 is."""
    return str(UUID(int=number << 80 | 7 << 76 | 2 << 62 | hash((number, 7)) & 0xFFFFFFFFFFFF))


def _half(names: list[str], chance: random.Random) -> bytes:
    return orjson.dumps({name: round(chance.gauss(350, 10), chance.choice([2, 4, 12])) for name in names})[1:-1]


def predictions(first: int, last: int) -> Iterator[Prediction]:
    """Predictions by number; entity after entity makes one, then time moves on. Requests of 1.5 kB, answers of 0.3 kB."""
    chance = random.Random(5)
    halves = [_half(INPUTS[:20], chance) for _ in range(499)], [_half(INPUTS[20:], chance) for _ in range(491)]
    for number in range(first, last):
        at = BEGIN + number // ENTITIES * STEP
        moment = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
        value = 350 + number % 977 / 100
        forecast = [
            {
                "horizon": h,
                "time": None,
                "prediction": value + h,
                "quantiles": {"0.1": value - 1, "0.5": value, "0.9": value + 7.25},
            }
            for h in SIGNATURE.horizons
        ]
        yield Prediction(
            id=key(number),
            workload="bench",
            version="1",
            role="champion",
            at=at + 0.25,
            rows=1,
            form="v1",
            request=b'{"instances":[{"time":"%s",%s,%s}]}'
            % (moment.encode(), halves[0][number % 499], halves[1][number % 491]),
            answer=orjson.dumps({"predictions": [{"forecast": forecast}], "model_version": "1"}),
            entities=(f"s{number % ENTITIES}",),
            status=200,
            latency_ms=1 + number % 13 / 10,
        )


def fill(home: Path, n: int) -> dict[str, float]:
    """Append them all, durably; the CPU is that of appending alone."""
    records = Records.at(home)
    cpu = wall = small = 0.0
    first = min(n, 32_768)
    at, coming = 0, predictions(0, n)
    while at < n:
        size = min(n - at, SMALL if at < first else GROUP)
        group = list(islice(coming, size))
        c, w = time.process_time(), time.perf_counter()
        records.append(group)
        c, w = time.process_time() - c, time.perf_counter() - w
        cpu, wall, small = cpu + c, wall + w, small + (c if at < first else 0)
        at += size
    records.close()
    return {"wall": wall, "cpu": cpu, "small": small / first, "bytes": records.bounds().bytes}


def read_in(home: Path, n: int) -> dict[str, float]:
    """All of them into outcomes."""
    started = time.perf_counter()
    done = Records.at(home).absorb(SIGNATURE)
    assert done == n
    return {"wall": time.perf_counter() - started, "bytes": Records.at(home).bounds().bytes}


def look_up(home: Path, n: int) -> dict[str, float]:
    """Single ids, at random, each by a connection of its own as `find` makes them, beside a writer as in a gateway."""
    records, chance, took = Records.at(home), random.Random(1), []
    writer = Records.at(home)
    writer.append(list(predictions(n, n + 1)))
    records.find(key(0))
    for _ in range(LOOKUPS):
        wanted = key(chance.randrange(n))
        started = time.perf_counter()
        found = records.find(wanted)
        took.append(time.perf_counter() - started)
        assert found[0].id == wanted
    writer.close()
    return {"p50": float(np.percentile(took, 50)) * 1000, "p99": float(np.percentile(took, 99)) * 1000}


def join(home: Path, n: int) -> dict[str, float]:
    """The labels of the last whole day, joined, and its outcomes read with their mean error."""
    records = Records.at(home)
    until = BEGIN + n // ENTITIES * STEP
    since = max(BEGIN, until - DAY)
    labels = [
        Label(workload="bench", about=by_time(at, f"s{entity}"), value=350.0 + entity % 10)
        for at in range(since, until, STEP)
        for entity in range(ENTITIES)
    ]
    started = time.perf_counter()
    records.label(labels)
    labelled = time.perf_counter()
    day = records.outcomes("bench", since=since, until=until, roles=["champion"], labelled=True)
    error = float(np.mean(np.abs(day["prediction"].to_numpy() - day["truth"].to_numpy())))
    ended = time.perf_counter()
    watermark = records.watermark("bench", since=since)
    assert error > 0
    assert watermark.time == until - STEP
    records.close()
    return {"labels": len(labels), "label": labelled - started, "join": ended - labelled, "rows": day.num_rows}


def watch(home: Path, n: int) -> dict[str, float]:
    """A monitor pass over the last whole day: its answered rows counted, a bounded sample of its requests read again, and drift judged."""
    import pandas as pd

    from assets import inputs
    from assets.spec import Spec
    from data import drift
    from data.schema import Column

    columns = [Column(name=name, kind="number") for name in INPUTS]
    chance = np.random.default_rng(0)
    known = drift.reference(pd.DataFrame({name: chance.normal(350, 10, 5000) for name in INPUTS}), columns)
    limits = drift.calibrate(
        pd.DataFrame({name: chance.normal(350, 10, 8000) for name in INPUTS}),
        columns,
        window=SAMPLE,
        false_alarms=0.01,
        rounds=20,
        sample=SAMPLE,
    )
    data = {"source": "x.csv", "target": "y", "columns": {"y": "number"}}
    spec = Spec.model_validate({"name": "bench", "family": "tabular", "task": "regression", "data": data})
    records, until = Records.at(home), BEGIN + n // ENTITIES * STEP
    newest = records.newest("bench")
    after = max(0, newest - (until - max(BEGIN, until - DAY)) // STEP * ENTITIES)
    started = time.perf_counter()
    answered = records.outcomes("bench", since=None, until=None, roles=["champion"], after=after).num_rows
    span = {"after": after, "sequence": newest, "start": float(BEGIN), "end": float(until + STEP)}
    rows = inputs.sample(records, spec, SIGNATURE, **span, most=SAMPLE, seed=0)
    drift.compare(rows, known, limits, sample=SAMPLE, seed=0)
    return {"wall": time.perf_counter() - started, "rows": len(rows), "answered": answered}


def verify(home: Path, n: int) -> dict[str, float]:
    """Both chains, with all contents."""
    started = time.perf_counter()
    assert Records.at(home).verify() is None
    return {"wall": time.perf_counter() - started}


def _child(part: Callable[[Path, int], dict[str, float]], home: Path, n: int, queue: Any) -> None:
    found = part(home, n)
    queue.put(found | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})


def apart(part: Callable[[Path, int], dict[str, float]], home: Path, n: int) -> dict[str, float]:
    """Run in a fresh process; its figures, and its peak memory in MB."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_child, args=(part, home, n, queue))
    process.start()
    found = queue.get()
    process.join()
    print(f"{part.__name__}: {found}", file=sys.stderr, flush=True)  # it takes more than an hour: each part as it ends
    return found


def main() -> None:
    """Fill, measure, print, delete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="?", default=1_000_000)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    n = given.n - given.n % ENTITIES
    home = Path(tempfile.mkdtemp(prefix="records-", dir=given.folder))
    try:
        table(home, n)
    finally:
        shutil.rmtree(home)


def table(home: Path, n: int) -> None:
    """Print the Markdown table."""
    one = next(predictions(0, 1))
    plain = len(one.request) + len(one.answer)
    filled, read = apart(fill, home, n), apart(read_in, home, n)
    found, joined, watched, verified = (apart(part, home, n) for part in (look_up, join, watch, verify))
    rows = [
        (
            f"appended in groups of {GROUP}, durably",
            f"{n / filled['wall']:,.0f} predictions/s, {filled['cpu'] / n * 1e6:.0f} us of CPU each",
            "-",
        ),
        (f"appended in groups of {SMALL}", f"{filled['small'] * 1e6:.0f} us of CPU each", "25 us"),
        (f"disk per prediction (request and answer: {plain:,} B), with indexes", f"{filled['bytes'] / n:.0f} B", "-"),
        ("disk per prediction of the derived outcomes (2 quantities)", f"{(read['bytes'] - filled['bytes']) / n:.0f} B", "-"),
        ("read into outcomes", f"{n / read['wall']:,.0f} predictions/s, peak {read['peak_mb']:.0f} MB", "-"),
        ("lookup of one id, p50 · p99", f"{found['p50']:.2f} ms · {found['p99']:.2f} ms", "5 ms"),
        (f"a day of labels kept ({joined['labels']:,})", f"{joined['label']:.1f} s", "-"),
        (f"joined, and {joined['rows']:,} outcomes read", f"{joined['join']:.1f} s", "60 s together"),
        (
            f"a monitor pass: {watched['answered']:,} outcomes counted, drift of {watched['rows']:,} of the requests",
            f"{watched['wall']:.1f} s, peak {watched['peak_mb']:.0f} MB",
            "60 s and 1,024 MB in all",
        ),
        ("peak memory of labels and join", f"{joined['peak_mb']:.0f} MB", "1,024 MB"),
        ("verified", f"{n / verified['wall']:,.0f} predictions/s, peak {verified['peak_mb']:.0f} MB", "-"),
    ]
    print(f"\n{n:,} predictions, {os.cpu_count()} cores:\n\n| what | measured | limit |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
