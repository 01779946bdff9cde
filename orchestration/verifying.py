"""`aiprime verify`: whether all of the state is whole. Reads every byte of what it vouches for, changes nothing, repairs nothing.

Each thing is one line; what is bad names the file, and what to do. A part that was not looked at says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from data import objects, state
from data.errors import UserError
from data.files import tree_digest
from data.places import Places
from orchestration import databases
from orchestration.backup import chains, manifest, receipts, signature
from orchestration.backup.signature import Trust
from orchestration.findings import Finding
from serving import manifests, noted, snapshot
from serving.ledger import Decision, Ledger
from serving.records import Records
from serving.trust.keys import short

_RESTORE = "aiprime restore BACKUP"
_SHOWN = 10


def everything(places: Places) -> list[Finding]:
    """Look at all there is; a part that cannot be looked at is bad, and does not keep the others from it."""
    if not places.home.is_dir():
        return [Finding("state", "note", f"{places.home} does not exist yet: make run")]
    parts: list[Callable[[Places], Iterator[Finding]]] = [
        *(_schema, _databases, _decisions, _records, _crosswise, _backups),
        *(_models, _signatures, _data, _tracking, _keys),
    ]
    return [finding for part in parts for finding in _looked(part, places)]


def of_backup(folder: Path, home: Path, trust: Trust | None = None) -> list[Finding]:
    """Look at a backup: who vouches for it, by the keys of `home` or what a person says, every file by its digest, then its chains."""
    try:
        chosen = manifest.newest(folder)
        by = signature.voucher(chosen, home, trust)
        found = manifest.verify(chosen, by.manifest)
    except UserError as error:
        return [Finding("backup", "bad", str(error))]
    findings = [
        Finding("signature", "note", by.note) if by.note else Finding("signature", "good", f"of the key {short(by.key or '')}"),
        Finding("backup", "good", f"{chosen}: {len(found.files):,} files, {found.size / 1e6:,.1f} MB, all as they were"),
    ]
    home = chosen / manifest.HOME
    said = {name: databases.damage(home / name, read_only=True) for name in snapshot.DATABASES}
    findings += [Finding(name, "bad" if bad else "good", bad or "holds") for name, bad in said.items()]
    if any(said.values()):
        return [*findings, Finding("chains", "bad", "not looked at: a database is damaged")]
    broken = chains.broken_in(home)
    for name in ("ledger", "records"):
        bad = broken.get(name)
        findings.append(Finding(f"{name}'s chain", "bad" if bad else "good", bad or "holds, to the end that was noted"))
    return findings


def _looked(part: Callable[[Places], Iterator[Finding]], places: Places) -> list[Finding]:
    try:
        return list(part(places))
    except (UserError, OSError, ValueError) as error:
        name = part.__name__.strip("_")
        return [Finding(name, "bad", f"cannot be looked at: {error}")]


def _schema(places: Places) -> Iterator[Finding]:
    found = state.version(places.home)
    if found is None:
        yield Finding("state", "note", "nothing was decided yet: aiprime run NAME")
    elif found > state.VERSION:
        yield Finding(
            "state", "bad", f"of version {found}; this AI Prime knows up to {state.VERSION}: use the one that wrote it"
        )
    else:
        behind = found < state.VERSION
        yield Finding(
            "state", "note" if behind else "good", f"of version {found}" + (": aiprime up brings it to ours" if behind else "")
        )


def _databases(places: Places) -> Iterator[Finding]:
    files = databases.of(places.home)
    bad = [f"{file}: {said}" for file in files if (said := _damage(file))]
    yield _all("databases", f"{len(files)} SQLite files hold", bad, _RESTORE)


def _damage(file: Path) -> str | None:
    try:
        return databases.damage(file)
    except TimeoutError as error:
        return f"could not be looked at, ask again: {error}"


def _decisions(places: Places) -> Iterator[Finding]:
    lost = [one for one in noted.lost(places.home) if one.startswith(snapshot.LEDGER)]
    if lost or not (snapshot.elsewhere() or (places.home / snapshot.LEDGER).is_file()):
        yield _all("decisions", "none yet", lost, _RESTORE)
        return
    ledger = Ledger.at(places.home)
    broken = ledger.verify()
    bad = [f"the chain is broken at {broken.sequence}: {broken.what}"] if broken else []
    yield _all(
        "decisions",
        "the chain holds" if broken else f"the chain holds: {ledger.newest():,} decisions, to the end that was noted",
        bad,
        _RESTORE,
    )


def _records(places: Places) -> Iterator[Finding]:
    lost = [one for one in noted.lost(places.home) if one.startswith(snapshot.RECORDS)]
    if lost or not (snapshot.elsewhere() or (places.home / snapshot.RECORDS).is_file()):
        yield _all("records", "none yet", lost, _RESTORE)
        return
    records = Records.at(places.home)
    broken = records.verify()
    bad = [f"a chain is broken at {broken.sequence}: {broken.what}"] if broken else []
    held = None if broken else records.bounds()
    yield _all(
        "records", f"both chains hold: {held.predictions:,} predictions, {held.labels:,} labels" if held else "", bad, _RESTORE
    )


def _crosswise(places: Places) -> Iterator[Finding]:
    """What the records name was decided on, and what was promoted was registered before."""
    if not (snapshot.elsewhere() or (places.home / snapshot.LEDGER).is_file()):
        return
    ledger, records = Ledger.at(places.home), Records.at(places.home)
    bad = []
    for workload in ledger.workloads():
        history = ledger.history(workload)
        registered = {one.version: one.sequence for one in reversed(history) if one.kind == "registered"}
        bad += [
            f"{workload}: version {one.version} was {one.kind} (decision {one.sequence}) and never registered before"
            for one in history
            if one.kind in {"promoted", "exposed"} and registered.get(one.version, one.sequence) >= one.sequence
        ]
        answered = {version for version, _ in records.traffic(workload, after=0)}
        bad += [
            f"{workload}: predictions of version {version}, which was never registered"
            for version in answered - set(registered)
        ]
    yield _all(
        "crosswise",
        "what answered was promoted, what was promoted was registered",
        bad,
        "aiprime release list shows what is known",
    )


def _backups(places: Places) -> Iterator[Finding]:
    """The chains still have the ends that their backups noted: who rewrote all that lies here did not rewrite those."""
    restored = Ledger.at(places.home).history(kind="restored")[-1:]
    known = [folder for place in receipts.destinations(places.home) for folder in _of_this_home(places, place, restored)[-1:]]
    if not known:
        yield Finding("backups", "note", "none is known here: aiprime backup FOLDER")
    for folder in known:
        try:
            by = signature.voucher(folder, places.home, Trust(unsigned=True))  # older ones are
            bad = noted.disagreements(places.home, vars(manifest.read(folder, by.manifest).ends))
        except UserError as error:
            yield _all("backups", "", [f"{folder}: {error.what}"], "aiprime backup FOLDER takes another one")
            continue
        said = f"the chains go on from {folder}" + ("" if by.key else ", which is not signed")
        yield _all("backups", said, bad, f"compare with {folder}; aiprime restore brings it back")


def _of_this_home(places: Places, destination: Path, restored: list[Decision]) -> list[Path]:
    """The backups whose ends this home must have: the one that it was restored from, and those that were taken of it since."""
    since = restored[-1] if restored else None
    found = []
    for folder in manifest.finished(destination):
        told = manifest.read(folder)
        taken_since = told.home == str(places.home) and (since is None or told.begun > since.at)
        if taken_since or (since is not None and told.name == since.payload["backup"]):
            found.append(folder)
    return found


def _models(places: Places) -> Iterator[Finding]:
    ledger, bad, held, freed, strange = Ledger.at(places.home), [], 0, 0, []
    for workload in ledger.workloads():
        release = ledger.release(workload)
        registered = {one.version: one for one in ledger.history(workload, "registered")}
        for version, one in registered.items():
            folder, digest = places.models(workload, version), str(one.payload["model_digest"])
            if not folder.is_dir():
                freed += 1
                if version in {release.champion, release.challenger, release.previous}:
                    bad.append(f"{workload} {version} serves, or may be gone back to, and its files are gone: {folder}")
                continue
            held += 1
            if (found := tree_digest(folder)) != digest:
                bad.append(
                    f"{workload} {version}: the files have the digest {found[:12]}, registered was {digest[:12]}: {folder}"
                )
            if manifests.argument(manifests.read(manifests.file(places.home, workload, version)), "--digest") != digest:
                bad.append(f"{workload} {version}: its manifest names another digest")
        strange += [f"{workload} {one}" for one in _folders(places.models(workload)) if one not in registered]
    said = f"{held} versions are the registered bytes" + (
        f"; {freed} older ones have no files any more (aiprime gc)" if freed else ""
    )
    yield _all("models", said, bad, _RESTORE)
    if strange:
        yield Finding("models", "note", f"not in the ledger, never served: {', '.join(strange)}")


def _folders(folder: Path) -> list[str]:
    return (
        sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")) if folder.is_dir() else []
    )


def _signatures(places: Places) -> Iterator[Finding]:
    if not (places.home / "keys").is_dir():
        yield Finding("signatures", "note", "not looked at: nothing was signed yet")
        return
    from assets import signing
    from serving.trust import keys, verification
    from serving.trust.refusal import Untrusted

    trusted, bad, held = keys.accepted(places.home), signing.verify(places), 0
    for file in sorted((places.home / "models").glob("*/*.sig")):
        if (folder := file.with_suffix("")).is_dir():
            try:
                verification.candidate(folder, trusted, file)
                held += 1
            except Untrusted as error:
                bad.append(f"{folder.parent.name} {folder.name}: {error.what}")
    yield _all(
        "signatures",
        f"{held} versions are signed by a trusted key, and what serves is released",
        bad,
        "restore the version, or go back (aiprime release rollback)",
    )


def _data(places: Places) -> Iterator[Finding]:
    """Every object of the cache and of a remote that is a folder here, hashed again: DVC would hand a damaged one out without a word."""
    for name in ("cache", "remote"):
        folder = places.home / "dvc" / name
        count, bad = objects.damaged(folder)
        if count or bad:
            said = f"{count:,} objects in the {name} have the hash that they are named by"
            yield _all("data", said, bad, f"delete it, then aiprime run makes it again; or {_RESTORE}")
    missing = objects.missing(places.root, places.home / "dvc" / "cache")
    yield _all("data", "what dvc.lock names is in the cache", missing, "aiprime run NAME makes it again; or dvc pull")


def _tracking(places: Places) -> Iterator[Finding]:
    import sqlite3

    from training import tracked_files

    try:
        count, bad = tracked_files.amiss(places.home / "mlflow")
    except sqlite3.DatabaseError as error:
        count, bad = 0, [f"mlflow.db cannot be read: {error}"]
    yield _all("mlflow", f"the files of {count} registered versions are there", bad, _RESTORE)


def _keys(places: Places) -> Iterator[Finding]:
    folder = places.home / "keys"
    if not folder.is_dir():
        yield Finding("keys", "note", "none yet")
        return
    private = [folder, *sorted(folder.glob("*.pem"))]
    bad = [
        f"{one} can be read by others (mode {one.stat().st_mode & 0o777:o})" for one in private if one.stat().st_mode & 0o077
    ]
    if not list(folder.glob("*.pem")) and not os.environ.get("AIPRIME_SIGNING_KEY"):
        bad.append(f"{folder} holds no signing key")
    yield _all(
        "keys",
        "only their owner can read them",
        bad,
        "chmod 700 the folder and 600 its *.pem; a key that is gone is in a backup",
    )


def _all(what: str, good: str, bad: list[str], step: str) -> Finding:
    if not bad:
        return Finding(what, "good", good)
    more = f"\nand {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return Finding(what, "bad", "\n".join(bad[:_SHOWN]) + more + f"\n  next:  {step}")
