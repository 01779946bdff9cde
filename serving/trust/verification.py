"""The verdict on a model's folder, before anything of it is parsed: signed by a trusted key, unchanged, and the one that may serve.

Equal to model-signing's own verdict on the folder (a test holds them together), and stricter where the library leaves files out (`.git`,
`.gitignore`) or reads older forms. On top of it, what the library does not know: which version, which bytes, by which decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.files import digest_of, hashes
from serving.trust import signature, statement
from serving.trust.keys import PublicKey
from serving.trust.refusal import RESTORE, Untrusted
from serving.trust.statement import Statement


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A folder that may be loaded: its digest (data.files.tree_digest), and the id of the key that signed it."""

    digest: str
    key: str


def candidate(folder: Path, keys: Sequence[PublicKey], signed: Path | None = None) -> Verified:
    """The folder is what a trusted key signed, file by file; `signed` is the signature, FOLDER.sig where not given. Else Untrusted."""
    files, key = signature.read(signed or signature.beside(folder), keys)
    if folder.is_symlink() or not folder.is_dir():
        raise Untrusted(f"{folder.name} is no plain folder", where=folder)
    try:
        found = hashes(folder)
    except (OSError, ValueError) as error:  # a link, a pipe, a file that cannot be read, a name that is no text
        raise Untrusted(str(error), where=folder) from error
    amiss = [
        *(f"{name} is not the file that was signed" for name in sorted(found.keys() & files) if found[name] != files[name]),
        *(f"{name} is missing" for name in sorted(files.keys() - found)),
        *(f"{name} was added after it was signed" for name in sorted(found.keys() - files)),
    ]
    if amiss:
        more = f"; and {len(amiss) - 3} more" if len(amiss) > 3 else ""
        raise Untrusted(f"the model's files are not the signed ones: {'; '.join(amiss[:3])}{more}", where=folder)
    return Verified(digest=digest_of(found), key=key.id)


def released(folder: Path, keys: Sequence[PublicKey], expected: Statement) -> Verified:
    """... and FOLDER.release says that it may serve as what is `expected`: this version, these bytes, by this decision. Else Untrusted."""
    file = statement.beside(folder)
    said = statement.read(file, keys)
    for name in ("workload", "version", "sequence", "digest"):
        if (found := getattr(said, name)) != (wanted := getattr(expected, name)):
            what = f"its release statement is another one: it names {name} {found!r}, to be served is {wanted!r}"
            step = "aiprime up seals what the ledger says" if name == "sequence" else RESTORE
            raise Untrusted(what, where=file, next_step=step)
    verified = candidate(folder, keys)
    if verified.digest != said.digest:
        what = f"the model's files are not the ones that were asked for: {verified.digest} instead of {said.digest}"
        raise Untrusted(what, where=folder)
    return verified
