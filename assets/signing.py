"""Signatures of models: made once for the same bytes, as a candidate; a registered version gets the same one, V.sig beside its folder.

Signed is only what has the digest that the caller names. What a signature is worth is asked by the model server (serving/trust).
"""

from __future__ import annotations

import logging
from pathlib import Path

from assets.platform import Platform
from data.errors import UserError
from data.files import tree_digest, write_atomically
from data.places import Places
from serving.ledger import Decision, Ledger
from serving.trust import keys, signature, verification
from serving.trust.refusal import Untrusted

log = logging.getLogger("aiprime.signing")


def candidate(places: Places, workload: str, folder: Path, digest: str) -> Path:
    """The signature of a folder that is to be tried: of its files as they are, for a scratch server only.

    UserError where the folder is not what `digest` names.
    """
    file = places.home / "gate" / workload / f"{digest}.sig"
    if not _holds(places, folder, file):
        _sign(places, folder, digest, file)
    return file


def version(places: Places, workload: str, number: str, digest: str) -> None:
    """A registered version's V.sig, where it is missing: the candidate's, or one that is made now.

    One that is there is left alone, for whoever put another one there must be found out. UserError as `candidate`.
    """
    folder = places.models(workload, number)
    if not (file := signature.beside(folder)).exists():
        write_atomically(file, candidate(places, workload, folder, digest).read_bytes())


def opened(places: Places, workload: str, number: str) -> Path:
    """A registered version's folder, to be loaded by whoever judges it: signed by a trusted key, and the very bytes that were registered.

    Untrusted (a UserError) else, before anything of it is parsed.
    """
    folder = places.models(workload, number)
    registered = [one for one in Ledger.at(places.home).history(workload, "registered") if one.version == number]
    if not registered:
        raise Untrusted(f"{workload}: version {number} was never registered", where=folder)
    found, wanted = verification.candidate(folder, keys.accepted(places.home)).digest, registered[-1].payload["model_digest"]
    if found != wanted:
        what = f"{workload}: version {number} is not what was registered: {found[:12]} instead of {wanted[:12]}"
        raise Untrusted(what, where=folder)
    return folder


def missing(places: Places) -> list[str]:
    """Sign every registered version that has no signature and whose files are what the ledger says; a line for each, also where not."""
    ledger, done = Ledger.at(places.home), []
    for workload in ledger.workloads():
        for one in {one.version: one for one in ledger.history(workload, "registered")}.values():
            done += _signed(places, one)
    return done


def adopt(platform: Platform) -> list[str]:
    """... and clear what serves: for states from before there were signatures. Doing it again changes nothing."""
    done, ledger, clearance = missing(platform.places), platform.ledger, platform.deployment().clearance
    for workload in ledger.workloads():
        release = ledger.release(workload)
        for serves in filter(None, (release.champion, release.challenger)):
            if clearance.current(workload, serves) is None:
                reason = "it served before there were signatures"
                try:
                    clearance.give(workload, serves, reason=reason, actor="aiprime", by="migration")
                    done.append(f"{workload}: version {serves} cleared: {reason}")
                except UserError as error:
                    done.append(f"{workload}: version {serves} cannot be cleared: {error.what}")
    return done


def verify(places: Places) -> list[str]:
    """Why what serves would not be loaded again; a line for each version, none where all is well."""
    from serving.deploy import LocalTarget

    ledger, found = Ledger.at(places.home), []
    for workload in ledger.workloads():
        release = ledger.release(workload)
        for serves in filter(None, (release.champion, release.challenger)):
            try:
                LocalTarget(places.home, ledger).clearance.verify(workload, serves)
            except UserError as error:
                found.append(f"{workload}: version {serves}: {error.what} ({error.where})")
    return found


def _signed(places: Places, registered: Decision) -> list[str]:
    folder, digest = places.models(registered.workload, registered.version), registered.payload.get("model_digest")
    if not folder.is_dir() or not digest or signature.beside(folder).exists():  # gc took its files; or it is signed
        return []
    try:
        version(places, registered.workload, registered.version, digest)
    except UserError as error:
        return [f"{registered.workload}: version {registered.version} cannot be signed: {error.what}"]
    return [f"{registered.workload}: version {registered.version} signed"]


def _holds(places: Places, folder: Path, file: Path) -> bool:
    """Whether a candidate's signature is there and still good: the key may have changed since."""
    try:
        verification.candidate(folder, keys.accepted(places.home), file)
    except Untrusted:
        return False
    return True


def _sign(places: Places, folder: Path, digest: str, file: Path) -> None:
    from training import signing

    if (found := tree_digest(folder)) != digest:
        what = f"the model's files are not the ones that were judged: {found[:12]} instead of {digest[:12]}"
        raise UserError(what, where=str(folder), next_step="restore the folder from a backup, or register the model again")
    write_atomically(file, signing.sign(folder, keys.signing(places.home).file))
    log.info("signed %s", folder)
