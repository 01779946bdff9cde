"""What `aiprime backup` and `aiprime restore` print."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from orchestration.backup.manifest import HOME
from orchestration.backup.restoring import Restored
from orchestration.backup.taking import Taken
from serving.trust.keys import short


def progress(said: str) -> None:
    """A line on the way, where a script does not read it."""
    print(f"  {said}", file=sys.stderr, flush=True)


def taken(one: Taken) -> dict[str, Any]:
    """A backup as plain values."""
    ends = asdict(one.manifest.ends)
    facts = {"folder": str(one.folder), "files": len(one.manifest.files), "bytes": one.manifest.size, "copied": one.copied}
    facts |= {"linked": one.linked, "seconds": one.seconds, "ends": ends, "gone": list(one.manifest.gone)}
    return facts | {"signed_by": one.signed_by, "passed_over": one.passed_over}


def taken_text(one: Taken) -> str:
    """A backup in a few lines; the last is what a person must not overlook."""
    ends = one.manifest.ends
    lines = [
        f"{one.folder}",
        f"  {len(one.manifest.files):,} files, {one.manifest.size / 1e6:,.1f} MB in {one.seconds:.1f} s; {one.copied / 1e6:,.1f} MB are new, "
        f"{one.linked:,} files are those of the backup before",
        f"  up to decision {ends.decisions[0]:,}, prediction {ends.predictions[0]:,}, label {ends.labels[0]:,}; "
        "whatever was acknowledged before it began is in it",
        f"  signed with the key {short(one.signed_by)}: note it elsewhere, for a restore on a bare machine names it and can vouch for nothing",
    ]
    if one.manifest.gone:
        lines.append(f"  deleted while it was taken: {', '.join(one.manifest.gone[:5])}")
    if one.passed_over:
        lines += ["", *(f"  {line}" for line in f"WARNING: {one.passed_over}".splitlines())]
    if any(file.path.startswith(f"{HOME}/keys/") and file.path.endswith(".pem") for file in one.manifest.files):
        lines += [
            "",
            "  IT HOLDS THE PRIVATE SIGNING KEY: who can read it can sign models and backups. Keep it as you keep a password.",
        ]
    return "\n".join(lines)


def restored(one: Restored) -> dict[str, Any]:
    """A restore as plain values."""
    aside = None if one.aside is None else str(one.aside)
    facts = {"backup": str(one.backup), "aside": aside, "notes": list(one.notes), "forgotten": one.forgotten}
    return facts | {"seconds": one.seconds, "ends": asdict(one.manifest.ends), "files": len(one.manifest.files)}


def restored_text(one: Restored) -> str:
    """A restore in a few lines, the next step last."""
    ends = one.manifest.ends
    lines = [
        f"restored {one.manifest.name} in {one.seconds:.1f} s: {len(one.manifest.files):,} files, up to decision {ends.decisions[0]:,}, "
        f"prediction {ends.predictions[0]:,}, label {ends.labels[0]:,}",
        *(f"  {note}" for note in one.notes),
    ]
    if one.aside:
        lines.append(f"  what was there before lies in {one.aside}")
    if one.forgotten:
        lines.append(f"  {one.forgotten} erasures that came after the backup were applied again")
    return "\n".join([*lines, "", "  next: aiprime up"])
