"""Model folders that are signed and released as a registration does it, and everything that may be done to one by hand."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.files import sha256, tree_digest
from serving.trust import keys, signature, statement
from serving.trust.statement import Statement
from training import signing

FILES = {"model.json": b'{"task": "regression"}', "model.onnx": bytes(range(256)), "weights/head.safetensors": b"\0" * 64}


@dataclass(frozen=True)
class Version:
    """A version's folder with its companions, and the home whose key signed it."""

    home: Path
    folder: Path
    sequence: int

    @property
    def sig(self) -> Path:
        return signature.beside(self.folder)

    @property
    def release(self) -> Path:
        return statement.beside(self.folder)

    @property
    def public(self) -> Path:
        return keys.trusted(self.home)[0]

    @property
    def expected(self) -> Statement:
        """What the ledger says of it; ask before it is tampered with."""
        digest = tree_digest(self.folder)
        return Statement(workload="co2", version=self.folder.name, digest=digest, sequence=self.sequence)


def make(home: Path, version: int, sequence: int) -> Version:
    """A version of co2 as files whose last byte is the version's number, signed and released."""
    folder = home / "models" / "co2" / str(version)
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content + bytes([version]))
    made = Version(home, folder, sequence)
    sign(made)
    return made


def sign(version: Version, by: Path | None = None) -> None:
    """Signature and statement by the key of `by` (the version's own home)."""
    key = keys.signing(by or version.home)
    version.sig.write_bytes(signing.sign(version.folder, key.file))
    statement.write(version.release, version.expected, key)


def replace(version: Version, by: Version) -> None:
    """Put another version, with all that lies beside it, in a version's place."""
    shutil.rmtree(version.folder)
    shutil.copytree(by.folder, version.folder)
    shutil.copy(by.sig, version.sig)
    shutil.copy(by.release, version.release)


# -- what is done by hand; each is refused, and what is said names the file


def changed(version: Version) -> str:
    file = version.folder / "model.onnx"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    return "model.onnx"


def truncated(version: Version) -> str:
    os.truncate(version.folder / "model.onnx", 10)
    return "model.onnx"


def swapped(version: Version) -> str:
    one, other = version.folder / "model.onnx", version.folder / "weights" / "head.safetensors"
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    return "head.safetensors"


def added(version: Version) -> str:
    (version.folder / "weights" / "extra.py").write_text("import os")
    return "extra.py"


def added_hidden(version: Version) -> str:
    (version.folder / ".gitignore").write_text("*")
    return ".gitignore"


def missing(version: Version) -> str:
    (version.folder / "model.json").unlink()
    return "model.json"


def renamed(version: Version) -> str:
    (version.folder / "model.onnx").rename(version.folder / "model2.onnx")
    return "model.onnx"


def linked(version: Version) -> str:
    """The same bytes, by a link that may lead to others tomorrow."""
    file = version.folder / "model.onnx"
    elsewhere = version.home / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    return "model.onnx"


def linked_folder(version: Version) -> str:
    elsewhere = version.home / "elsewhere"
    (version.folder / "weights").rename(elsewhere)
    (version.folder / "weights").symlink_to(elsewhere)
    return "weights"


def linked_whole(version: Version) -> str:
    elsewhere = version.home / "elsewhere"
    version.folder.rename(elsewhere)
    version.folder.symlink_to(elsewhere)
    return version.folder.name


def piped(version: Version) -> str:
    os.mkfifo(version.folder / "more")
    return "more"


def forged(version: Version) -> str:
    """A file is changed and the signed list made to agree with it; only the signature does not."""
    changed(version)
    bundle = json.loads(version.sig.read_bytes())
    text = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    listed = json.loads(text)
    for one in listed["predicate"]["resources"]:
        one["digest"] = sha256(version.folder / one["name"])
    import hashlib

    together = b"".join(bytes.fromhex(one["digest"]) for one in listed["predicate"]["resources"])
    listed["subject"][0]["digest"]["sha256"] = hashlib.sha256(together).hexdigest()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(listed).encode()).decode()
    version.sig.write_text(json.dumps(bundle))
    return version.sig.name


def stripped(version: Version) -> str:
    """The signature's own bytes are another's."""
    bundle = json.loads(version.sig.read_bytes())
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()
    version.sig.write_text(json.dumps(bundle))
    return version.sig.name


def wrongly_keyed(version: Version) -> str:
    """A changed model that is signed properly, by somebody else."""
    changed(version)
    sign(version, by=version.home.with_name("somebody else"))
    return version.folder.name


def wrongly_keyed_in_our_name(version: Version) -> str:
    """... and claims to be ours."""
    ours = signature.signer(version.sig)
    wrongly_keyed(version)
    for file in (version.sig, version.release):
        file.write_text(file.read_text().replace(keys.signing(version.home.with_name("somebody else")).public.id, ours))
    return version.folder.name


def unsigned(version: Version) -> str:
    version.sig.unlink()
    return version.sig.name


def garbled(version: Version) -> str:
    version.sig.write_bytes(b"[" * 100_000)
    return version.sig.name


Tamper = Callable[[Version], str]
# Where the library must say the same as we: everything about one folder and its signature.
OF_A_FOLDER: tuple[Tamper, ...] = (
    *(changed, truncated, swapped, added, added_hidden, missing, renamed, linked, linked_folder, linked_whole, piped),
    *(forged, stripped, wrongly_keyed, wrongly_keyed_in_our_name, unsigned, garbled),
)
