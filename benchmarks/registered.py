"""The committed reference model as registered versions: copied, signed once, on record as passed by the gate."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import reference
from data.files import tree_digest, write_atomically
from serving import manifests
from serving.ledger import Ledger
from serving.trust import keys, signature
from training import signing

WORKLOAD = "reference"


def register(home: Path, version: int) -> Path:
    """One more version of the reference model; its folder."""
    folder = home / "models" / WORKLOAD / str(version)
    shutil.copytree(reference.FOLDER, folder)
    signed = home / "reference.sig"
    if not signed.exists():
        write_atomically(signed, signing.sign(folder, keys.signing(home).file))
    write_atomically(signature.beside(folder), signed.read_bytes())
    digest = tree_digest(folder)
    manifest = manifests.render(WORKLOAD, version, folder, digest, manifests.ServeSection())
    write_atomically(manifests.file(home, WORKLOAD, version), manifests.text(manifest))
    Ledger.at(home).record("registered", WORKLOAD, version, {"model_digest": digest, "passed": True})
    return folder
