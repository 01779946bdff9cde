"""`python -m tests.faults.every_write FOLDER WHAT [--every]`: one durable act, its k-th write failing, for every k (or every fifth); says what came of it.

Each time the state afterwards is what it was or what was asked for, never between; what was acknowledged is there; and the same act
again, with a healthy disk, ends as if nothing had been. Belongs into a process that has the library of preloading.py.
"""

from __future__ import annotations

import errno
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from data.files import tree_digest, write_atomically
from serving import routes
from serving.ledger import Ledger
from serving.records import Label, Records, by_id
from tests.faults.preloading import trying
from tests.serving.records.samples import prediction


@dataclass(frozen=True)
class Act:
    """`state` is read afresh; `do` is what is acknowledged when it returns."""

    prepare: Callable[[Path], None]
    do: Callable[[Path], None]
    state: Callable[[Path], object]


def _file() -> Act:
    def state(home: Path) -> object:
        assert [one.name for one in home.iterdir()] == ["x.json"], "something was left beside it"
        return (home / "x.json").read_text()

    return Act(
        lambda home: write_atomically(home / "x.json", "before"),
        lambda home: write_atomically(home / "x.json", "after" * 9999),
        state,
    )


def _ledger() -> Act:
    def prepare(home: Path) -> None:
        for number in range(3):
            Ledger.at(home).record("registered", "co2", number, key=f"{number}")

    def state(home: Path) -> object:
        ledger = Ledger.at(home)
        assert ledger.verify() is None
        return [one.key for one in ledger.history()]

    return Act(prepare, _recorded, state)


def _recorded(home: Path) -> None:
    Ledger.at(home).record("registered", "co2", 3, {"much": "x" * 9000}, key="3")


def _records() -> Act:
    one = prediction(id=str(uuid4()))

    def keep(home: Path, wanted: object) -> None:
        records = Records.at(home)
        try:
            if wanted is None:
                records.append([prediction(id=str(uuid4())) for _ in range(5)])
            elif not records.sizes([one.id]):
                records.append([one])
        finally:
            records.close()

    def state(home: Path) -> object:
        assert Records.at(home).verify() is None
        return (one.id in Records.at(home).sizes([one.id]), Records.at(home).newest("co2"))

    return Act(lambda home: keep(home, None), lambda home: keep(home, one), state)


def _label() -> Act:
    one = prediction(id=str(uuid4()))

    def label(home: Path) -> None:
        records = Records.at(home)
        try:
            records.label([Label(workload="co2", about=by_id(one.id), value=1)])
        finally:
            records.close()

    def prepare(home: Path) -> None:
        records = Records.at(home)
        records.append([one])
        records.close()

    def state(home: Path) -> object:
        assert Records.at(home).verify() is None
        return [found.value for found in Records.at(home).labels_of(one.id)]

    return Act(prepare, label, state)


def _pointer() -> Act:
    def point(number: int) -> Callable[[Path], None]:
        return lambda home: _is(routes.point(home, routes.Route(workload="co2", fence=number, version=str(number)), number))

    return Act(point(1), point(2), lambda home: routes.read(home)["co2"].version)


def _version() -> Act:
    from assets import registration

    def prepare(home: Path) -> None:
        for name in ("model.json", "model.onnx", "more/weights.safetensors"):
            (home / "from" / name).parent.mkdir(parents=True, exist_ok=True)
            (home / "from" / name).write_bytes(name.encode() * 20_000)

    def copy(home: Path) -> None:
        registration._copy(home / "from", home / "models" / "co2" / "1", tree_digest(home / "from"))

    def state(home: Path) -> object:
        made = home / "models" / "co2" / "1"
        assert not made.exists() or tree_digest(made) == tree_digest(home / "from")
        return made.exists()

    return Act(prepare, copy, state)


def _is(right: bool) -> None:
    assert right


ACTS = {
    "a file": _file,
    "a decision": _ledger,
    "a prediction": _records,
    "a label": _label,
    "a pointer": _pointer,
    "a version": _version,
}


def main(folder: Path, what: str, ways: Iterable[tuple[int, bool]], step: int) -> dict[str, int]:
    """Fail each `step`-th write in each way: with an errno, once or with all that follow it."""
    act = ACTS[what]()
    whole, home = folder / "whole", folder / "home"
    whole.mkdir(parents=True)
    act.prepare(whole)
    injections = acknowledged = unknown = 0
    for number, ever in ways:
        for k in itertools.count(1, step):
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(whole, home)
            before = act.state(home)
            tried = trying(home, k, number, ever=ever, call=lambda: act.do(home))
            found = act.state(home)
            act.do(home)
            after = act.state(home)
            assert before != after
            assert found in (before, after), f"write {k}: {found}"
            assert tried.said is not None or found == after, f"write {k} of {tried.count} was acknowledged and is lost"
            if tried.count < k:
                break
            injections, acknowledged = injections + 1, acknowledged + (tried.said is None)
            unknown += tried.said is not None and found == after
    return {"injections": injections, "acknowledged": acknowledged, "lost": 0, "unknown": unknown}


if __name__ == "__main__":
    every = [*itertools.product((errno.EIO, errno.ENOSPC), (False, True))]
    ways = (every, 1) if "--every" in sys.argv else (every[:1], 5)
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], *ways)))
