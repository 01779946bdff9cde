"""The keys: made once, for their owner alone, and replaced by one's own."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import UserError
from serving.trust import keys

ROOT = Path(__file__).parents[3]


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path):
    """The folder is 0700 and the private key 0600; asked again it is the same, and the public half lies beside it."""
    first = keys.signing(tmp_path)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE(first.file.stat().st_mode) == 0o600
    assert keys.signing(tmp_path).public == first.public
    assert keys.trusted(tmp_path) == (tmp_path / "keys" / "signing.pub",)
    assert keys.read(keys.trusted(tmp_path)) == keys.accepted(tmp_path) == (first.public,)
    assert sorted(one.name for one in (tmp_path / "keys").iterdir()) == ["signing.pem", "signing.pub"]


def test_many_processes_make_one_key(tmp_path: Path):
    """Processes that all need the first key at once end with the same one."""
    code = (
        "import sys; from pathlib import Path; from serving.trust import keys; print(keys.signing(Path(sys.argv[1])).public.id)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    assert len({one.communicate()[0] for one in running}) == 1
    assert [one.name for one in (tmp_path / "keys").iterdir()] == ["signing.pem"]


def test_a_signature_holds_for_its_key_and_content_alone(tmp_path: Path):
    """Another content, another key, another signature: none holds."""
    ours, theirs = keys.signing(tmp_path / "a"), keys.signing(tmp_path / "b")
    signature = ours.sign(b"content")
    assert ours.public.verifies(signature, b"content")
    assert not ours.public.verifies(signature, b"contents")
    assert not theirs.public.verifies(signature, b"content")
    assert not ours.public.verifies(b"", b"content")


def test_a_private_key_is_never_shown(tmp_path: Path):
    """Neither its text nor its value appears where a key is printed."""
    key = keys.signing(tmp_path)
    assert repr(key) == f"SigningKey(file={key.file!r})"
    assert "PRIVATE" not in repr(key)


def test_own_keys_by_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """AIPRIME_SIGNING_KEY signs in the place of ours, whose public half stays beside it; AIPRIME_TRUSTED_KEYS are accepted too."""
    before = keys.accepted(tmp_path / "home")[0]
    _ = keys.trusted(tmp_path / "home")
    own = keys.signing(tmp_path / "own")
    monkeypatch.setenv(keys.SIGNING, str(own.file))
    assert keys.accepted(tmp_path / "home") == keys.read(keys.trusted(tmp_path / "home")) == (own.public,)
    kept = tmp_path / "home" / "keys" / f"{keys.short(before.id)}.pub"
    monkeypatch.setenv(keys.TRUSTED, str(kept))
    assert keys.accepted(tmp_path / "home") == keys.read(keys.trusted(tmp_path / "home")) == (own.public, before)


def test_a_key_that_is_gone_is_not_made_anew(tmp_path: Path):
    """Where others trust what a key signed, its loss is said; what it signed is still verified."""
    trusted = keys.trusted(tmp_path)
    (tmp_path / "keys" / "signing.pem").unlink()
    with pytest.raises(UserError, match="the signing key is gone"):
        keys.signing(tmp_path)
    assert keys.trusted(tmp_path) == trusted


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_of_no_keys_is_said(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch):
    """A file that holds no key, private or public, is a message with its path and what to do."""
    file = tmp_path / "some.pem"
    file.write_text(text)
    with pytest.raises(UserError, match=r"some\.pem"):
        keys.read([file])
    monkeypatch.setenv(keys.SIGNING, str(file))
    with pytest.raises(UserError, match=r"some\.pem") as refused:
        keys.signing(tmp_path)
    assert "openssl" in refused.value.next_step


def test_other_kinds_of_keys_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """RSA, a curve of no signature scheme of ours, and a key under a password: each is said."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    secret = s.BestAvailableEncryption(b"secret")
    made = [
        (rsa.generate_private_key(65537, 2048), s.NoEncryption()),
        (ec.generate_private_key(ec.SECP256K1()), s.NoEncryption()),
        (ec.generate_private_key(ec.SECP256R1()), secret),
    ]
    file = tmp_path / "other.pem"
    monkeypatch.setenv(keys.SIGNING, str(file))
    for key, encryption in made:
        file.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, encryption))
        with pytest.raises(UserError, match=r"other\.pem"):
            keys.signing(tmp_path)
    for key, _ in made[:2]:
        file.write_bytes(key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
        with pytest.raises(UserError, match=r"other\.pem"):
            keys.read([file])
