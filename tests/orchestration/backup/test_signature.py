"""A backup is restored, and found whole, only where a key that is known here signed it; where none is known, that is said."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import UserError
from data.files import sha256
from data.places import Places
from orchestration import verifying
from orchestration.backup import manifest, placing, report, signature
from orchestration.backup.restoring import restore
from orchestration.backup.signature import Trust
from orchestration.backup.taking import backup
from serving.ledger import Ledger
from serving.trust import keys

_HELD = "home/models/co2/1/model.json"


def _fit(folder: Path, text: str) -> None:
    """A manifest that was edited, and the digest that ends the backup made to fit."""
    (folder / manifest.MANIFEST).write_text(text)
    (folder / manifest.FINISHED).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  {manifest.MANIFEST}\n")


def _edited(folder: Path) -> None:
    _fit(folder, (folder / manifest.MANIFEST).read_text().replace('"mode": 384', '"mode": 420'))


def _swapped(folder: Path) -> None:
    """Another model, and its digest in the manifest."""
    before = sha256(folder / _HELD)
    (folder / _HELD).write_text("{}")
    text = (folder / manifest.MANIFEST).read_text()
    told = json.loads(text)
    for one in told["files"]:
        if one["sha256"] == before:
            one |= {"sha256": sha256(folder / _HELD), "size": 2}
    _fit(folder, json.dumps(told, indent=1, sort_keys=True))


def _no_json(folder: Path) -> None:
    _fit(folder, "no JSON")


def _another_s(folder: Path) -> None:
    """The signature of the backup before, which holds."""
    shutil.copy(sorted(folder.parent.glob("2*"))[0] / signature.SIGNATURE, folder / signature.SIGNATURE)


def _wrong_key(folder: Path) -> None:
    other = keys.signing(folder.parent.parent / "another home")
    manifest.write(folder, manifest.read(folder), other)


def _forged(folder: Path) -> None:
    """The right key is named, another one signed."""
    right = json.loads((folder / signature.SIGNATURE).read_text())["signatures"][0]["keyid"]
    _wrong_key(folder)
    document = json.loads((folder / signature.SIGNATURE).read_text())
    document["signatures"][0]["keyid"] = right
    (folder / signature.SIGNATURE).write_text(json.dumps(document))


def _of_a_release(folder: Path) -> None:
    """Something else that the right key signed."""
    shutil.copy(folder / "home/models/co2/1.release", folder / signature.SIGNATURE)


def _unsigned(folder: Path) -> None:
    """As backups of before were, or as one whose signature was taken away."""
    for name in (signature.SIGNATURE, signature.PUBLIC):
        (folder / name).unlink()


_AMISS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an edited manifest": (_edited, "not the one that was signed"),
    "a swapped file": (_swapped, "not the one that was signed"),
    "what is no JSON is not parsed": (_no_json, "not the one that was signed"),
    "another backup's signature": (_another_s, "not the one that was signed"),
    "a wrong key": (_wrong_key, "not trusted"),
    "a forged signature": (_forged, "does not hold"),
    "another statement": (_of_a_release, "what was signed is no backup"),
    "no signature": (_unsigned, "is not signed"),
}


@pytest.mark.parametrize("amiss", _AMISS)
def test_what_nobody_vouches_for_is_refused(places: Places, kept: Path, amiss: str) -> None:
    """Each is refused by `restore` and named by `aiprime verify BACKUP`, and the home is the one that was there."""
    backup(places, kept)
    Ledger.at(places.home).record("window", "co2", "1")
    taken, before = backup(places, kept), places.home.stat().st_ino
    act, said = _AMISS[amiss]
    act(taken.folder)
    with pytest.raises(UserError, match=said) as raised:
        restore(places, taken.folder, replace=True)
    assert "next:" in str(raised.value)
    assert places.home.stat().st_ino == before
    [bad] = [one for one in verifying.of_backup(taken.folder, places.home) if one.state == "bad"]
    assert said in bad.said


@pytest.mark.parametrize(
    "amiss", ["an edited manifest", "a swapped file", "another backup's signature", "a forged signature", "no signature"]
)
def test_a_bare_machine_refuses_what_does_not_agree_with_itself(places: Places, kept: Path, other: Places, amiss: str) -> None:
    """Where no key is known, a signature must hold by the key beside it all the same."""
    backup(places, kept)
    Ledger.at(places.home).record("window", "co2", "1")
    taken = backup(places, kept)
    _AMISS[amiss][0](taken.folder)
    with pytest.raises(UserError):
        restore(other, taken.folder)
    assert not other.home.exists()


def test_a_bare_machine_takes_the_key_on_first_use_and_says_so(places: Places, kept: Path, other: Places) -> None:
    """The note names the key; the record keeps it, and that nobody knew it; verifying says the same, and it is not bad."""
    taken = backup(places, kept)
    assert taken.signed_by == keys.signing(places.home).public.id
    [found] = [one for one in verifying.of_backup(taken.folder, other.home) if one.what == "signature"]
    assert (found.state, "nobody here could vouch" in found.said) == ("note", True)
    done = restore(other, kept)
    [note] = [one for one in done.notes if "nobody here could vouch" in one]
    assert taken.signed_by[:12] in note
    [told] = Ledger.at(other.home).history("co2", "restored")
    assert (told.payload["signed_by"], told.payload["key_was_known"]) == (taken.signed_by, False)
    assert [one.state for one in verifying.of_backup(taken.folder, other.home) if one.what == "signature"] == ["good"]


def test_a_key_that_is_named_is_the_only_one_that_counts(
    places: Places, kept: Path, other: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--key and AIPRIME_TRUSTED_KEYS vouch on a bare machine; another's key, or no key at all, refuses what the home itself signed."""
    taken = backup(places, kept)
    public, another = tmp_path / "public.pem", tmp_path / "another.pem"
    public.write_bytes(keys.signing(places.home).public.pem)
    another.write_bytes(keys.signing(tmp_path / "another home").public.pem)
    for home in (places.home, other.home):
        assert signature.voucher(taken.folder, home, Trust(key=public)).known
        with pytest.raises(UserError, match="not trusted"):
            signature.voucher(taken.folder, home, Trust(key=another))
    with pytest.raises(UserError, match="no PEM file"):
        restore(other, kept, trust=Trust(key=taken.folder / manifest.MANIFEST))
    monkeypatch.setenv(keys.TRUSTED, str(another))
    with pytest.raises(UserError, match="not trusted"):
        restore(other, kept)
    monkeypatch.setenv(keys.TRUSTED, str(public))
    assert not any("vouch" in note for note in restore(other, kept).notes)


def test_another_machine_s_backup_is_taken_where_its_key_is_named(places: Places, kept: Path, other: Places) -> None:
    """A home with keys of its own refuses a strange backup, says how to name its key, and then takes it."""
    taken = backup(places, kept)
    keys.signing(other.home)
    with pytest.raises(UserError, match="not trusted") as raised:
        restore(other, kept, replace=True)
    assert f"--key {taken.folder / signature.PUBLIC}" in str(raised.value)
    restore(other, kept, replace=True, trust=Trust(key=taken.folder / signature.PUBLIC))


def test_the_key_of_a_home_that_was_put_beside_counts(places: Places, kept: Path) -> None:
    """Cut off between the renames, a restore that is done again still knows whose backup it is."""
    taken = backup(places, kept)
    _wrong_key(taken.folder)
    places.home.rename(places.home.with_name(f"{places.home.name}.before-20260101T000000Z"))
    assert placing.asides(places.home)
    with pytest.raises(UserError, match="not trusted"):
        restore(places, kept)


def test_an_old_backup_is_accepted_where_a_person_says_so(places: Places, kept: Path, other: Places) -> None:
    """--unsigned takes a backup of before there were signatures, says what that means, and takes no signature that does not hold."""
    taken = backup(places, kept)
    for said in ("a wrong key", "a forged signature"):
        _AMISS[said][0](taken.folder)
        with pytest.raises(UserError):
            signature.voucher(taken.folder, places.home, Trust(unsigned=True))
    _unsigned(taken.folder)
    assert any("it is not signed" in note for note in restore(other, kept, trust=Trust(unsigned=True)).notes)
    assert [
        one.state for one in verifying.of_backup(taken.folder, places.home, Trust(unsigned=True)) if one.what == "signature"
    ] == ["note"]


def test_a_key_that_is_not_beside_its_signature_is_asked_for(places: Places, kept: Path, other: Places) -> None:
    """Without any key a bare machine cannot say anything: refused, with what to do."""
    (backup(places, kept).folder / signature.PUBLIC).unlink()
    with pytest.raises(UserError, match="no key is known here"):
        restore(other, kept)


@pytest.mark.parametrize("amiss", ["a swapped file", "a wrong key", "no signature"])
def test_a_backup_does_not_link_to_what_nobody_vouches_for(places: Places, kept: Path, amiss: str) -> None:
    """The next backup copies everything, and says why and what to do: what is not ours is never signed as ours."""
    first = backup(places, kept)
    act, said = _AMISS[amiss]
    act(first.folder)
    second = backup(places, kept)
    assert second.linked == 0
    assert second.passed_over is not None
    for part in (str(first.folder), said, f"next: aiprime verify {first.folder}"):
        assert part in second.passed_over
    assert "WARNING: the backup before" in report.taken_text(second)
    assert report.taken(second)["passed_over"] == second.passed_over
    third = backup(places, kept)
    assert (third.passed_over, third.linked > 0) == (None, True)
    assert "WARNING" not in report.taken_text(third)
    assert (second.folder / _HELD).read_bytes() == (places.models("co2", "1") / "model.json").read_bytes()


def test_an_edited_backup_is_no_witness(places: Places, kept: Path) -> None:
    """`aiprime verify` does not compare the chains with ends that nobody vouches for; an old backup is compared, and called unsigned."""
    taken = backup(places, kept)
    _unsigned(taken.folder)
    [found] = [one for one in verifying.everything(places) if one.what == "backups"]
    assert (found.state, found.said.endswith("which is not signed")) == ("good", True)
    _wrong_key(taken.folder)
    [found] = [one for one in verifying.everything(places) if one.what == "backups"]
    assert found.state == "bad"
