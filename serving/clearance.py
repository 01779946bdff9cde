"""Which versions may be released: the ledger's `cleared` records, the statements that are sealed from them, and how servers are told.

The record comes first, and the statement can be made again from it at any time: whatever is cut off between them, the next start seals it.
A statement that no trusted key sealed, or that is of other bytes, is left for the server to refuse.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from data.errors import UserError
from serving import manifests, registered
from serving.ledger import Decision, Ledger
from serving.trust import arguments, keys, statement, verification
from serving.trust.refusal import Untrusted
from serving.trust.statement import Statement


class Clearance:
    """The clearances of one AIPRIME_HOME."""

    def __init__(self, home: Path, ledger: Ledger) -> None:
        self._home, self._ledger = home, ledger

    def current(self, workload: str, version: str) -> Decision | None:
        """The newest record that cleared a version; None where none did."""
        found = (one for one in reversed(self._ledger.history(workload, "cleared")) if one.version == version)
        return next(found, None)

    def give(self, workload: str, version: str, *, reason: str, actor: str, by: str | None = None) -> Decision:
        """Put on record that a registered version may serve; what serves by such a record already keeps it.

        UserError where it was never registered with these bytes and this manifest, or was refused by the gate and no person ever cleared it.
        """
        release, known = self._ledger.release(workload), self.current(workload, version)
        file = manifests.file(self._home, workload, version)
        told, manifest = _read(file)
        digest = manifests.argument(told, "--digest")
        if known is not None and version in {release.champion, release.challenger} and known.payload["manifest"] == manifest:
            return known
        record = next((d for d in reversed(self._ledger.history(workload, "registered")) if d.version == version), None)
        if record is None or record.payload.get("model_digest") != digest:
            what = f"{workload}: version {version} was never registered with the bytes that its manifest names"
            raise Untrusted(what, where=file)
        registered.same(file, told, manifest, record)
        if known is None and actor != "person" and by is None and not record.payload.get("passed"):
            what = f"{workload}: version {version} was not passed by the gate"
            raise UserError(what, next_step="a person may: aiprime release promote --override")
        payload = {
            "digest": digest,
            "manifest": manifest,
            "key": keys.signing(self._home).public.id,
            "reason": reason,
            "by": by or ("person" if actor == "person" else "gate"),
        }
        key = f"cleared:{workload}:{version}:{release.fence}:{manifest[:12]}"
        return self._ledger.record("cleared", workload, version, payload, actor=actor, key=key)

    def manifest(self, workload: str, version: str) -> dict[str, Any]:
        """A cleared version's manifest, to be started: it names the trusted keys and the record, and the statement lies there.

        UserError where the version has no manifest, was never cleared, or was cleared with another manifest.
        """
        manifest, said = self._cleared(workload, version)
        self._state(_folder(manifest), said)
        return manifests.with_arguments(manifest, arguments.release(said.sequence, keys.trusted(self._home)))

    def verify(self, workload: str, version: str) -> None:
        """Check what a server of the version would check; changes nothing. UserError where it would not start."""
        manifest, said = self._cleared(workload, version)
        verification.released(_folder(manifest), keys.accepted(self._home), said)

    def candidate(self, manifest: dict[str, Any], signature: Path | None) -> dict[str, Any]:
        """A manifest for a scratch server: it loads what is signed, and need not be released."""
        registered.plain(manifest, manifests.workload_of(manifest))
        return manifests.with_arguments(manifest, arguments.candidate(signature, keys.trusted(self._home)))

    def _cleared(self, workload: str, version: str) -> tuple[dict[str, Any], Statement]:
        file = manifests.file(self._home, workload, version)
        (manifest, content), cleared = _read(file), self.current(workload, version)
        if cleared is None:
            step = "aiprime up clears what served before there were signatures; aiprime release promote clears a version"
            raise Untrusted(f"{workload}: version {version} was never cleared to serve", where=file, next_step=step)
        if cleared.payload["manifest"] != content:
            raise Untrusted(f"{workload}: the manifest of version {version} is not the one that was cleared", where=file)
        digest = cleared.payload["digest"]
        return manifest, Statement(workload=workload, version=version, digest=digest, sequence=cleared.sequence)

    def _state(self, folder: Path, wanted: Statement) -> None:
        """Have the statement lie beside the folder, where it is missing or names an older or newer record of the same bytes."""
        file = statement.beside(folder)
        if file.exists() or file.is_symlink():
            try:
                found = statement.read(file, keys.accepted(self._home))
            except Untrusted:
                return
            if found == wanted or replace(found, sequence=wanted.sequence) != wanted:
                return
        statement.write(file, wanted, keys.signing(self._home))


def _folder(manifest: dict[str, Any]) -> Path:
    return Path(manifests.argument(manifest, "--model_dir"))


def _read(file: Path) -> tuple[dict[str, Any], str]:
    """A manifest that says nothing of its own, and SHA-256 (hex) of its bytes."""
    manifest, content = manifests.hashed(file)
    registered.plain(manifest, file)
    return manifest, content
