"""Clearances: what the ledger says may serve is what a server is told, and the statement can always be made again from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.files import sha256, tree_digest, write_atomically
from serving import manifests, routes
from serving.clearance import Clearance
from serving.deploy import LocalTarget
from serving.ledger import Decision, Ledger
from serving.manifests import ServeSection
from serving.release import Exposure
from serving.supervision import Supervisor
from serving.trust import keys, statement
from serving.trust.refusal import Untrusted
from serving.trust.statement import Statement
from tests.serving.test_deploy import ROOT, place, promoted, record, register, served


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    Supervisor(tmp_path).shutdown()


@pytest.fixture
def clearance(home: Path) -> Clearance:
    """Versions 1 and 2 are registered."""
    register(home, 1)
    register(home, 2)
    return LocalTarget(home).clearance


def give(clearance: Clearance, version: str, actor: str = "aiprime") -> Decision:
    return clearance.give("co2", version, reason="test", actor=actor)


def said(home: Path, version: str) -> Statement:
    return statement.read(home / "models" / "co2" / f"{version}.release", keys.accepted(home))


def test_a_server_is_told_what_the_ledger_says(home: Path, clearance: Clearance):
    """The record names the bytes and who cleared them; the manifest gets its number and the trusted keys, the statement lies beside it."""
    cleared = give(clearance, "1")
    manifest = clearance.manifest("co2", "1")
    assert (cleared.payload["by"], cleared.payload["key"]) == ("gate", keys.signing(home).public.id)
    assert manifests.argument(manifest, "--sequence") == str(cleared.sequence)
    assert manifests.argument(manifest, "--trusted_keys") == str(home / "keys" / "signing.pub")
    digest = manifests.argument(manifest, "--digest")
    assert said(home, "1") == Statement(workload="co2", version="1", digest=digest, sequence=cleared.sequence)
    assert "--purpose" not in manifests.container_of(manifest)["args"]


def test_a_statement_is_made_again_from_the_record(home: Path, clearance: Clearance):
    """Gone, or of an older or newer record of the same bytes (a crash, a ledger from a backup): it is what the ledger says again."""
    cleared = give(clearance, "1")
    clearance.manifest("co2", "1")
    file, right = home / "models" / "co2" / "1.release", said(home, "1")
    for wrong in (None, cleared.sequence - 1, cleared.sequence + 9):
        file.unlink()
        if wrong is not None:
            statement.write(file, Statement(**{**vars(right), "sequence": wrong}), keys.signing(home))
        clearance.manifest("co2", "1")
        assert said(home, "1") == right
    before = file.stat().st_mtime_ns
    clearance.manifest("co2", "1")
    assert file.stat().st_mtime_ns == before  # it is not signed twice


def test_another_statement_is_left_for_the_server_to_refuse(home: Path, clearance: Clearance):
    """One that is of another version, of other bytes, or sealed by nobody we trust is evidence: it stays as it is."""
    give(clearance, "1")
    clearance.manifest("co2", "1")
    file, right = home / "models" / "co2" / "1.release", said(home, "1")
    somebody = keys.signing(home / "somebody else")
    wrong = [
        (Statement(**{**vars(right), "version": "2"}), keys.signing(home)),
        (Statement(**{**vars(right), "digest": "0" * 64}), keys.signing(home)),
        (right, somebody),
    ]
    for one, key in wrong:
        statement.write(file, one, key)
        found = file.read_bytes()
        clearance.manifest("co2", "1")
        assert file.read_bytes() == found


def test_what_was_never_cleared_does_not_serve(home: Path, clearance: Clearance):
    """A registered version that the ledger made champion without clearing it is not started; what served before serves on."""
    LocalTarget(home).release("co2", 1, expected=None, reason="the first")
    Ledger.at(home).promote("co2", 2, expected=1, reason="by a hand that cleared nothing")
    with pytest.raises(Untrusted, match="version 2 was never cleared to serve"):
        clearance.manifest("co2", "2")
    done = LocalTarget(home).reconcile()
    assert "version 2 was never cleared to serve" in done[0]
    assert served(home) == "1"


def test_a_manifest_that_was_changed_is_not_started(home: Path, clearance: Clearance):
    """A manifest is what it was when its version was cleared, to the byte: another program or folder in it starts nothing."""
    give(clearance, "1")
    file = manifests.file(home, "co2", 1)
    write_atomically(file, file.read_text().replace(str(16 << 20), str(17 << 20)))
    with pytest.raises(Untrusted, match="is not the one that was cleared"):
        clearance.manifest("co2", "1")


def edited(home: Path, change: Callable[[dict[str, Any]], Any], version: int = 1) -> dict[str, Any]:
    """The manifest as it lies there, changed by hand."""
    file = manifests.file(home, "co2", version)
    manifest = manifests.read(file)
    change(manifests.container_of(manifest))
    write_atomically(file, manifests.text(manifest))
    return manifest


def doubled(container: dict[str, Any]) -> None:
    container["args"] += ["--digest", "0" * 64]


def less(container: dict[str, Any]) -> None:
    del container["args"][:2]


STRANGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another program": lambda container: container.update(command=["python", "-m", "os"]),
    "a shell": lambda container: container.update(command=["/bin/sh", "-c", "true"]),
    "a longer program": lambda container: container["command"].append("-v"),
    "no program": lambda container: container.pop("command"),
    "a library": lambda container: container["env"].append({"name": "LD_PRELOAD", "value": "/tmp/x.so"}),
    "an environment of another shape": lambda container: container.update(env={"LD_PRELOAD": "/tmp/x.so"}),
    "an argument twice": doubled,
    "an argument less": less,
    "a number": lambda container: container["args"].extend(["--max_waiting", 3]),
    "an unknown one": lambda container: container["args"].extend(["--stock_routes", "1"]),
    "a flag as a value": lambda container: container["args"].extend(["--max_waiting", "--unsigned"]),
    **{
        word: lambda container, word=word: container["args"].append(word)
        for word in ("--unsigned", "--purpose=candidate", "--trusted_keys", "--signature", "--sequence=3")
    },
}


@pytest.mark.parametrize("strange", STRANGE)
def test_a_manifest_starts_the_model_server_and_says_nothing_else(home: Path, strange: str):
    """Another program, environment or argument is refused where it is to be cleared, to serve or to be tried, though it was registered so."""
    place(home, 1)
    manifest = edited(home, STRANGE[strange])
    record(home, manifest)
    clearance = LocalTarget(home).clearance
    with pytest.raises(Untrusted, match="the manifest"):
        give(clearance, "1", actor="person")
    payload = {"digest": manifests.argument(manifest, "--digest"), "manifest": sha256(manifests.file(home, "co2", 1))}
    Ledger.at(home).record("cleared", "co2", "1", payload)
    for refused in (lambda: clearance.manifest("co2", "1"), lambda: clearance.candidate(manifest, None)):
        with pytest.raises(Untrusted, match="the manifest"):
            refused()


def test_a_manifest_that_was_changed_before_it_was_cleared_is_not_cleared(home: Path, clearance: Clearance):
    """Between its registration and its promotion, and before a rollback: the record knows the manifest's bytes. Whole again, it is."""
    whole = manifests.file(home, "co2", 2).read_bytes()
    edited(home, lambda container: container.update(image="another"), version=2)
    for actor in ("aiprime", "person"):
        with pytest.raises(Untrusted, match="the manifest of version 2 is not the one that was registered"):
            give(clearance, "2", actor=actor)
    manifests.file(home, "co2", 2).write_bytes(whole)
    assert give(clearance, "2").version == "2"

    target = LocalTarget(home)
    target.release("co2", 1, expected=None, reason="the first")
    target.release("co2", 2, expected=1, reason="better")
    edited(home, lambda container: container.update(image="another"))
    with pytest.raises(Untrusted, match="the manifest of version 1 is not the one that was registered"):
        target.rollback("co2", expected=Ledger.at(home).release("co2").fence, reason="bad live", actor="person")
    assert served(home) == "2"


def unhashed(home: Path, version: int, **serve: Any) -> dict[str, Any]:
    """A version whose record is of before it kept the manifest's hash."""
    folder = home / "models" / "co2" / str(version)
    folder.mkdir(parents=True)
    manifest = manifests.render("co2", version, folder, tree_digest(folder), ServeSection(**serve))
    file = manifests.file(home, "co2", version)
    file.write_text(manifests.text(manifest))  # it names the folder from the root
    payload = {"model_digest": tree_digest(folder), "passed": True, "serve": ServeSection(**serve).model_dump(mode="json")}
    Ledger.at(home).record("registered", "co2", version, payload)
    return manifest


def test_a_record_without_the_manifests_hash_is_held_to_its_settings(home: Path):
    """What its settings make is cleared, also moved by a restore, or as it was written before there were signatures; else nothing is."""
    clearance = LocalTarget(home).clearance
    manifest, file = unhashed(home, 1, max_body_mb=3), manifests.file(home, "co2", 1)
    for good in (manifest, manifests.without(manifest, "--timeout_seconds")):
        file.write_text(manifests.text(good))
        assert give(clearance, "1").version == "1"
        manifests.write(file, manifests.read(file))
        assert give(clearance, "1").version == "1"
    elsewhere = manifests.located(manifest, home / "models" / "co2" / "2")
    wider = manifests.without(manifest, "--timeout_seconds")
    wider = manifests.with_arguments(wider, ["--timeout_seconds", "9000"])
    for bad in (elsewhere, wider):
        file.write_text(manifests.text(bad))
        with pytest.raises(Untrusted, match="not the one that was registered"):
            give(clearance, "1")


def test_a_manifest_is_read_once(home: Path, clearance: Clearance, monkeypatch: pytest.MonkeyPatch):
    """What is started is what was hashed: one that is put right again between two reads is refused."""
    give(clearance, "1")
    file = manifests.file(home, "co2", 1)
    whole = file.read_bytes()
    edited(home, lambda container: container.update(image="another"))
    for name in ("read_text", "read_bytes"):
        read = getattr(Path, name)

        def mending(path: Path, *more: Any, read: Callable[..., Any] = read, **named: Any) -> Any:
            found = read(path, *more, **named)
            if path == file:
                file.write_bytes(whole)
            return found

        monkeypatch.setattr(Path, name, mending)
    with pytest.raises(Untrusted, match="is not the one that was cleared"):
        clearance.manifest("co2", "1")
    assert file.read_bytes() == whole


def test_only_what_was_registered_is_cleared(home: Path, clearance: Clearance):
    """A folder that nobody registered, or whose manifest names other bytes than the ledger, is not cleared by anybody."""
    place(home, 3)
    with pytest.raises(Untrusted, match="never registered with the bytes"):
        give(clearance, "3", actor="person")
    file = manifests.file(home, "co2", 2)
    write_atomically(file, file.read_text().replace(manifests.argument(manifests.read(file), "--digest"), "f" * 64))
    with pytest.raises(Untrusted, match="never registered with the bytes"):
        give(clearance, "2", actor="person")
    assert Ledger.at(home).history("co2", "cleared") == []


def test_what_the_gate_refused_is_a_persons_to_clear(home: Path, clearance: Clearance):
    """By itself nothing clears a refused version; a person does, and then a rollback may lead to it by itself."""
    record(home, place(home, 3), passed=False)
    with pytest.raises(UserError, match="not passed by the gate"):
        give(clearance, "3")
    assert give(clearance, "3", actor="person").payload["by"] == "person"
    promoted(home, 1, expected=None)  # the release is another one since
    assert give(clearance, "3").payload["by"] == "gate"


def test_a_clearance_is_given_once_and_a_rollback_is_a_new_one(home: Path, clearance: Clearance):
    """Asked again nothing is recorded; a version that comes back has a new record and a new statement; an advance changes nothing."""
    assert give(clearance, "1") == give(clearance, "1")
    target, ledger = LocalTarget(home), Ledger.at(home)
    target.release("co2", 1, expected=None, reason="the first")
    target.expose("co2", 2, Exposure(step=1, share=0.1), expected=ledger.release("co2").fence, reason="passed")
    target.release("co2", 2, expected="1", reason="better")
    assert [one.version for one in ledger.history("co2", "cleared")] == ["1", "2"]
    before = said(home, "1")
    target.rollback("co2", expected=ledger.release("co2").fence, reason="bad live", actor="person")
    again = ledger.history("co2", "cleared")[-1]
    assert (again.version, again.payload["by"]) == ("1", "person")
    assert said(home, "1").sequence == again.sequence > before.sequence
    assert target.reconcile() == []


CUT_OFF = """
import os, signal, sys
from pathlib import Path
from serving.deploy import LocalTarget
from serving.trust import statement
from tests.serving import stand_in
stand_in.allow()
statement.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
LocalTarget(Path(sys.argv[1])).release("co2", 2, expected="1", reason="better")
"""


def test_a_crash_between_the_record_and_the_statement(home: Path, clearance: Clearance):
    """Killed -9 after the version was cleared and before its statement was sealed: the one before serves, and asking again ends it."""
    target = LocalTarget(home)
    target.release("co2", 1, expected=None, reason="the first")
    found = subprocess.run([sys.executable, "-c", CUT_OFF, str(home)], check=False, cwd=ROOT, env=os.environ)
    assert found.returncode == -signal.SIGKILL
    assert [one.version for one in Ledger.at(home).history("co2", "cleared")] == ["1", "2"]
    assert not (home / "models" / "co2" / "2.release").exists()
    target.reconcile()
    assert served(home) == "1"
    target.release("co2", 2, expected="1", reason="better")
    assert [one.version for one in Ledger.at(home).history("co2", "cleared")] == ["1", "2"]  # the same record
    assert said(home, "2").sequence == Ledger.at(home).history("co2", "cleared")[-1].sequence
    assert routes.read(home)["co2"].version == "2"


def test_a_check_changes_nothing(home: Path, clearance: Clearance):
    """What a server would refuse is said without anything being made."""
    give(clearance, "1")
    with pytest.raises(Untrusted, match=r"1\.release is missing"):
        clearance.verify("co2", "1")
    assert not (home / "models" / "co2" / "1.release").exists()
