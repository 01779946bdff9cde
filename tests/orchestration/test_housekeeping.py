"""Workloads come and go, and disk is freed, without touching what is a person's own or what is in use."""

import contextlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets import lease
from assets.spec import names
from data import draft
from data.errors import UserError
from orchestration import freeing, housekeeping
from serving.ledger import Ledger
from serving.records import Records
from tests.conftest import Project
from tests.serving.records.samples import prediction

ROWS = "day,price,sold\n" + "".join(f"2024-01-{day:02},{day % 7}.5,{day * 3 % 11}\n" for day in range(1, 32))


def own_file(project: Project) -> Path:
    file = project.places.workloads / "shop" / "shop.csv"
    file.parent.mkdir()
    file.write_text(ROWS)
    return file


def test_removing_a_workload_keeps_what_a_person_put_beside_its_yaml(project: Project):
    """The YAML and the name go; a CSV in the same folder stays, and an empty folder goes too."""
    places = project.places
    file = own_file(project)
    for source in (file, project.places.root / "elsewhere.csv"):
        source.write_text(ROWS)
        housekeeping.new(places, "shop", str(source), "sold", "day", None)
        assert "shop" in names(places)
        assert "shop" in draft.registered(places.root)
        said = housekeeping.remove(places, "shop")
        assert "shop" not in names(places)
        assert "shop" not in draft.registered(places.root)
        assert file.exists() == ("stays, for it holds files of yours" in said)
        file.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            file.parent.rmdir()
    assert not file.parent.exists()


def test_a_new_workload_that_fails_leaves_what_was_there(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Only what the command made goes when the name cannot be registered."""
    file = own_file(project)

    def full(*_: object) -> None:
        raise OSError("no space left on the device")

    monkeypatch.setattr(housekeeping.infer, "register", full)
    with pytest.raises(OSError, match="no space"):
        housekeeping.new(project.places, "shop", str(file), "sold", "day", None)
    assert [one.name for one in file.parent.iterdir()] == ["shop.csv"]
    with pytest.raises(OSError, match="no space"):
        housekeeping.new(project.places, "other", str(file), "sold", "day", None)
    assert not (project.places.workloads / "other").exists()


def versions(project: Project, workload: str, count: int) -> Path:
    folder = project.places.models(workload)
    for version in range(1, count + 1):
        (folder / str(version)).mkdir(parents=True)
        (folder / str(version) / "model.onnx").write_bytes(b"x" * 1000)
    return folder


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_gc_keeps_the_newest_the_champion_and_its_rollback_target(project: Project):
    """Of six versions the newest two and the last two champions stay; nothing is printed about stages that never ran."""
    folder = versions(project, "co2", 6)
    ledger = Ledger.at(project.places.home)
    for version, expected in (("1", None), ("2", "1"), ("3", "2")):
        ledger.promote("co2", version, expected=expected, reason="test")
    done = project.aiprime("gc", "--keep", "2")
    assert left(folder) == ["2", "3", "5", "6"]
    assert "deleted 2 version(s): co2 1, co2 4" in done.stdout
    assert done.stderr == ""


def test_gc_keeps_what_is_being_tried(project: Project):
    """A challenger's files stay, however many newer versions there are, and so does the version that a rollback leads to; what lies
    beside a version's folder stays and goes with it."""
    folder, ledger = versions(project, "co2", 7), Ledger.at(project.places.home)
    ledger.promote("co2", 2, expected=None, reason="x")
    ledger.promote("co2", 3, expected=2, reason="x")
    ledger.change("exposed", "co2", 4, {"step": 0, "share": 0.1, "after": 0}, expected=2)
    companions = ("yaml", "sig", "release", "card.html")
    for version, ending in ((version, ending) for version in (1, 2) for ending in companions):
        (folder / f"{version}.{ending}").write_text("")
    housekeeping.gc(project.places, 1)
    assert left(folder) == sorted(["2", "3", "4", "7", *(f"2.{ending}" for ending in companions)])


def test_gc_leaves_a_workload_alone_that_is_being_run(project: Project):
    """While another process holds its lease a workload's versions stay, and the command says so; the others' go."""
    held, free = versions(project, "co2", 3), versions(project, "digits", 3)
    code = (
        "import sys; from pathlib import Path; from assets import lease\n"
        "lease.hold(Path(sys.argv[1]), 'co2', 'r'); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(project.places.home)]
    with subprocess.Popen(
        command, cwd=project.places.root, env=project.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        said = housekeeping.gc(project.places, 1)
        run.communicate()
    assert left(held) == ["1", "2", "3"]
    assert left(free) == ["3"]
    assert "being run: co2" in said
    housekeeping.gc(project.places, 1)
    assert left(held) == ["3"]
    lease.hold(project.places.home, "co2", "after")  # gc gave it back
    lease.release(project.places.home, "co2")


def test_gc_collects_nothing_it_could_not_push_beside(project: Project):
    """Where the remote cannot be written, the cache stays as it is and the error names the next step."""
    cached = project.places.home / "dvc" / "cache" / "files" / "md5" / "ab" / "cdef"
    cached.parent.mkdir(parents=True)
    cached.write_text("superseded")
    housekeeping.gc(project.places, 1)
    assert not cached.exists()
    root = project.places.root
    (root / "data" / "store" / "co2").mkdir(parents=True)
    (root / "data" / "store" / "co2" / "source.json").write_text("{}")
    project.python("-m", "dvc", "commit", "--force", "--quiet", "dvc.yaml:source@co2")
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_text("superseded")
    (project.places.home / "dvc" / "remote").write_text("no folder")
    with pytest.raises(UserError, match="cannot be pushed"):
        housekeeping.gc(project.places, 1)
    assert cached.exists()
    (project.places.home / "dvc" / "remote").unlink()
    assert "pushed 1 file(s)" in housekeeping.gc(project.places, 1)
    assert not cached.exists()


def test_gc_takes_what_a_deleted_version_was_watched_by(project: Project):
    """Yardsticks go with their versions; of drift pages, verdicts and costs the newest twenty stay; no other workload's."""
    home, ledger = project.places.home, Ledger.at(project.places.home)
    versions(project, "co2", 5)
    ledger.promote("co2", 1, expected=None, reason="x")
    ledger.promote("co2", 2, expected=1, reason="x")
    for version in ("1", "2", "3", "5"):
        (home / "monitor" / "co2" / version).mkdir(parents=True)
        (home / "monitor" / "co2" / version / "yardstick.json").write_text("{}")
    folders = {home / "monitor" / "co2" / "drift": "html", home / "gate" / "co2": "json", home / "retraining" / "co2": "json"}
    folders |= {home / "gate" / "bikes": "json"}
    for folder, kind in folders.items():
        folder.mkdir(parents=True)
        for number in range(30):
            (folder / f"{number:02}.{kind}").write_text("x")
            os.utime(folder / f"{number:02}.{kind}", (number, number))
    housekeeping.gc(project.places, 1)
    assert left(home / "monitor" / "co2") == ["1", "2", "5", "drift"]
    for folder, kind in folders.items():
        first = 0 if folder.name == "bikes" else 10
        assert left(folder) == [f"{number:02}.{kind}" for number in range(first, 30)]


def test_records_before_a_date_are_erased_and_that_is_on_record(project: Project):
    """What was answered before the date is empty, what came later is whole, both chains hold, and the decision is recorded once."""
    home, day = project.places.home, datetime(2026, 1, 1, tzinfo=UTC)
    ledger, records = Ledger.at(home), Records.at(home)
    ledger.promote("co2", 1, expected=None, reason="x")
    old, new = prediction(at=day.timestamp() - 1), prediction(at=day.timestamp())
    records.append([old, new])
    records.close()
    done = project.aiprime("gc", "--records-before", "2026-01-01")
    assert "co2: 1 predictions" in done.stdout
    assert [one.request for one in Records.at(home).find(old.id)] == [b""]
    assert [one.request for one in Records.at(home).find(new.id)] == [new.request]
    freeing.records(project.places, day)
    (decision,) = ledger.history("co2", "erased")
    assert decision.payload["before"] == "2026-01-01T00:00:00+00:00"
    assert decision.actor == "person"
    assert ledger.verify() is None
    assert Records.at(home).verify() is None
    assert freeing.records(project.places, datetime(2001, 1, 1, tzinfo=UTC)).endswith("nothing")
