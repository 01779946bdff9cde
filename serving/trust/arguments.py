"""What a model server is told of trust on its command line, and the check that this makes. Nothing said is nothing trusted."""

from __future__ import annotations

import argparse
from pathlib import Path

from data.errors import UserError
from data.files import tree_digest
from serving.trust import keys, verification
from serving.trust.keys import short
from serving.trust.refusal import Untrusted
from serving.trust.statement import Statement


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments; without any the server refuses every folder."""
    told = parser.add_argument_group("trust", "which folders may be loaded; without these none")
    told.add_argument(
        "--trusted_keys",
        action="append",
        default=[],
        type=Path,
        metavar="PEM",
        help="public keys that may have signed (again for more)",
    )
    told.add_argument(
        "--sequence", type=int, help="the ledger's record by which this version serves; MODEL_DIR.release must name it"
    )
    told.add_argument(
        "--purpose", choices=("release", "candidate"), default="release", help="candidate: signed, not released yet"
    )
    told.add_argument("--signature", type=Path, metavar="FILE", help="a candidate's signature (default: MODEL_DIR.sig)")
    told.add_argument("--unsigned", action="store_true", help="for development and benchmarks: do not ask who made the model")


def candidate(signature: Path | None, trusted: tuple[Path, ...]) -> list[str]:
    """The words that let a scratch server load what was signed and not released."""
    signed = [] if signature is None else ["--signature", str(signature)]
    return ["--purpose", "candidate", *signed, *_trusted(trusted)]


def release(sequence: int, trusted: tuple[Path, ...]) -> list[str]:
    """The words that let a server load the version that the ledger's record cleared."""
    return ["--sequence", str(sequence), *_trusted(trusted)]


def check(options: argparse.Namespace) -> str:
    """Refuse (UserError) a folder that may not be loaded; else in a few words why it may. Nothing of it is parsed."""
    folder: Path = options.model_dir
    if not folder.is_dir():
        step = "give --model_dir an exported model's folder"
        raise UserError("there is no such model folder", where=str(folder), next_step=step)
    if options.unsigned:
        return _unsigned(folder, options.digest)
    if not options.trusted_keys:
        what = "no model is loaded whose origin nobody checks: no --trusted_keys were given"
        step = "let aiprime up start it; for development and benchmarks --unsigned serves any folder"
        raise UserError(what, where=str(folder), next_step=step)
    trusted = keys.read(options.trusted_keys)
    if options.purpose == "candidate":
        verified = verification.candidate(folder, trusted, options.signature)
        _same(folder, verified.digest, options.digest)
        return f"a candidate, signed by key {short(verified.key)}"
    if None in (options.version, options.digest, options.sequence):
        what = "which release is to be loaded was not said: --version, --digest and --sequence are wanted"
        raise UserError(
            what, where=str(folder), next_step="let aiprime up start it, or --purpose candidate for what is only signed"
        )
    named = {"workload": options.model_name, "version": options.version, "digest": options.digest}
    verified = verification.released(folder, trusted, Statement(**named, sequence=options.sequence))
    return f"released by decision {options.sequence}, signed by key {short(verified.key)}"


def _unsigned(folder: Path, digest: str | None) -> str:
    try:
        _same(folder, tree_digest(folder), digest)
    except (OSError, ValueError) as error:
        raise UserError(str(error), next_step="export the model again") from error
    return "unsigned: nobody checked where it comes from"


def _same(folder: Path, found: str, wanted: str | None) -> None:
    if wanted is not None and found != wanted:
        raise Untrusted(f"the model's files are not the ones that were asked for: {found} instead of {wanted}", where=folder)


def _trusted(files: tuple[Path, ...]) -> list[str]:
    return [word for file in files for word in ("--trusted_keys", str(file))]
