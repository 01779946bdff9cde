"""The step about signatures asks the very verification that the model server asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.files import tree_digest
from serving.trust import keys, statement
from serving.trust.statement import Statement
from tests.serving.why.home import WORKLOAD, Home


@pytest.fixture
def signed(tmp_path: Path) -> Home:
    from training.signing import sign

    home = Home(tmp_path)
    key = keys.signing(home.home)
    keys.trusted(home.home)
    (home.folder.parent / "1.sig").write_bytes(sign(home.folder, key.file))
    digest = tree_digest(home.folder)
    cleared = home.ledger.record(
        "cleared", WORKLOAD, "1", {"digest": digest, "key": key.public.id, "reason": "passed", "by": "gate"}
    )
    said = Statement(workload=WORKLOAD, version="1", digest=digest, sequence=cleared.sequence)
    statement.write(statement.beside(home.folder), said, key)
    return home


def test_a_signed_version_names_key_and_statement(signed: Home) -> None:
    """Signed by which key, released by which decision, both checked while one looks."""
    step = signed.walk(signed.answered((1.0, 2.0, 3.0))).step("signature")
    assert step.gone is None
    assert step.facts["signed"] is True
    assert step.facts["key"] == keys.signing(signed.home).public.id
    assert step.facts["statement"] == step.facts["cleared"] == 3


def test_a_changed_file_is_not_signed_any_more(signed: Home) -> None:
    """The signature is checked, not only looked for."""
    (signed.folder / "added.txt").write_text("x")
    step = signed.walk(signed.answered((1.0, 2.0, 3.0))).step("signature")
    assert step.facts["signed"] is False
    assert "added.txt" in (step.gone or "")


def test_looking_makes_no_keys(tmp_path: Path) -> None:
    """A home without keys has none after a walk."""
    home = Home(tmp_path)
    step = home.walk(home.answered((1.0, 2.0, 3.0))).step("signature")
    assert "no keys" in (step.gone or "")
    assert not (tmp_path / "keys").exists()
