"""The door to model-signing: what it signs, and what it leaves in the bundle."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from data.errors import UserError
from data.files import hashes
from serving.trust import keys
from training import signing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "weights").mkdir(parents=True)
    (made / "model.json").write_text("{}")
    (made / ".gitignore").write_text("*")  # the library by itself would leave it out
    (made / "weights" / "größe.safetensors").write_bytes(b"\0" * 10)
    return made


def test_every_file_is_signed(folder: Path, tmp_path: Path):
    """The bundle holds an in-toto statement of model-signing's kind that lists each file with its SHA-256, hidden ones too."""
    bundle = json.loads(signing.sign(folder, keys.signing(tmp_path).file))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    assert {one["name"]: one["digest"] for one in statement["predicate"]["resources"]} == hashes(folder)
    assert statement["predicate"]["serialization"] == {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == keys.signing(tmp_path).public.id


def test_nothing_is_written_into_the_folder(folder: Path, tmp_path: Path):
    """The folder that is signed stays as it was."""
    before = hashes(folder)
    signing.sign(folder, keys.signing(tmp_path).file)
    assert hashes(folder) == before


def test_a_link_is_not_signed(folder: Path, tmp_path: Path):
    """A folder with a link cannot be verified later, so it is refused now, with its path."""
    (folder / "more").symlink_to(folder / "model.json")
    with pytest.raises(UserError, match="cannot be signed") as refused:
        signing.sign(folder, keys.signing(tmp_path).file)
    assert str(folder) in refused.value.where
