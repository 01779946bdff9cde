"""The keys of one AIPRIME_HOME: the private one that signs, the public ones that are trusted. Elliptic curves, as PEM.

HOME/keys/signing.pem is made by whoever needs it first; AIPRIME_SIGNING_KEY names another private key, AIPRIME_TRUSTED_KEYS more public
keys (files of one or several, with `:` between). A private key is never shown, copied or handed on. Knows nothing of what is signed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import UserError
from data.files import make_once, write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

SIGNING, TRUSTED = "AIPRIME_SIGNING_KEY", "AIPRIME_TRUSTED_KEYS"
CURVES = {
    "secp256r1": "SHA256",
    "secp384r1": "SHA384",
    "secp521r1": "SHA512",
}  # and the hash that goes with each (model-signing)
_BEGIN = "-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True)
class PublicKey:
    """A key that is trusted. `id` is SHA-256 over its PEM, hex: what model-signing calls the key's hint."""

    key: ec.EllipticCurvePublicKey

    @cached_property
    def pem(self) -> bytes:
        from cryptography.hazmat.primitives import serialization

        return self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(self.pem).hexdigest()

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether the key's owner signed `content` (ECDSA, RFC 6979 or random)."""
        from cryptography.exceptions import InvalidSignature

        with suppress(InvalidSignature):
            self.key.verify(signature, content, _ecdsa(self.key))
            return True
        return False


@dataclass(frozen=True)
class SigningKey:
    """A key that signs, and the file that it lies in."""

    file: Path
    _private: ec.EllipticCurvePrivateKey = field(repr=False)

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self._private.public_key())

    def sign(self, content: bytes) -> bytes:
        """The signature over `content`, DER."""
        return self._private.sign(content, _ecdsa(self._private))


def short(key_id: str) -> str:
    """A key's id as people read it."""
    return key_id[:12]


def folder(home: Path) -> Path:
    """HOME/keys, for its owner alone."""
    return home / "keys"


def signing(home: Path) -> SigningKey:
    """The key that signs; made now where there is none. UserError where it cannot be read, or is gone while others still rely on it."""
    stated = os.environ.get(SIGNING)
    file = Path(stated).absolute() if stated else folder(home) / "signing.pem"
    if not stated and not file.exists():
        if (public := folder(home) / "signing.pub").exists():
            what = "the signing key is gone, and what it signed is still trusted"
            step = f"restore it from a backup; or delete {public}, to begin with a new key that has signed nothing"
            raise UserError(what, where=str(file), next_step=step)
        _make(file)
    return SigningKey(file, _private(file))


def trusted(home: Path) -> tuple[Path, ...]:
    """The files of the public keys that are accepted: HOME/keys/signing.pub, which is kept equal to the signing key, and the stated ones."""
    public = folder(home) / "signing.pub"
    if os.environ.get(SIGNING) or (folder(home) / "signing.pem").exists() or not public.exists():
        _publish(public, signing(home).public)
    return public, *_stated()


def accepted(home: Path) -> tuple[PublicKey, ...]:
    """The public keys that are accepted: the signing key's own, and the stated ones."""
    return signing(home).public, *read(_stated())


def found(home: Path) -> tuple[PublicKey, ...]:
    """The same for whoever only looks: makes and writes nothing. UserError where no key is known here."""
    if not (there := known(home)):
        raise UserError("this home has no keys: nothing was signed here")
    return there


def known(home: Path) -> tuple[PublicKey, ...]:
    """The same as far as there are any: no key at all is no error."""
    stated = os.environ.get(SIGNING)
    private, public = Path(stated) if stated else folder(home) / "signing.pem", folder(home) / "signing.pub"
    own = (PublicKey(_private(private).public_key()),) if private.exists() else read([public] if public.exists() else [])
    return *own, *read(_stated())


def _stated() -> tuple[Path, ...]:
    return tuple(Path(one).absolute() for one in os.environ.get(TRUSTED, "").split(os.pathsep) if one)


def read(files: Iterable[Path]) -> tuple[PublicKey, ...]:
    """The public keys in PEM files. UserError where a file holds none, or anything else."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    found = []
    for file in files:
        try:
            first, *parts = file.read_text(encoding="ascii").split(_BEGIN)
            keys = [serialization.load_pem_public_key((_BEGIN + part).encode()) for part in parts]
        except (OSError, ValueError) as error:
            raise _unusable("no PEM file of public keys", f"{file}: {error}") from error
        if not keys or first.strip() or not all(isinstance(key, ec.EllipticCurvePublicKey) for key in keys):
            raise _unusable("no PEM file of elliptic-curve public keys", str(file))
        found += [PublicKey(key) for key in keys if isinstance(key, ec.EllipticCurvePublicKey)]
    if wrong := [one for one in found if one.key.curve.name not in CURVES]:
        raise _unusable(f"a key on {wrong[0].key.curve.name} is not supported", ", ".join(map(str, files)))
    return tuple(found)


def _private(file: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise _unusable("the signing key cannot be read", f"{file}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise _unusable("the signing key is none of the supported kind", str(file))
    return key


def _make(file: Path) -> None:
    """A new P-256 key. Whole or not at all, and whoever links it into its place first has made it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    text = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    make_once(file, text)


def _publish(file: Path, key: PublicKey) -> None:
    """Write the public half; that of a key that signed before stays beside it as SHORT.pub, for whoever wants to trust it on."""
    if file.exists():
        if (old := file.read_bytes()) == key.pem:
            return
        write_atomically(file.with_name(f"{short(hashlib.sha256(old).hexdigest())}.pub"), old)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(file, key.pem)


def _ecdsa(key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) -> ec.ECDSA:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(getattr(hashes, CURVES[key.curve.name])())


def _unusable(what: str, where: str) -> UserError:
    step = f"an EC key as unencrypted PEM: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256; {SIGNING} and {TRUSTED} name it"
    return UserError(what, where=where, next_step=step)
