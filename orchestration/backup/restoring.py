"""`aiprime restore`: a backup becomes the AIPRIME_HOME again, whole or not at all.

Everything is checked, copied beside the home, checked again and made durable before one rename puts it into its place, and what was forgotten
since is listed in it by then. Nothing of what was there before is deleted: it lies beside, under another name.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assets import lease
from data import infer, state, versions
from data.errors import UserError
from data.files import sha256, synced, write_atomically
from data.places import Places
from orchestration import sealing, whole_state
from orchestration.backup import chains, erasures, manifest, placing, receipts, signature
from orchestration.backup.manifest import HOME, PROJECT, Manifest
from orchestration.backup.relocating import relocate
from orchestration.backup.signature import Trust, Voucher
from serving import snapshot
from serving.ledger import Ledger
from serving.supervision import Supervisor

_LOCK = "dvc.lock"


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore came to."""

    backup: Path
    manifest: Manifest
    aside: Path | None  # the home that was there before
    notes: tuple[str, ...]  # what a person should know or do
    forgotten: int  # receipts of erasures that were applied again
    seconds: float


def restore(
    places: Places,
    source: Path,
    *,
    replace: bool = False,
    receipts_from: Path | None = None,
    trust: Trust | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Put a backup (or the newest of a folder of backups) into the place of AIPRIME_HOME.

    UserError, and nothing changed, where nobody that is trusted vouches for the backup, it is damaged or of a newer version, processes or
    runs of this home go on, a receipt does not hold, or there is a state already and `replace` is not given. `receipts_from` holds receipts
    of erasures that came after the backup; those beside it, and those of the home that is replaced, are found. `trust` is what a person
    says of the backup. Where the home is in its place and something failed afterwards, the error says so.
    """
    began, at = time.perf_counter(), datetime.now(UTC)
    folder = manifest.newest(source.expanduser().resolve())
    told(f"looking through {folder}")
    by = signature.voucher(folder, places.home, trust)
    found = manifest.verify(folder, by.manifest)
    _checked(places, found, replace)
    with ExitStack() as whole:
        with _still(places), placing.beside(places.home) as temporary:
            later = _later_receipts(places, found, folder, receipts_from)
            told(f"{len(found.files):,} files hold; copying {found.size / 1e6:,.1f} MB")
            made = temporary / "home"
            _copy(folder, found, made)
            relocate(made)
            _hold(made)
            erasures.keep(made, later)
            _checked(places, found, replace)  # copying takes its time
            if url := snapshot.elsewhere():
                snapshot.pour_in(made, url)
                for name in snapshot.DATABASES:
                    (made / name).unlink()
            whole.enter_context(whole_state.held(Places(root=places.root, home=made), "restore"))  # and so it is in its place
            aside = placing.in_place(made, places.home, at)
        try:
            notes, forgotten = _finish(places, folder, found, by, at)
        except UserError as error:
            step = f"{error.next_step}; aiprime up forgets again what is still due before it starts anything".removeprefix("; ")
            raise UserError(f"the backup is in its place, and then: {error.what}", where=error.where, next_step=step) from error
    return Restored(
        backup=folder,
        manifest=found,
        aside=aside,
        notes=tuple(notes if by.note is None else [*notes, by.note]),
        forgotten=forgotten,
        seconds=time.perf_counter() - began,
    )


def _finish(places: Places, folder: Path, found: Manifest, by: Voucher, at: datetime) -> tuple[list[str], int]:
    """What needs the home in its place: what a person should know, and how many receipts were applied again."""
    notes = _project(places, folder, at)
    if not folder.parent.name.startswith("."):
        receipts.note_destination(places.home, folder.parent)
    _told(places, found, by)
    notes += sealing.seal(places)
    return notes, erasures.again(places)


@contextmanager
def _still(places: Places) -> Iterator[None]:
    """Nobody runs a workload of the home that is replaced, or copies or deletes its files. UserError names who does."""
    if not places.home.is_dir() or not any(places.home.iterdir()):
        yield
        return
    with ExitStack() as held:
        held.enter_context(whole_state.held(places, "restore"))
        names = {file.parent.name for file in places.workloads.glob("*/defs.yaml")}
        names |= {file.stem for file in (places.home / "locks").glob("*.lock")}
        for name in sorted(names):
            held.enter_context(lease.within(places.home, name, "restore"))
        yield


def _checked(places: Places, found: Manifest, replace: bool) -> None:
    """UserError where this backup may not become this home now."""
    if found.schema > state.VERSION:
        what = f"the backup is of version {found.schema}; this AI Prime knows up to {state.VERSION}"
        raise UserError(what, where=found.name, next_step="use the AI Prime that took it; nothing was changed")
    if places.home.is_symlink() or places.home.is_mount():
        step = "name a folder in it as AIPRIME_HOME: one rename puts a whole home into its place"
        raise UserError("the home is a mount point or a link", where=str(places.home), next_step=step)
    if Supervisor(places.home).alive():
        raise UserError("processes of this home run", where=str(places.home), next_step="aiprime down, then restore")
    if places.home.is_dir() and any(places.home.iterdir()) and not replace:
        step = "--replace puts the backup into its place and keeps what is there beside it; or name another AIPRIME_HOME"
        raise UserError("there is a state already", where=str(places.home), next_step=step)
    if url := snapshot.elsewhere():
        snapshot.refuse_full(url)
    lock = places.root / _LOCK
    kept = next((one for one in found.of(PROJECT) if one.path == f"{PROJECT}/{_LOCK}"), None)
    if lock.is_file() and kept and sha256(lock) != kept.sha256 and not replace:
        step = "--replace puts the backup's into its place and keeps this one beside it; or delete it"
        raise UserError("the project has another dvc.lock", where=str(lock), next_step=step)


def _copy(folder: Path, found: Manifest, made: Path) -> None:
    """The home's files, hashed again as they lie there: a disk may lie about what it was given."""
    bad = []
    for one in found.of(HOME):
        target = made / one.path.removeprefix(f"{HOME}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / one.path, target)
        if said := manifest.differs(one, target):
            bad.append(f"copied, {said}")
        target.chmod(one.mode)
        synced(target)
    manifest.refuse(folder, bad)
    if (keys := made / "keys").is_dir():
        keys.chmod(0o700)


def _hold(made: Path) -> None:
    """UserError where a chain of the copy is broken: a home is not begun with that."""
    for name, said in chains.broken(made).items():
        what = f"the chain of the {name} in the backup is {said}"
        raise UserError(what, next_step="restore an older backup; nothing was changed")


def _project(places: Places, folder: Path, at: datetime) -> list[str]:
    """dvc.lock and what it names, and workloads that are missing here; what is otherwise than it was then, in sentences."""
    notes = []
    lock, kept = places.root / _LOCK, folder / PROJECT / _LOCK
    if kept.is_file():
        if lock.is_file() and lock.read_bytes() != kept.read_bytes():
            aside = lock.with_name(f"{_LOCK}.before-{at:%Y%m%dT%H%M%SZ}")
            lock.rename(aside)
            notes.append(f"the project's {_LOCK} is the backup's now; what it was lies beside it as {aside.name}")
        write_atomically(lock, kept.read_bytes())
    for file in sorted((folder / PROJECT / "orchestration" / "workloads").glob("*/defs.yaml")):
        notes += _workload(places, file)
    versions.initialise(places.root, places.home)
    if kept.is_file():
        missing = versions.checkout(places.root)
        notes += [f"{path} is not in the DVC cache of the backup: aiprime run makes it again" for path in missing]
    return notes


def _told(places: Places, found: Manifest, by: Voucher) -> None:
    """Put on record what happened."""
    ledger = Ledger.at(places.home)
    for workload in ledger.workloads():
        champion = ledger.release(workload).champion or ""
        payload = {"backup": found.name, "taken": found.begun, "decision": found.ends.decisions[0], "reason": "aiprime restore"}
        payload |= {"signed_by": by.key, "key_was_known": by.known}
        ledger.record("restored", workload, champion, payload, actor="person")


def _workload(places: Places, kept: Path) -> list[str]:
    """Bring a workload back that this project does not have; a text that differs is the project's own, and stays."""
    name = kept.parent.name
    ours = places.defs(name)
    if not ours.is_file():
        from assets.spec import read

        write_atomically(ours, kept.read_bytes())
        infer.register(places.root, name, read(ours).family)
        return [f"the workload {name} is back: {ours.relative_to(places.root)}"]
    if ours.read_bytes() != kept.read_bytes():
        return [f"{ours.relative_to(places.root)} is another one than then, and stays; the backup's: {kept}"]
    return []


def _later_receipts(places: Places, found: Manifest, folder: Path, named: Path | None) -> dict[str, Path]:
    """Receipts of erasures that came after the backup, by name: where they lie."""
    if named is not None and not named.is_dir():
        step = "name the folder that receipts were carried to; nothing was changed"
        raise UserError("there is no such folder of receipts", where=str(named), next_step=step)
    before = (
        [places.home] if places.home.is_dir() else placing.asides(places.home)[-1:]
    )  # a restore that was cut off put it there
    folders = [folder.parent / receipts.FOLDER, *(home / receipts.FOLDER for home in before), *filter(None, [named])]
    of_then = {Path(one.path).name for one in found.of(HOME) if one.path.startswith(f"{HOME}/{receipts.FOLDER}/")}
    later = {file.name: file for place in folders for file in sorted(place.glob("*.json")) if file.name not in of_then}
    if later:
        erasures.refuse_another(places)
    return later
