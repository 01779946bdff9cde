"""What is done with a home before anything is started on it: looked at, and brought to this version.

A damaged database, or a chain that lost records, starts nothing. An older state is backed up first, then each step is taken once more if
it was cut off; a newer one is left alone. What a restore that was cut off did not forget again is forgotten; one that left no home is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data import state
from data.errors import UserError
from data.places import Places
from orchestration import databases
from serving import noted
from serving.ledger import Ledger

if TYPE_CHECKING:
    from assets.platform import Platform

log = logging.getLogger("aiprime.up")
BACKUPS = "AIPRIME_BACKUPS"  # where a state is kept before it is migrated


@dataclass(frozen=True, kw_only=True)
class Step:
    """From the version before `to` to it. `act` may be done again, also where it was cut off; it says what it did."""

    to: int
    said: str
    act: Callable[[Platform], list[str]]


def _sign(platform: Platform) -> list[str]:
    from assets import signing
    from orchestration import sealing
    from orchestration.backup import relocating

    relocating.anchor(platform.places.home)  # a cleared manifest is never changed again
    return [*signing.adopt(platform), *sealing.seal(platform.places)]


STEPS = (Step(to=2, said="what it registered itself is signed, what serves is cleared", act=_sign),)


def prepare(places: Places) -> None:
    """Begin a new home, migrate an older one, and look whether it may be used. UserError where it may not; then nothing was started."""
    state.refuse_newer(places.home)
    if state.version(places.home) is None:
        from orchestration.backup import placing

        placing.refuse_unfinished(places.home)
        state.begin(places.home)
        return
    databases.refuse_damaged(places.home)
    noted.refuse_lost(places.home)
    forget_again(places)
    migrate(places)


def forget_again(places: Places) -> None:
    """Apply the receipts of erasures that were not applied to this home: a restore was cut off before it did."""
    if not any((places.home / "receipts").glob("*.json")):
        return
    from orchestration import whole_state
    from orchestration.backup import erasures

    if not erasures.due(places):
        return
    with whole_state.held(places, "forget"):
        log.info("%s erasures were applied again", erasures.again(places))


def migrate(places: Places, steps: tuple[Step, ...] = STEPS) -> list[int]:
    """Bring an older state to this version, a backup first; the versions that it came through."""
    begun = state.version(places.home) or state.VERSION
    due = sorted((step for step in steps if step.to > begun), key=lambda step: step.to)
    if not due:
        return []
    log.info("the state is of version %s, this AI Prime's is %s", begun, state.VERSION)
    kept = _kept(places, begun)
    from assets.platform import Platform

    platform = Platform()
    if platform.places != places:
        raise RuntimeError(f"{places.home} is not the home of the project in which this is called")
    for step in due:
        for line in step.act(platform):
            log.info("%s", line)
        _record(places, step, kept)
        state.write(places.home, step.to)
        log.info("now of version %s: %s", step.to, step.said)
    return [step.to for step in due]


def backups(places: Places) -> Path:
    """Where a state is kept before it is changed: AIPRIME_BACKUPS, else beside the home."""
    named = places.setting(BACKUPS)
    return Path(named).expanduser().resolve() if named else places.home.with_name(f"{places.home.name}-backups")


def _kept(places: Places, version: int) -> str:
    """The name of the backup of the state as it was; one that was taken before the migration was cut off is that."""
    from orchestration.backup import manifest, taking

    for folder in reversed(manifest.finished(backups(places))):
        try:
            found = manifest.ours(folder, places.home)
        except UserError as error:
            log.warning("the backup %s is passed over: %s; aiprime verify %s says more", folder, error.what, folder)
            continue
        if found.schema == version and found.home == str(places.home) and not _newer(places, found.ends.decisions[0]):
            return found.name
    try:
        taken = taking.backup(places, backups(places), told=lambda said: log.info("backup: %s", said))
    except UserError as error:
        step = f"mend that, or name a folder with room as {BACKUPS}; an older state is not changed without a backup"
        raise UserError(error.what, where=str(backups(places)), next_step=step) from error
    log.info("the state as it was: %s", taken.folder)
    return taken.folder.name


def _newer(places: Places, decision: int) -> bool:
    """Whether more was decided since than a migration does: its own records are of it."""
    return any(one.sequence > decision and one.kind not in {"cleared", "migrated"} for one in Ledger.at(places.home).history())


def _record(places: Places, step: Step, kept: str) -> None:
    ledger = Ledger.at(places.home)
    for workload in ledger.workloads():
        payload = {"from": step.to - 1, "to": step.to, "backup": kept, "reason": step.said}
        champion = ledger.release(workload).champion or ""
        ledger.record("migrated", workload, champion, payload, key=f"migrated:{workload}:{step.to}")
