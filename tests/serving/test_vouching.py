"""Who vouches for what serves, for whoever looks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data import forgotten
from serving.standing import plain, read
from serving.trust import keys, signature, statement
from serving.vouching import Vouched, who_vouches
from tests.serving.why.home import WORKLOAD, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path).sign().clear()


def look(home: Home, *, files: bool = False) -> Vouched:
    return who_vouches(home.home, home.ledger, WORKLOAD, "1", files=files)


@pytest.mark.parametrize("files", [False, True])
def test_key_time_and_who_cleared_it_are_told(home: Home, files: bool) -> None:
    """Of a signed and cleared version: the key's id, when it was cleared, by whom, and why."""
    found, cleared = look(home, files=files), home.ledger.latest(WORKLOAD, 1, ("cleared",))[0]
    assert found.well
    assert (found.key, found.at, found.by) == (keys.signing(home.home).public.id, cleared.at, "gate")
    assert (found.cleared, found.statement) == (cleared.sequence, cleared.sequence)
    assert found.said == (
        f"signed by the key {found.key[:12] if found.key else ''}; "
        f"cleared to serve on {cleared.at[:16].replace('T', ' ')} UTC by the gate: it passed"
    )


def test_what_is_missing_is_told(home: Home) -> None:
    """Without its signature, or its statement, or its clearing, a version is not vouched for, and the sentence says which."""
    signed, released = signature.beside(home.folder), statement.beside(home.folder)
    kept = signed.read_bytes()
    signed.unlink()
    assert (look(home).well, look(home).key) == (False, None)
    forged = json.loads(kept)
    forged["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
    signed.write_text(json.dumps(forged))
    assert look(home).said.startswith("its signature does not hold")
    signed.write_bytes(kept)
    released.unlink()
    assert (look(home).well, look(home).statement) == (False, None)
    assert "never cleared" in who_vouches(home.home, home.ledger, WORKLOAD, "2").said


def test_an_older_statement_is_told(home: Home) -> None:
    """A statement that names an earlier clearing than the ledger's newest is amiss."""
    older = statement.beside(home.folder).read_bytes()
    home.clear()
    statement.beside(home.folder).write_bytes(older)
    assert "newest clearing" in look(home).said


def test_a_changed_file_is_found_where_files_are_looked_at(home: Home) -> None:
    """The model's page checks the list's signature; the version's page hashes every file too."""
    (home.folder / "added.txt").write_text("x")
    assert look(home).well
    assert "added.txt" in look(home, files=True).said


def test_who_looks_makes_no_key(home: Home) -> None:
    """Where the secret of erasures is the only key, looking at a version says that there are none, and writes nothing."""
    kept = keys.folder(home.home)
    for file in kept.iterdir():
        file.unlink()
    forgotten.secret(home.home)
    assert "no keys" in look(home, files=True).said
    assert [file.name for file in kept.iterdir()] == ["forgetting.key"]


def test_the_standing_says_it(home: Home) -> None:
    """A model's standing, and its JSON, hold it; a home without keys has a champion that nobody signed."""
    one = read(home.ledger, home.records, WORKLOAD, home=home.home)
    assert one.vouched == look(home)
    assert plain(one)["vouched"]["well"] is True
    for file in keys.folder(home.home).iterdir():
        file.unlink()
    keys.folder(home.home).rmdir()
    assert "no keys" in plain(read(home.ledger, home.records, WORKLOAD, home=home.home))["vouched"]["said"]
    assert not keys.folder(home.home).exists()
