"""`python -m benchmarks.mutations 1000`: how many of so many changes of the ledger and of both record chains are found.

Edited, deleted, inserted, reordered, truncated, replayed, and whole files put in another's place; half of them by who re-seals the chain
from there to its end and mends the head, so that it holds in itself. Beside each, what a hash chain finds whose end is noted nowhere.
Not among them: who rewrites the noted ends too (a backup's ends find that, `aiprime verify`), and who appends a well-formed record: that is a writer.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from serving.chain import GENESIS, Broken, Decision, canonical
from serving.ledger import Ledger
from serving.records import Label, Prediction, Records, by_id
from serving.records import label as labels_
from serving.records import prediction as predictions_

Row = dict[str, Any]
DECISIONS, PREDICTIONS, LABELS = 40, 60, 40
_OTHER = 1000  # ids of another home's
# A content is whatever unpacks: naming another dictionary with the same words changes nothing that can be read.
_NO_CONTENT = ("sequence", "dictionary")


@dataclass(frozen=True)
class Chain:
    """One chain's tables; `editable` are columns that can be changed and sealed again without touching the content."""

    name: str
    file: str
    contents: str | None
    editable: tuple[str, ...]
    seal: Callable[[Row, Any], Any]


def _seal_decision(row: Row, previous: str) -> str:
    return Decision(**row | {"payload": json.loads(row["payload"]), "previous": previous, "hash": ""}).digest()


def _seal_prediction(row: Row, previous: bytes) -> bytes:
    return predictions_.seal(previous, [value for name, value in row.items() if name != "hash"])


def _seal_label(row: Row, previous: bytes) -> bytes:
    return labels_.seal(previous, [value for name, value in row.items() if name != "hash"])


CHAINS = (
    Chain("decisions", "ledger.db", None, ("at", "kind", "workload", "version", "actor", "key", "payload"), _seal_decision),
    Chain("predictions", "records.db", "payloads", ("version", "at", "rows", "status", "latency_ms"), _seal_prediction),
    Chain("labels", "records.db", "truths", ("at",), _seal_label),
)


def fill(home: Path, first: int = 0) -> Path:
    """A home with all three chains; its files are whole on return."""
    ledger, records = (
        Ledger(home / "ledger.db", noted=home / "ledger.head"),
        Records(home / "records.db", home / "records.head"),
    )
    for number in range(DECISIONS):
        ledger.record("window", "co2", str(number % 3), {"n": number + first, "said": "ok"})
    made = [_prediction(first + number) for number in range(PREDICTIONS)]
    for start in range(0, PREDICTIONS, 20):
        records.append(made[start : start + 20])
    records.label([Label(workload="co2", about=by_id(one.id, 0), value=1.5 + n) for n, one in enumerate(made[:LABELS])])
    records.close()
    return home


def _prediction(number: int) -> Prediction:
    return Prediction(
        id=str(UUID(int=(number + 1) << 64 | 7 << 76 | 2 << 62)),
        workload="co2",
        version=str(number % 3),
        role="champion",
        at=1e9 + number,
        rows=1,
        form="v1",
        request=b'{"instances": [{"x": %d}]}' % number,
        answer=b'{"predictions": [{"prediction": %d}]}' % number,
        entities=(),
        status=200,
        latency_ms=1.5,
    )


def mutate(home: Path, kind: str, chain: Chain, sealed: bool, chance: random.Random, others: dict[str, Path]) -> str:
    """Change one chain of a home; what was done, in a few words."""
    if kind == "swap":
        which = "older" if sealed else "other"
        shutil.copy(others[which] / chain.file, home / chain.file)
        return f"{chain.file} of {which}"
    with closing(sqlite3.connect(home / chain.file, isolation_level=None)) as database:
        database.execute("pragma synchronous = off")
        rows, contents = _read(database, chain)
        said = _KINDS[kind](rows, contents, chain, sealed, chance)
        if sealed:
            rows, contents = _sealed(rows, contents, chain)
        _write(database, chain, rows, contents, sealed)
    return said


def found(home: Path, noted: bool) -> Broken | None:
    """Where the product finds a chain broken; without `noted`, as if the ends had been noted nowhere."""
    ledger = Ledger(home / "ledger.db", noted=home / "ledger.head" if noted else None)
    records = Records(home / "records.db", noted=home / "records.head" if noted else None)
    return ledger.verify() or records.verify()


# -- the kinds: each changes the rows (by their place) and leaves re-sealing to others


def _edit(rows: list[Row], contents: dict[int, Row], chain: Chain, sealed: bool, chance: random.Random) -> str:
    row = chance.choice(rows)
    of: Row = row
    columns = list(chain.editable)
    if not sealed:
        of = contents[row["sequence"]] if contents and chance.random() < 0.5 else row
        columns = [name for name in of if name not in _NO_CONTENT]
    name = chance.choice(columns)
    before, of[name] = of[name], _other(of[name], chance)
    return f"{name} {before!r:.30} -> {of[name]!r:.30}"


def _other(value: Any, chance: random.Random) -> Any:
    if value is None:
        return chance.choice([0, 7])
    if isinstance(value, bytes):
        place = chance.randrange(len(value))
        return value[:place] + bytes([value[place] ^ (1 << chance.randrange(8))]) + value[place + 1 :]
    if isinstance(value, str):
        if value.startswith("{"):
            return canonical({"n": chance.randrange(10**6), "said": "changed"})
        return chance.choice([value + "x", "x" + value])
    return value + chance.choice([-1, 1, 1000])


def _delete(rows: list[Row], contents: dict[int, Row], _: Chain, __: bool, chance: random.Random) -> str:
    gone = rows.pop(chance.randrange(len(rows) - 1))
    contents.pop(gone["sequence"], None)
    return f"deleted {gone['sequence']}"


def _truncate(rows: list[Row], contents: dict[int, Row], _: Chain, __: bool, chance: random.Random) -> str:
    count = chance.randint(1, len(rows) // 2)
    for gone in rows[-count:]:
        contents.pop(gone["sequence"], None)
    del rows[-count:]
    return f"cut off {count}"


def _insert(rows: list[Row], contents: dict[int, Row], chain: Chain, sealed: bool, chance: random.Random) -> str:
    """A record that never was, before one that was; sealed and at the end it would be what any writer may do."""
    place = chance.randrange(len(rows) + (not sealed))
    like = chance.choice(rows)
    new = dict(like) | {chain.editable[0]: _other(like[chain.editable[0]], chance), "sequence": -1 if sealed else place + 1}
    if like["sequence"] in contents:
        contents[-1] = dict(contents[like["sequence"]]) | {"sequence": new["sequence"]}
    rows.insert(place, new)
    return f"inserted at {place + 1}"


def _reorder(rows: list[Row], _: dict[int, Row], __: Chain, sealed: bool, chance: random.Random) -> str:
    a, b = sorted(chance.sample(range(len(rows)), 2))
    rows[a], rows[b] = rows[b], rows[a]
    if not sealed:
        rows[a]["sequence"], rows[b]["sequence"] = rows[b]["sequence"], rows[a]["sequence"]
    return f"exchanged {a + 1} and {b + 1}"


def _replay(rows: list[Row], contents: dict[int, Row], _: Chain, __: bool, chance: random.Random) -> str:
    """An old record once more, in the place of the last."""
    old, last = chance.choice(rows[:-1]), rows[-1]
    rows[-1] = dict(old) | {"sequence": last["sequence"]}
    if old["sequence"] in contents:
        contents[last["sequence"]] = dict(contents[old["sequence"]]) | {"sequence": last["sequence"]}
    return f"{old['sequence']} again as {last['sequence']}"


_KINDS = {"edit": _edit, "delete": _delete, "insert": _insert, "reorder": _reorder, "truncate": _truncate, "replay": _replay}
KINDS = (*_KINDS, "swap")


# -- the database


def _read(database: sqlite3.Connection, chain: Chain) -> tuple[list[Row], dict[int, Row]]:
    def rows(table: str) -> list[Row]:
        cursor = database.execute(f"select * from {table} order by sequence")
        return [dict(zip([name for name, *_ in cursor.description], row, strict=True)) for row in cursor]

    contents = rows(chain.contents) if chain.contents else []
    return rows(chain.name), {row["sequence"]: row for row in contents}


def _sealed(rows: list[Row], contents: dict[int, Row], chain: Chain) -> tuple[list[Row], dict[int, Row]]:
    """The rows as a chain that holds in itself."""
    previous: Any = GENESIS if chain.name == "decisions" else predictions_.GENESIS
    made, kept = [], {}
    for number, row in enumerate(rows, 1):
        if row["sequence"] in contents:
            kept[number] = contents[row["sequence"]] | {"sequence": number}
        again = row | {"sequence": number} | ({"previous": previous} if "previous" in row else {})
        previous = again["hash"] = chain.seal(again, previous)
        made.append(again)
    return made, kept


def _write(database: sqlite3.Connection, chain: Chain, rows: list[Row], contents: dict[int, Row], mend: bool) -> None:
    """Whoever holds the file is held back by none of its constraints."""
    for table, values in ((chain.name, rows), (chain.contents, list(contents.values()))):
        if table:
            columns = [name for _, name, *_ in database.execute(f"pragma table_info({table})")]
            database.execute(f"drop table {table}")
            database.execute(f"create table {table} ({', '.join(f'{chr(34)}{name}{chr(34)}' for name in columns)})")
            marks = ", ".join("?" * len(columns))
            database.executemany(f"insert into {table} values ({marks})", [[row[name] for name in columns] for row in values])
    if mend:
        end = (rows[-1]["sequence"], rows[-1]["hash"])
        if chain.name == "decisions":
            database.execute("update head set sequence = ?, hash = ?", end)
        else:
            database.execute("update chain_ends set sequence = ?, hash = ? where chain = ?", (*end, chain.name))


# -- the campaign


@dataclass(frozen=True)
class Tally:
    """How many of how many, by kind: with the noted ends, and with the chain alone; and what was missed."""

    tried: Counter[str]
    found: Counter[str]
    alone: Counter[str]
    missed: list[str]


def campaign(count: int, folder: Path, seed: int = 0) -> Tally:
    """So many mutations, each of a fresh copy; every kind, chain and way in turn."""
    chance, tally = random.Random(seed), Tally(Counter(), Counter(), Counter(), [])
    others = {"other": fill(folder / "other", _OTHER), "older": folder / "older"}
    whole = folder / "whole"
    fill(whole)
    shutil.copytree(whole, others["older"])
    fill(whole, PREDICTIONS)  # it went on
    if (broken := found(whole, noted=True)) is not None:
        raise RuntimeError(f"the untouched chains do not hold: {broken}")
    work = folder / "work"
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        chain = CHAINS[number // len(KINDS) % len(CHAINS)]
        sealed = number // len(KINDS) // len(CHAINS) % 2 == 1
        shutil.copytree(whole, work)
        said = mutate(work, kind, chain, sealed, chance, others)
        tally.tried[kind] += 1
        tally.alone[kind] += found(work, noted=False) is not None
        if found(work, noted=True) is not None:
            tally.found[kind] += 1
        else:
            tally.missed.append(f"{number}: {kind} of {chain.name}{', sealed again' if sealed else ''}: {said}")
        shutil.rmtree(work)
    return tally


def main(arguments: list[str]) -> int:
    """Print the table; 1 where one was missed."""
    count, began = int(arguments[0]) if arguments else 1000, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tally = campaign(count, Path(folder))
    print("| mutation | tried | found | by the chain alone |\n|---|---|---|---|")
    for kind in KINDS:
        print(f"| {kind} | {tally.tried[kind]:,} | {tally.found[kind]:,} | {tally.alone[kind]:,} |")
    print(f"| all | {tally.tried.total():,} | {tally.found.total():,} | {tally.alone.total():,} |")
    print(f"{time.perf_counter() - began:.0f} s", *tally.missed, sep="\n")
    return 1 if tally.missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
