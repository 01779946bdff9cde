"""Whether the chains that a backup holds are whole. Opens copies only: to open a database writes beside it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from serving import snapshot
from serving.ledger import Ledger
from serving.records import Records


def broken(folder: Path) -> dict[str, str]:
    """What is wrong with the chains of a folder of `snapshot.FILES`, by name; the folder is written to."""
    chains = {
        "ledger": Ledger(folder / snapshot.LEDGER, noted=folder / "ledger.head"),
        "records": Records(folder / snapshot.RECORDS, noted=folder / "records.head"),
    }
    found = {name: chain.verify() for name, chain in chains.items()}
    return {name: f"broken at {one.sequence}: {one.what}" for name, one in found.items() if one}


def broken_in(home: Path) -> dict[str, str]:
    """The same of a home that nothing may be written to, as a backup's is."""
    with tempfile.TemporaryDirectory(prefix="aiprime-chains-") as copy:
        for name in snapshot.FILES:
            shutil.copyfile(home / name, Path(copy) / name)
        return broken(Path(copy))
