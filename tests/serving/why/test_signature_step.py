"""The step about signatures asks the very verification that the model server asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.trust import keys
from tests.serving.why.home import Home


@pytest.fixture
def signed(tmp_path: Path) -> Home:
    return Home(tmp_path).sign().clear()


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
