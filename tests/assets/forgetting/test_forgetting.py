"""An entity that is forgotten is nowhere any more, stays away, and everything about the others holds; a receipt proves it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assets import forgetting, lease
from assets.forgetting import doing, online, receipt, versions, vocabulary
from data import failpoints, forgotten, revisions, state
from data.errors import UserError
from data.versions import initialise
from orchestration import opening
from serving.gateway.online import OnlineStore
from serving.records import Records
from serving.trust.refusal import Untrusted
from tests.assets.forgetting import home
from tests.assets.forgetting.home import ERIKA, NORTH, SOUTH, Here, where

SERVES = {"models/shop/2/model.onnx", "models/shop/3/model.onnx", "mlflow/artifacts/1/models/m-1/artifacts/model.onnx"}
pytestmark = pytest.mark.xdist_group("forgetting")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Here:
    return home.once(tmp_path_factory.getbasetemp())


@pytest.fixture
def here(made: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """A copy of it for one test."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    return copied(made, tmp_path)


def copied(made: Here, folder: Path) -> Here:
    for part in (made.places.root, made.places.home):
        shutil.copytree(part, folder / part.name)
    places = type(made.places)(root=folder / made.places.root.name, home=folder / made.places.home.name)
    initialise(places.root, places.home)
    return Here(places)


def forget(here: Here, entity: str = ERIKA) -> receipt.Receipt:
    return forgetting.forget(here, entity)  # pyright: ignore[reportArgumentType]  (the part of Platform that is used)


def of_others(here: Here) -> dict[str, Any]:
    """What must not change: the other shops' rows, values, predictions and labels."""
    table = pd.read_parquet(here.places.store("shop") / "dataset.parquet")
    records, store = Records.at(here.places.home), OnlineStore(here.places.home / "feast" / "shop")
    labels = records.truths("shop").to_pandas()
    told = {
        "rows": table[table["store"] != ERIKA].to_dict("list"),
        "values": {name: dict(store.read(name).values) for name in (NORTH, SOUTH)},  # pyright: ignore[reportOptionalMemberAccess]
        "predictions": [(one.id, one.request, one.answer) for one in records.predictions("shop") if one.entities == (NORTH,)],
        "labels": labels[labels["entity"] == NORTH].to_dict("list"),
    }
    store.close()
    records.close()
    return json.loads(json.dumps(told, default=str))


def test_it_is_nowhere_but_where_it_is_said_to_be(here: Here):
    """After an erasure no file, table, database or record holds the key, but the versions that serve, as the receipt says."""
    before = of_others(here)
    assert len(where(here, ERIKA)) > 25
    done = forget(here)
    left = where(here, ERIKA)
    assert left == SERVES
    told = done.workloads["shop"]
    assert left <= {one["where"] for one in told["remains"]}
    assert {one["where"] for one in told["remains"]} - left == {"shop.csv", "mlflow"}  # which does not run here
    assert told["erased"] == {"predictions": 3, "outcomes": 3, "labels": 3, "online_values": told["found"]["online"]}
    assert done.retrain == {"shop": ["2", "3"]}
    assert of_others(here) == before
    assert here.ledger.verify() is None
    assert Records.at(here.places.home).verify() is None
    assert (here.places.home / "logs" / "gateway.log").read_text().splitlines()[2:] == [
        "Erika Müsterfrauen: another",
        f"{NORTH}: fine",
    ]


def test_old_versions_go_and_those_that_serve_stay(here: Here):
    """A version that neither serves nor is gone back to is deleted with all beside it; once another serves, so is the one before."""
    forget(here)
    folder = here.places.models("shop", "1").parent
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith("1")) == []
    assert (here.places.models("shop", "3") / "model.onnx").is_file()
    here.ledger.promote("shop", "4", expected="3", reason="retrained without it")
    done = forget(here)
    assert done.workloads["shop"]["found"]["versions"]["old"] == ["2", "3"]
    assert {path.name for path in folder.iterdir()} == {"4", *(f"4.{kind}" for kind in ("yaml", "sig", "release", "card.md"))}
    release = here.ledger.release("shop")
    assert (release.champion, release.previous) == ("4", None)
    assert where(here, ERIKA) == {"mlflow/artifacts/1/models/m-1/artifacts/model.onnx"}


def test_it_does_not_come_back(here: Here):
    """The next read of the source leaves its rows out, and its other rows build the same data as ever."""
    forget(here)
    more = home.sales(days=home.DAYS)
    more["sales"] += 1.0
    more.to_csv(here.places.root / "shop.csv", index=False)
    home.data(here)
    table = pd.read_parquet(here.places.store("shop") / "dataset.parquet")
    assert sorted(table["store"].unique()) == [NORTH, SOUTH]
    assert len(json.loads((here.places.store("shop") / "source.json").read_text())["forgotten"]) == 1
    assert where(here, ERIKA) == SERVES


# Each is an erasure and a half: three of them here, all with AIPRIME_ROUNDS.
STEPS: dict[str, tuple[Any, str]] = {
    "ledger": (Records, "erase"),
    "records": (online, "erase"),
    "online": (revisions, "remove"),
    "within the objects": (revisions, "_deleted"),
    "objects": (revisions, "_out_of_lock"),
    "the lock": (doing, "_strays"),
    "strays": (versions, "delete"),
    "versions": (doing, "_write_over"),
    "files": (doing, "_rebuild"),
    "data": (receipt, "write"),
}


class Killed(BaseException):
    """The process ended here."""


SHOWN = [*STEPS] if "AIPRIME_ROUNDS" in os.environ else ["records", "within the objects", "versions"]


@pytest.mark.slow
@pytest.mark.parametrize("step", SHOWN)
def test_whoever_is_killed_goes_on(here: Here, step: str, monkeypatch: pytest.MonkeyPatch):
    """An erasure that ends at any step is finished by the next call, with one record, one receipt, and nothing left."""
    before = of_others(here)
    owner, name = STEPS[step]

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, killed)
        with pytest.raises(Killed):
            forget(here)
    assert not list((here.places.home / "receipts").glob("*.json")) if (here.places.home / "receipts").exists() else True
    done = forget(here)
    assert where(here, ERIKA) == SERVES
    assert of_others(here) == before
    assert done.retrain == {"shop": ["2", "3"]}
    assert done.workloads["shop"]["found"]["versions"]["old"] == ["1"]
    assert [one.payload["receipt"] for one in here.ledger.history("shop", "forgotten")] == [done.id]
    assert [file.stem for file in (here.places.home / "receipts").iterdir()] == [done.id]
    assert here.ledger.verify() is None


def test_whoever_is_killed_at_each_step_leaves_one_receipt(here: Here, monkeypatch: pytest.MonkeyPatch):
    """Cut off after each step in turn, the last call finds nothing undone: one record, one signed receipt that says what went, no journal."""
    before = of_others(here)
    monkeypatch.setenv("AIPRIME_HOME", str(here.places.home))
    monkeypatch.setattr(failpoints, "_set", ",".join(f"during-forget@{step}=error" for step in doing.STEPS))
    for _ in doing.STEPS:
        with pytest.raises(failpoints.Injected):
            forget(here)
    marks = [file.name for file in sorted((here.places.home / "failpoints").iterdir(), key=lambda one: one.stat().st_mtime_ns)]
    assert marks == [f"{number}-during-forget" for number in range(len(doing.STEPS))]
    done = forget(here)
    assert where(here, ERIKA) == SERVES
    assert of_others(here) == before
    told = done.workloads["shop"]
    assert told["erased"] == {"predictions": 3, "outcomes": 3, "labels": 3, "online_values": told["found"]["online"]}
    assert told["rebuilt"] == "the data were made again without it"
    assert [one.payload["receipt"] for one in here.ledger.history("shop", "forgotten")] == [done.id]
    [file] = (here.places.home / "receipts").iterdir()
    assert receipt.read(file, here.places.home) == done
    assert list((here.places.home / "forgetting").iterdir()) == []


WORDS = ("version", "main", "default")


@pytest.fixture(scope="module")
def called_so(tmp_path_factory: pytest.TempPathFactory) -> Here:
    """A home whose three shops are called by words that mean something to the platform."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("AIPRIME_LEDGER_URL", raising=False)
        for name, word in zip(("ERIKA", "NORTH", "SOUTH"), WORDS, strict=True):
            patched.setattr(home, name, word)
        made = home.lived(tmp_path_factory.mktemp("called"))
        state.write(made.places.home, state.VERSION)
        return made


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_our_own_is_erased_from_columns_only(
    called_so: Here, tmp_path: Path, word: str, monkeypatch: pytest.MonkeyPatch
):
    """After `version`, `main` or `default` was forgotten the home opens, no text or database of it changed, and no row is of it."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    here = copied(called_so, tmp_path)

    def texts() -> dict[str, bytes]:
        kept = ("schema.json", "logs", "dagster", "mlflow", "dvc/config", "feast/shop/names.json", "monitor/shop/3")
        files = (path for part in kept for path in [here.places.home / part, *(here.places.home / part).rglob("*")])
        return {str(path): path.read_bytes() for path in files if path.is_file() and path.suffix != ".parquet"}

    before = texts()
    done = forget(here, word)
    assert texts() == before
    opening.prepare(here.places)
    assert here.ledger.verify() is None
    records = Records.at(here.places.home)
    assert records.verify() is None
    assert records.count("shop", entity=word).predictions == 0
    records.close()
    tables = [*here.places.store("shop").rglob("*.parquet"), *(here.places.home / "monitor").rglob("*.parquet")]
    columns = [pd.read_parquet(path) for path in tables]
    assert len(columns) > 5
    assert not [
        table for table in columns for name in {"store", "entity"} & {*table.columns} if word in {*table[name].astype(str)}
    ]
    told = done.workloads["shop"]
    assert told["searched_as_text"] is False
    where_it_stands = {one["where"] for one in told["remains"]}
    assert {"dagster/", "mlflow/"} <= where_it_stands
    assert ("logs/" in where_it_stands) == (word != "default")  # the log names two of the shops
    assert forget(here, word) == done


def test_what_a_word_is_reserved_for(here: Here):
    """Our own words, those of databases, names of workloads, columns, folders and files are reserved; names of people and places are not."""
    words = vocabulary.reserved(here.places)
    own = {"version", "main", "default", "success", "test", "champion", "schema", "shop", "store", "sales", "home", "project"}
    assert own - words == set()
    assert words & {"erika", ERIKA.casefold(), "laden-nord", "laden-süd", "mauna-loa", "paris"} == set()


def test_of_one_workload_the_rows_of_another_stay(here: Here):
    """With --workload, shared logs and the rows of other workloads in shared databases are left, and the receipt names them."""
    other = here.places.workloads / "other"
    other.mkdir()
    (other / "defs.yaml").write_text(home.DEFS.replace("name: shop", "name: other"))
    index = here.places.workloads / "index.yaml"
    index.write_text(index.read_text() + "  other: {family: tabular}\n")
    log = (here.places.home / "logs" / "gateway.log").read_bytes()
    done = forgetting.forget(here, ERIKA, "shop")  # pyright: ignore[reportArgumentType]
    assert (here.places.home / "logs" / "gateway.log").read_bytes() == log
    with closing(sqlite3.connect(here.places.home / "dagster/history/runs/index.db")) as db:
        told = dict(db.execute("select step_key, instr(event, 'Erika') > 0 from event_logs").fetchall())
    assert told == {"shop__dataset": 0, "other__dataset": 1}
    with closing(sqlite3.connect(here.places.home / "mlflow/mlflow.db")) as db:
        params = {of for (of,) in db.execute("select run_uuid from params where instr(value, 'Erika') > 0")}
        assert db.execute("select name, status from runs").fetchall() == [("main", "success")] * 2
    assert params == {"other"}
    left = {one["where"] for one in done.workloads["shop"]["remains"]}
    assert {"logs/gateway.log", "dagster/history/runs/index.db", "mlflow/mlflow.db"} <= left


def test_what_a_restore_put_aside_is_named(here: Here):
    """Homes and locks that a restore left beside the present ones are not looked through, and the receipt says that they are there."""
    (here.places.home.parent / "home.before-20260101T000000Z").mkdir()
    (here.places.root / "dvc.lock.before-20260101T000000Z").write_text("")
    left = {one["where"] for one in forget(here).workloads["shop"]["remains"]}
    assert {"home.before-20260101T000000Z", "dvc.lock.before-20260101T000000Z"} <= left


def test_verdicts_of_others_stay(here: Here):
    """Verdicts that name it and those of versions that went are deleted; of other versions they stay, and so does their signature."""
    forget(here)
    assert {path.name for path in (here.places.home / "gate" / "shop").iterdir()} == {"of-4.json", "4.sig"}


def test_who_is_busy_keeps_nobody_elses_lease(here: Here, monkeypatch: pytest.MonkeyPatch):
    """Where the second of two workloads is being run, the first one's lease is given back."""
    hold = lease.hold

    def busy(home: Path, workload: str, run: str) -> None:
        if workload == "other":
            raise lease.Busy("other is being run")
        hold(home, workload, run)

    monkeypatch.setattr(lease, "hold", busy)
    specs = [here.spec, here.spec.model_copy(update={"name": "other"})]
    with pytest.raises(lease.Busy):
        doing._do(here, ERIKA, specs, "0" * 64, "r1", alone=False)  # pyright: ignore[reportArgumentType]
    assert not lease.taken(here.places.home, "shop")


def test_again_finds_nothing_new(here: Here):
    """A second call changes nothing and shows the same receipt; a key that nobody knows is refused."""
    assert forget(here) == forget(here)
    assert len(here.ledger.history("shop", "forgotten")) == 1
    with pytest.raises(UserError, match="nothing is known of 'Erika'"):
        forget(here, "Erika")


def test_looking_changes_nothing(here: Here):
    """What would go is listed, and every file is as it was."""

    def state() -> dict[Path, bytes]:
        files = (path for base in (here.places.home, here.places.root) for path in base.rglob("*"))
        skipped = ("records.db", "outcomes.db", "ledger.db", "forgetting.key")
        return {path: path.read_bytes() for path in files if path.is_file() and not path.name.startswith(skipped)}

    before = state()
    found = forgetting.find(here, here.spec, ERIKA)  # pyright: ignore[reportArgumentType]
    assert (len(found.datasets), found.predictions, found.outcomes, found.labels) == (2, 3, 3, 3)
    assert (found.versions.serving, found.versions.old, found.versions.unknown) == (("2", "3"), ("1",), ("4",))
    assert state() == before


def test_a_receipt_is_signed_and_says_nothing_of_who_it_is(here: Here):
    """A changed receipt is refused, and neither it, nor the ledger, nor the tombstones hold the key."""
    done = forget(here)
    file = receipt.place(here.places.home, done.id)
    assert receipt.read(file, here.places.home) == done
    envelope = json.loads(file.read_text())
    envelope["payload"] = envelope["payload"][:-8] + "AAAAAAA="
    file.write_text(json.dumps(envelope))
    with pytest.raises(Untrusted):
        receipt.read(file, here.places.home)


def test_a_restore_of_an_older_state_forgets_again(made: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Who was forgotten after a backup is found in it by the digest alone, and forgotten under the same receipt; others are left."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    (made.places.home / "keys").mkdir(exist_ok=True)
    forgotten.secret(made.places.home)
    older, now = copied(made, tmp_path / "older"), copied(made, tmp_path / "now")
    shutil.rmtree(older.places.home / "keys")  # the signing key is made at the first signature: both have the one made there
    done = forget(now)
    shutil.copytree(now.places.home / "keys", older.places.home / "keys")
    before = of_others(older)
    again: Callable[..., list[str]] = forgetting.reapply
    files = [receipt.place(now.places.home, done.id)]
    assert again(older, files) == [done.id]
    assert where(older, ERIKA) == SERVES
    assert of_others(older) == before
    assert [one.payload["receipt"] for one in older.ledger.history("shop", "forgotten")] == [done.id]
    assert again(older, files) == []
    assert list((older.places.home / "forgetting").iterdir()) == []
    (older.places.home / "keys" / "forgetting.key").unlink()
    (older.places.home / "forgotten.json").unlink()
    with pytest.raises(UserError, match="another key"):
        again(older, files)


def test_a_workload_that_is_being_run_is_waited_for_by_nobody(here: Here, monkeypatch: pytest.MonkeyPatch):
    """While a run holds the workload's lease nothing is forgotten and nothing is changed."""

    def busy(*_: Any, **__: Any) -> None:
        raise lease.Busy("shop is being run")

    monkeypatch.setattr(lease, "hold", busy)
    with pytest.raises(lease.Busy):
        forget(here)
    assert forgotten.tombstones(here.places.home) == []
    assert here.ledger.history("shop", "forgotten") == []
