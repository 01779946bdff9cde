"""The verdict on a folder: equal to the library's on everything that can be done to it, and never milder."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import UserError
from data.files import tree_digest
from serving.trust import envelope, keys, signature, statement, verification
from serving.trust.refusal import Untrusted
from tests.serving.trust import signed
from tests.serving.trust.signed import OF_A_FOLDER, Tamper, Version

LARGE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return signed.make(tmp_path_factory.mktemp("trust") / "home", 1, sequence=3)


@pytest.fixture
def version(original: Version, tmp_path: Path) -> Version:
    shutil.copytree(original.home, tmp_path / "home")
    return Version(tmp_path / "home", tmp_path / "home" / original.folder.relative_to(original.home), original.sequence)


def ours(version: Version) -> bool:
    try:
        verification.candidate(version.folder, keys.read([version.public]))
    except Untrusted:
        return False
    return True


def the_librarys(version: Version) -> bool:
    """model-signing's verdict, asked about every file: by itself it leaves `.git` and `.gitignore` out."""
    from model_signing import hashing, verifying

    every_file = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    config = verifying.Config().use_elliptic_key_verifier(public_key=version.public).set_hashing_config(every_file)
    try:
        config.verify(version.folder, version.sig)
    except Exception:  # noqa: BLE001  (it raises whatever came up: no verdict is a refusal)
        return False
    return True


def test_what_the_library_signed_is_accepted(version: Version):
    """An untouched folder is verified, with the digest that the ledger keeps and the id of our key; the library agrees."""
    verified = verification.released(version.folder, keys.read([version.public]), version.expected)
    assert verified.digest == tree_digest(version.folder)
    assert verified.key == keys.signing(version.home).public.id == signature.signer(version.sig)
    assert the_librarys(version)


@pytest.mark.parametrize("tamper", OF_A_FOLDER, ids=lambda tamper: tamper.__name__)
def test_both_refuse_what_was_tampered_with(version: Version, tamper: Tamper):
    """Whatever is done to a folder or its signature, ours and the library's verdict are the same refusal; ours names the file."""
    named = tamper(version)
    assert not the_librarys(version)
    with pytest.raises(Untrusted) as refused:
        verification.candidate(version.folder, keys.read([version.public]))
    assert named in str(refused.value)
    assert refused.value.next_step


@given(data=st.data())
@LARGE
def test_any_change_of_the_folder_gets_the_librarys_verdict(original: Version, tmp_path: Path, data: st.DataObject):
    """Any series of writes, deletions, moves, links and new folders: accepted by ours exactly where the library accepts."""
    home = tmp_path / "one"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(original.home, home)
    version = Version(home, home / original.folder.relative_to(original.home), 3)
    name = st.sampled_from([*signed.FILES, "weights", "new", "weights/new", "new/deep", ".git/x", "größe \n"])
    for _ in range(data.draw(st.integers(0, 3))):
        what, one, other = data.draw(st.sampled_from(sorted(_CHANGES))), data.draw(name), data.draw(name)
        with suppress(OSError, shutil.Error):  # then it was no change
            _CHANGES[what](version.folder / one, version.folder / other)
    assert ours(version) == the_librarys(version)


def _touch(one: Path, _: Path) -> None:
    one.write_bytes(one.read_bytes() if one.exists() else b"")


def _again(one: Path, _: Path) -> None:
    """Written anew as it was first."""
    one.write_bytes(signed.FILES[str(Path(*one.parts[-2:])) if one.parent.name == "weights" else one.name] + b"\1")


_CHANGES: dict[str, Callable[[Path, Path], Any]] = {
    "touch": _touch,
    "append": lambda one, _: one.write_bytes(one.read_bytes() + b"."),
    "make": lambda one, _: one.write_bytes(b"made"),
    "again": lambda one, _: _again(one, one) if one.name in {"model.json", "model.onnx", "head.safetensors"} else None,
    "delete": lambda one, _: one.unlink(),
    "move": lambda one, other: one.rename(other),
    "copy": shutil.copy,
    "link": lambda one, other: one.symlink_to(other),
    "hard link": os.link,
    "folder": lambda one, _: one.mkdir(),
}


@given(data=st.data())
@LARGE
def test_no_change_of_the_signature_is_believed_that_the_library_refuses(
    original: Version, tmp_path: Path, data: st.DataObject
):
    """Bytes of the bundle replaced, left out or put in: where ours still accepts, so does the library."""
    version = Version(original.home, tmp_path / original.folder.name, 3)
    if not version.folder.exists():
        shutil.copytree(original.folder, version.folder)
    content = bytearray(original.sig.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    version.sig.write_bytes(content)
    if ours(version):
        assert the_librarys(version)


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: bundle | {"more": 1},
        lambda bundle: bundle | {"mediaType": "application/json"},
        lambda bundle: bundle | {"verificationMaterial": {"publicKey": {"hint": None}}},
        lambda bundle: bundle | {"verificationMaterial": {"tlogEntries": []}},
        lambda bundle: bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"signatures": []}},
        lambda bundle: bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"payloadType": "text/plain"}},
        lambda bundle: bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"payload": "%%%"}},
        lambda bundle: bundle | {"dsseEnvelope": None},
        lambda bundle: [bundle],
        lambda bundle: {},
    ],
)
def test_a_bundle_of_another_shape_is_refused(version: Version, change: Callable[[Any], Any]):
    """Fields that are missing, unknown or of another type are a refusal that names the file, no error of ours."""
    version.sig.write_text(json.dumps(change(json.loads(version.sig.read_text()))))
    with pytest.raises(Untrusted, match=r"1\.sig"):
        verification.candidate(version.folder, keys.read([version.public]))


def sealed_again(version: Version, change: Callable[[Any], None]) -> None:
    """Our own key signs a changed list."""
    bundle = json.loads(version.sig.read_text())
    listed = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(listed)
    envelope_of = json.loads(envelope.seal(listed, keys.signing(version.home)))
    bundle["dsseEnvelope"]["payload"] = envelope_of["payload"]
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = envelope_of["signatures"][0]["sig"]
    version.sig.write_text(json.dumps(bundle))


OTHER_FORMS: dict[str, tuple[Callable[[Any], Any], bool]] = {  # and whether the library takes it
    "nothing changed": (lambda listed: None, True),
    "another kind": (lambda listed: listed.update(predicateType="https://example.org/else"), False),
    "no in-toto statement": (lambda listed: listed.update(_type="else"), False),
    "the sum is another": (lambda listed: listed["subject"][0]["digest"].update(sha256="0" * 64), False),
    "no subject": (lambda listed: listed.update(subject=[]), False),
    "no list": (lambda listed: listed.update(predicate={}), False),
    "a digest that is none": (lambda listed: listed["predicate"]["resources"][0].update(digest="zz"), False),
    "another hash": (lambda listed: listed["predicate"]["resources"][0].update(algorithm="md5"), False),
    "some files left out": (lambda listed: listed["predicate"]["serialization"].update(ignore_paths=["model.onnx"]), False),
    "links allowed": (lambda listed: listed["predicate"]["serialization"].update(allow_symlinks=True), True),
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_what_our_key_signed_in_another_form_is_refused(version: Version, form: str):
    """A list that does not agree with itself, or of a form that we never write, is refused though our key signed it; where the library
    refuses it too, the verdicts agree, and where it is milder we say so here."""
    change, taken = OTHER_FORMS[form]
    sealed_again(version, change)
    assert the_librarys(version) is taken
    assert ours(version) is (form == "nothing changed")


def test_a_name_that_is_there_twice_is_refused(version: Version):
    """JSON that two readers may read in two ways is not read at all."""
    text = version.sig.read_text()
    version.sig.write_text(f'{{"mediaType": "text/plain", {text.strip()[1:]}')
    assert the_librarys(version)  # the last one counts
    assert not ours(version)


def test_a_candidates_signature_may_lie_elsewhere(version: Version, tmp_path: Path):
    """A folder that is only tried is signed elsewhere; what lies beside it does not count then."""
    elsewhere = tmp_path / "candidate.sig"
    version.sig.rename(elsewhere)
    trusted = keys.read([version.public])
    assert verification.candidate(version.folder, trusted, elsewhere).digest == tree_digest(version.folder)
    with pytest.raises(Untrusted, match=r"1\.sig is missing"):
        verification.candidate(version.folder, trusted)


def test_an_old_version_in_a_new_ones_place_is_refused(version: Version):
    """With its own valid signature and statement, renamed, or with the new one's statement kept: no combination passes."""
    new = signed.make(version.home, 2, sequence=9)
    trusted, expected, kept = keys.read([version.public]), new.expected, new.release.read_bytes()
    signed.replace(new, by=version)
    assert verification.candidate(new.folder, trusted)  # by itself it is ours, and unchanged
    with pytest.raises(Untrusted, match=r"names version '1', to be served is '2'"):
        verification.released(new.folder, trusted, expected)
    new.release.write_bytes(kept)
    with pytest.raises(Untrusted, match="not the ones that were asked for"):
        verification.released(new.folder, trusted, expected)


def test_an_older_clearance_of_the_same_version_is_refused(version: Version):
    """A version that was taken back and cleared again needs the newer statement."""
    trusted, expected = keys.read([version.public]), version.expected
    later = type(expected)(**{**vars(expected), "sequence": 8})
    with pytest.raises(Untrusted, match="names sequence 3, to be served is 8"):
        verification.released(version.folder, trusted, later)
    version.release.unlink()
    with pytest.raises(Untrusted, match=r"1\.release is missing"):
        verification.released(version.folder, trusted, expected)


def test_a_sequence_that_is_no_number_is_refused(version: Version):
    """`true` is equal to 1 in Python, and no sequence: our own key's statement that says so is none."""
    said = type(version.expected)(**{**vars(version.expected), "sequence": True})
    statement.write(version.release, said, keys.signing(version.home))
    with pytest.raises(Untrusted, match="no release statement"):
        statement.read(version.release, keys.read([version.public]))


def test_a_signature_is_no_statement(version: Version):
    """What our key signed for one purpose does not pass for the other."""
    trusted, expected = keys.read([version.public]), version.expected
    bundle = json.loads(version.sig.read_text())
    envelope = bundle["dsseEnvelope"]
    envelope["signatures"][0]["keyid"] = trusted[0].id
    version.release.write_text(json.dumps(envelope))
    with pytest.raises(Untrusted, match="no release statement"):
        verification.released(version.folder, trusted, expected)


def test_several_keys_may_be_trusted(version: Version, tmp_path: Path):
    """After a change of keys the old one's signatures hold as long as it is trusted."""
    newer = keys.trusted(tmp_path / "newer")[0]
    with pytest.raises(Untrusted, match="which is not trusted"):
        verification.candidate(version.folder, keys.read([newer]))
    both = tmp_path / "both.pem"
    both.write_bytes(newer.read_bytes() + version.public.read_bytes())
    assert verification.candidate(version.folder, keys.read([both]))


def test_nothing_of_the_folder_is_parsed_and_no_library_loaded(version: Version):
    """Verifying takes `cryptography` and the standard library: no onnx, no protobuf, no sigstore comes into the process."""
    code = (
        "import sys; from pathlib import Path; from serving.trust import keys, verification\n"
        "verification.candidate(Path(sys.argv[1]), keys.read([Path(sys.argv[2])]))\n"
        "print([m for m in ('sigstore', 'model_signing', 'google.protobuf', 'onnx', 'onnxruntime', 'pydantic') if m in sys.modules])"
    )
    import subprocess

    command = [sys.executable, "-c", code, str(version.folder), str(version.public)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout == "[]\n"


def test_a_link_in_the_folder_is_not_signed(version: Version):
    """The door refuses to sign what could never be verified."""
    from training import signing

    signed.linked(version)
    with pytest.raises(UserError, match="cannot be signed"):
        signing.sign(version.folder, keys.signing(version.home).file)
