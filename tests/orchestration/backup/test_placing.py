"""A home is replaced while nobody uses it, and one that a restore was cut off over is not begun anew."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.places import Places
from orchestration import opening, whole_state
from orchestration.backup import placing, restoring
from orchestration.backup.restoring import restore
from orchestration.backup.taking import backup
from serving.ledger import Ledger


@pytest.fixture(autouse=True)
def here(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is in that project, with that home."""
    monkeypatch.setenv("AIPRIME_HOME", str(places.home))
    monkeypatch.chdir(places.root)


@contextmanager
def leased(places: Places, name: str) -> Iterator[None]:
    """The lease as another process has it."""
    file = places.home / "locks" / f"{name}.lock"
    file.parent.mkdir(exist_ok=True)
    with file.open("a+") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        opened.write('{"pid": 1, "run": "nightly"}')
        opened.flush()
        yield


@pytest.mark.parametrize(
    ("name", "said"),
    [("co2", "co2 is being run by another process"), ("gone", "gone is being run"), ("whole-state", "being taken")],
)
def test_a_home_that_is_written_to_is_not_replaced(places: Places, kept: Path, name: str, said: str) -> None:
    """A run, also of a workload that this clone does not have, and a backup that go on keep their home; who it is, is said."""
    backup(places, kept)
    with leased(places, name), pytest.raises(UserError, match=said) as raised:
        restore(places, kept, replace=True)
    assert "nightly" in str(raised.value)
    assert placing.asides(places.home) == []
    restore(places, kept, replace=True)
    assert len(placing.asides(places.home)) == 1


def test_nobody_runs_or_keeps_while_it_is_replaced(places: Places, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it copies, the old home's leases are held; once it is in its place, the whole state is held until the restore ends."""
    backup(places, kept)
    code = (
        "import sys; from pathlib import Path; from assets import lease\n"
        "for name in ('whole-state', 'co2'):\n    print(lease.busy(Path(sys.argv[1]), name))"
    )
    seen: list[list[str]] = []

    def look(of: Any) -> Any:
        def looked(*given: Any) -> Any:
            command = [sys.executable, "-c", code, str(places.home)]
            seen.append(subprocess.run(command, cwd=places.root, capture_output=True, text=True, check=True).stdout.split())
            return of(*given)

        return looked

    monkeypatch.setattr(restoring, "_copy", look(restoring._copy))
    monkeypatch.setattr(restoring, "_project", look(restoring._project))
    restore(places, kept, replace=True)
    assert seen == [["True", "True"], ["True", "False"]]
    with whole_state.held(places, "test"):
        pass


def test_between_the_renames_no_new_home_is_begun(places: Places, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two renames, `aiprime up` refuses and says both ways out; each of them leads out."""
    backup(places, kept)

    class Killed(BaseException):
        pass

    rename = Path.rename

    def dies(self: Path, target: Path) -> Path:
        if target == places.home:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", dies)
        with pytest.raises(Killed):
            restore(places, kept, replace=True)
    [aside] = placing.asides(places.home)
    with pytest.raises(UserError, match="a restore was cut off") as raised:
        opening.prepare(places)
    assert not places.home.exists()
    assert "aiprime restore BACKUP finishes it" in str(raised.value)
    command = str(raised.value).partition("before: ")[2].partition(";")[0]
    subprocess.run(command, shell=True, check=True)
    opening.prepare(places)
    assert Ledger.at(places.home).release("co2").champion == "1"
    places.home.rename(aside)
    restore(places, kept)
    opening.prepare(places)


def test_a_cut_off_copy_is_said_and_cleared_away(places: Places, kept: Path) -> None:
    """Killed while it copied over nothing, no new home is begun unasked; the next restore clears what was left, but not what is going on."""
    backup(places, kept)
    shutil.rmtree(places.home)
    left, going_on = (places.home.with_name(f".{places.home.name}.restoring-{name}") for name in ("left", "now"))
    left.mkdir()
    (left / "keys").write_text("private")
    with pytest.raises(UserError, match="cut off, or is going on") as raised:
        opening.prepare(places)
    assert f"rm -r {left}" in str(raised.value)
    going_on.mkdir()
    with placing._locked(going_on):
        restore(places, kept)
    assert not left.exists()
    assert going_on.exists()


def test_an_error_at_the_last_rename_leaves_the_home_where_it_was(
    places: Places, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new home cannot come into its place, the old one is in it, under its own name."""
    backup(places, kept)
    before, rename = places.home.stat().st_ino, Path.rename

    def fails(self: Path, target: Path) -> Path:
        if target == places.home and self.name == "home" and ".restoring-" in str(self):
            raise OSError("not here")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="not here"):
        restore(places, kept, replace=True)
    assert places.home.stat().st_ino == before
    assert placing.asides(places.home) == []


def test_a_state_beside_old_ones_is_used(places: Places, kept: Path) -> None:
    """What restores of before have put beside a home keeps nobody from using it."""
    backup(places, kept)
    restore(places, kept, replace=True)
    assert len(placing.asides(places.home)) == 1
    opening.prepare(places)
