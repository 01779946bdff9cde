"""Whose server answers: a token of its own for each, a proof that serves once, and nobody asked where there is no secret."""

from __future__ import annotations

from pathlib import Path

from serving import instance


def test_a_server_proves_that_it_was_told_its_token(tmp_path: Path) -> None:
    """The proof is of this name, of this home, of this port and of this number; the secret is nobody else's to read."""
    token = instance.told(tmp_path / "one", "co2-v1")
    assert instance.expected(tmp_path / "one", "co2-v1") == instance.told(tmp_path / "one", "co2-v1") == token
    number = instance.number()
    answer = instance.proof(token, 18_000, number)
    assert instance.proven(token, 18_000, number, answer)
    assert not instance.proven(token, 18_001, number, answer)
    for other in (instance.told(tmp_path / "one", "co2-v2"), instance.told(tmp_path / "two", "co2-v1")):
        assert not instance.proven(other, 18_000, number, answer)
    assert not instance.proven(token, 18_000, instance.number(), answer)
    assert not instance.proven(token, 18_000, number, "não".encode())
    assert (tmp_path / "one" / "servers" / "secret").stat().st_mode & 0o077 == 0


def test_nothing_is_expected_where_there_is_no_secret(tmp_path: Path) -> None:
    """A home without a secret, as of a cluster's gateway, asks for no proof, and looking makes none."""
    assert instance.expected(tmp_path, "co2-v1") is None
    assert list(tmp_path.iterdir()) == []
