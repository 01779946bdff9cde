"""Damaged data, used or refused: flips and truncations of what DVC keeps, against what plain DVC and a plain reader let through.

    python -m benchmarks.corruption [N] [--baseline M]

Takes co2's rows through the real stages up to the features, in a copy of the tree. Then N times: one file (an output in the store, or its object
in the cache) gets one flipped bit, is cut short, or has a block of zeros, with its times set back; and it is used as the next stage would. `used`
counts reads that gave something else than the original; `refused` those that raised; `made anew` those whose stage ran again. The baseline
does the same M times with `dvc checkout` and pyarrow or json.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from assets import stages
from data import revisions, versions
from data.errors import UserError
from data.places import Places
from tests.conftest import copy_tree

WORKLOAD = "co2"
STAGES = ("source", "dataset", "quality", "features")
HOWS = ("flip", "truncate", "zeros")


@dataclass
class Outcome:
    """How a campaign ended."""

    counts: Counter[str] = field(default_factory=Counter)
    used: list[str] = field(default_factory=list)
    seconds: float = 0.0


def damaged(content: bytes, how: str, rng: random.Random) -> bytes:
    """The bytes with one flipped bit, cut short, or with a block of zeros; never the same."""
    at = rng.randrange(len(content))
    if how == "truncate":
        return content[:at]
    if how == "zeros":
        wide = content[:at] + bytes(min(64, len(content) - at)) + content[at + 64 :]
        if wide != content:
            return wide
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def put(path: Path, content: bytes) -> None:
    """Write in place, with the file's mode and times as they were: a disk that rots changes neither."""
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(stat.st_mode)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def campaign(root: Path, workload: str, rounds: int, use: Callable[[str, Path], bytes | None], seed: int = 0) -> Outcome:
    """Damage and use. `use(stage, path)` gives what a reader of the output would work with; None: it was made anew; UserError: refused."""
    rng, done = random.Random(seed), Outcome()
    whole = {path: (root / path).read_bytes() for path, _ in _files(root, workload)}
    objects = {path: revisions.objects(root, md5)[0] for path, md5 in _files(root, workload) if revisions.objects(root, md5)}
    kept = {path: place.read_bytes() for path, place in objects.items()}
    stage_of = {
        path: stage
        for stage, outs in versions.outputs(root, workload).items()
        for out in outs
        for path in whole
        if path.startswith(out)
    }
    lock = (root / "dvc.lock").read_bytes()
    began = time.perf_counter()
    for number in range(rounds):
        path = rng.choice(sorted(whole))
        how, cached = HOWS[number % len(HOWS)], number % 2 == 1 and path in objects
        if cached:
            put(objects[path], damaged(kept[path], how, rng))
            (root / path).unlink()
        else:
            put(root / path, damaged(whole[path], how, rng))
        try:
            found = use(stage_of[path], root / path)
            outcome = "made anew" if found is None else "used" if found != whole[path] else "whole"
        except UserError:
            outcome = "refused"
        except Exception as error:  # noqa: BLE001  (a reader that fails by itself uses nothing either, but does not say why)
            outcome = f"failed: {type(error).__name__}"
        done.counts[f"{'cache' if cached else 'store'} {outcome}"] += 1
        if outcome == "used":
            done.used.append(f"{path} {how} {'cache' if cached else 'store'}")
        _mend(root, whole, objects, kept, lock)
    done.seconds = time.perf_counter() - began
    return done


def _files(root: Path, workload: str) -> list[tuple[str, str]]:
    """(path, md5) of every file of every output."""
    found = []
    for outs in versions.outputs(root, workload).values():
        for out, md5 in outs.items():
            if md5.endswith(".dir"):
                listing = json.loads(revisions.objects(root, md5)[0].read_bytes())
                found += [(f"{out}/{one['relpath']}", one["md5"]) for one in listing]
            else:
                found.append((out, md5))
    return found


def _mend(root: Path, whole: dict[str, bytes], objects: dict[str, Path], kept: dict[str, bytes], lock: bytes) -> None:
    for path, content in whole.items():
        file = root / path
        if not file.is_file() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_bytes(content)
    for path, place in objects.items():
        if not place.is_file() or place.read_bytes() != kept[path]:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.write_bytes(kept[path])
            place.chmod(0o444)
    if (root / "dvc.lock").read_bytes() != lock:
        (root / "dvc.lock").write_bytes(lock)


def as_we_do(root: Path, workload: str, make: Callable[[str], None]) -> Callable[[str, Path], bytes | None]:
    """What the stages, the gate and the publishing of features go through: DVC brings the stage up to date, the reader hashes.

    `make` runs a stage, where DVC finds by itself that its cache cannot give the output.
    """

    def use(stage: str, path: Path) -> bytes | None:
        ran = []
        if not path.exists():  # restored from the cache
            versions.bring_up_to_date(root, stage, workload, lambda: (ran.append(stage), make(stage))[0])
        if ran:
            return None
        return versions.read(root, workload, stage, path.relative_to(root).as_posix())

    return use


def as_dvc_does(root: Path, workload: str) -> Callable[[str, Path], bytes | None]:
    """`dvc checkout`, and a parser that knows nothing of hashes."""

    def use(stage: str, path: Path) -> bytes | None:
        if not path.exists():
            versions.checkout(root)
        content = path.read_bytes()
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            pq.read_table(io.BytesIO(content))
        else:
            json.loads(content)
        return content

    return use


def project(folder: Path) -> Places:
    """A copy of the tree in which co2's rows were brought up to their features."""
    places = Places(root=copy_tree(folder / "project"), home=folder / "home")
    places.home.mkdir()
    versions.initialise(places.root, places.home)
    for stage in STAGES:
        stages.up_to_date(stage, WORKLOAD, places)
    return places


def main(arguments: list[str]) -> int:
    """Print both."""
    rounds = int(arguments[0]) if arguments and arguments[0].isdigit() else 1000
    baseline = int(arguments[arguments.index("--baseline") + 1]) if "--baseline" in arguments else min(rounds, 200)
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stderr(io.StringIO()):
            places = project(Path(folder))
        ours = campaign(
            places.root, WORKLOAD, rounds, as_we_do(places.root, WORKLOAD, lambda stage: stages.run(stage, WORKLOAD, places))
        )
        print(
            f"ours: {rounds} flips and truncations: {len(ours.used)} used; {dict(ours.counts)}; {ours.seconds:.0f} s",
            flush=True,
        )
        plain = campaign(places.root, WORKLOAD, baseline, as_dvc_does(places.root, WORKLOAD), seed=1)
        print(f"plain: {baseline}: {len(plain.used)} used; {dict(plain.counts)}; {plain.seconds:.0f} s", flush=True)
        began = time.perf_counter()
        path = f"data/store/{WORKLOAD}/features/table.parquet"
        size = (places.root / path).stat().st_size
        for _ in range(50):
            versions.read(places.root, WORKLOAD, "features", path)
        each = (time.perf_counter() - began) / 50
        print(f"cost: reading {size / 1e6:.2f} MB with its hash takes {each * 1000:.2f} ms, {size / each / 1e6:.0f} MB/s")
    print(f"corruption, 1, {rounds}, {rounds - len(ours.used)} refused or made anew, {len(ours.used)} used, 0 unknown, -")
    return int(bool(ours.used))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
