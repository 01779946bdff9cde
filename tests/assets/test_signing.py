"""Signatures of registered versions: once for the same bytes, only of the judged ones, and for states from before there were any."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets import signing
from data.errors import UserError
from data.files import tree_digest, write_atomically
from data.places import Places
from serving import manifests
from serving.ledger import Ledger
from serving.manifests import ServeSection
from serving.supervision import Supervisor
from serving.trust import keys, signature, verification
from serving.trust.refusal import Untrusted
from tests.assets.judged import Here
from training import signing as door


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    made = Here(Places(root=tmp_path, home=tmp_path / "home"))
    yield made
    Supervisor(made.places.home).shutdown()


def register(here: Here, version: int) -> str:
    """A version as it was registered before there were signatures; its digest."""
    folder = here.places.models("co2", version)
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(f"{version}")
    digest = tree_digest(folder)
    manifest = manifests.render("co2", version, folder, digest, ServeSection())
    write_atomically(manifests.file(here.places.home, "co2", version), manifests.text(manifest))
    here.ledger.record("registered", "co2", version, {"model_digest": digest, "passed": True})
    return digest


def signed(here: Here, version: int) -> bool:
    folder = here.places.models("co2", version)
    return signature.beside(folder).exists() and bool(verification.candidate(folder, keys.accepted(here.places.home)))


def test_the_same_bytes_are_signed_once(here: Here, monkeypatch: pytest.MonkeyPatch):
    """The candidate's signature becomes the registered version's; nothing is signed again, by another run either."""
    digest, count = register(here, 1), []
    monkeypatch.setattr(door, "sign", lambda *given, sign=door.sign: count.append(1) or sign(*given))
    folder = here.places.models("co2", 1)
    candidate = here.places.root / "store" / "model"
    shutil.copytree(folder, candidate)
    for _ in range(2):
        file = signing.candidate(here.places, "co2", candidate, digest)
        signing.version(here.places, "co2", "1", digest)
    assert signature.beside(folder).read_bytes() == file.read_bytes()
    assert len(count) == 1
    assert signed(here, 1)


def test_only_the_judged_bytes_are_signed(here: Here):
    """A folder that is not what the ledger names is not signed, whoever asks."""
    digest = register(here, 1)
    (here.places.models("co2", 1) / "model.json").write_text("other")
    with pytest.raises(UserError, match="not the ones that were judged"):
        signing.version(here.places, "co2", "1", digest)
    assert signing.missing(here.places) == [
        f"co2: version 1 cannot be signed: the model's files are not the ones that were judged: "
        f"{tree_digest(here.places.models('co2', 1))[:12]} instead of {digest[:12]}"
    ]


def test_a_signature_that_is_there_is_left_alone(here: Here):
    """Whoever put another one there must be found out, so it is not replaced."""
    digest = register(here, 1)
    file = signature.beside(here.places.models("co2", 1))
    file.write_text("another")
    signing.version(here.places, "co2", "1", digest)
    assert signing.missing(here.places) == []
    assert file.read_text() == "another"


def test_after_a_change_of_keys_a_candidate_is_signed_anew(here: Here, monkeypatch: pytest.MonkeyPatch):
    """What the old key signed is not handed on once nobody trusts it."""
    digest, folder = register(here, 1), here.places.models("co2", 1)
    before = signing.candidate(here.places, "co2", folder, digest).read_bytes()
    own = keys.signing(here.places.root / "own")
    monkeypatch.setenv(keys.SIGNING, str(own.file))
    assert signing.candidate(here.places, "co2", folder, digest).read_bytes() != before
    assert signature.signer(signing.candidate(here.places, "co2", folder, digest)) == own.public.id


def test_a_state_from_before_is_adopted(here: Here):
    """Every version whose files are there and right is signed, what serves is cleared, once; a damaged or deleted one is left out."""
    for version in (1, 2, 3, 4):
        register(here, version)
    (here.places.models("co2", 3) / "model.json").write_text("damaged")
    shutil.rmtree(here.places.models("co2", 4))
    here.ledger.promote("co2", "1", expected=None, reason="the first")
    here.ledger.promote("co2", "2", expected="1", reason="better")
    done = signing.adopt(here)  # pyright: ignore[reportArgumentType]  (a platform of the same contract)
    assert [line.split(":")[1].strip() for line in done] == [
        "version 1 signed",
        "version 2 signed",
        "version 3 cannot be signed",
        "version 2 cleared",
    ]
    assert (signed(here, 1), signed(here, 2)) == (True, True)
    (cleared,) = here.ledger.history("co2", "cleared")
    assert (cleared.version, cleared.payload["by"]) == ("2", "migration")
    assert [line for line in signing.adopt(here) if "cannot" not in line] == []  # pyright: ignore[reportArgumentType]
    assert Ledger.at(here.places.home).history("co2", "cleared") == [cleared]
    here.deployment().clearance.manifest("co2", "2")
    assert signing.verify(here.places) == []
    (here.places.models("co2", 2) / "more").write_text("")
    assert "more was added after it was signed" in signing.verify(here.places)[0]


def test_what_judges_a_version_opens_what_was_signed_and_registered(here: Here):
    """The monitors and the gate load a version as its server does: not unsigned, not changed, not another version's folder."""
    register(here, 1)
    with pytest.raises(Untrusted, match="what it would sign is not signed"):
        signing.opened(here.places, "co2", "1")
    signing.missing(here.places)
    assert signing.opened(here.places, "co2", "1") == here.places.models("co2", 1)
    (here.places.models("co2", 1) / "model.json").write_text("other")
    with pytest.raises(Untrusted, match=r"model\.json is not the file that was signed"):
        signing.opened(here.places, "co2", "1")


def test_a_signed_folder_of_another_version_is_not_opened(here: Here):
    """Each is signed; which one is which, the ledger says."""
    register(here, 1), register(here, 2)
    signing.missing(here.places)
    one, two = here.places.models("co2", 1), here.places.models("co2", 2)
    shutil.copytree(one, two, dirs_exist_ok=True)
    shutil.copyfile(signature.beside(one), signature.beside(two))
    with pytest.raises(Untrusted, match="is not what was registered"):
        signing.opened(here.places, "co2", "2")
    with pytest.raises(Untrusted, match="never registered"):
        signing.opened(here.places, "co2", "3")
