"""Where a model came from: the tags tell any two trees apart."""

import subprocess
from pathlib import Path

import pytest

from assets.provenance import tags
from data.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "kept.py").write_text("a = 1\n")
    (tmp_path / ".gitignore").write_text("ignored\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return Places(root=tmp_path, home=tmp_path / "ignored")


def changes(places: Places) -> str:
    return tags(places, "w")["git_changes"]


def test_each_uncommitted_state_has_its_own_tag(places: Places):
    """An edit, an untracked file, its other content and its other name each count; an ignored file does not."""
    assert changes(places) == "clean"
    (places.root / "ignored").write_text("x")
    assert changes(places) == "clean"
    seen = ["clean"]
    for name, content in (
        ("kept.py", b"a = 2\n"),
        ("new ü.py", b"b = 1\n"),
        ("new ü.py", b"b = 2\n"),
        ("bytes.csv", b"K\xf6ln"),
    ):
        (places.root / name).write_bytes(content)
        seen.append(changes(places))
    (places.root / "new ü.py").rename(places.root / "renamed.py")
    (places.root / "kept.py").write_bytes(b"K = 'K\xf6ln'\n")
    (places.root / "dangling").symlink_to("nowhere")
    seen.append(changes(places))
    assert len(set(seen)) == len(seen)


def test_without_a_repository_there_is_no_commit(tmp_path: Path):
    """A tree that git does not know gives tags all the same."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    assert tags(Places(root=tmp_path, home=tmp_path), "w")["git_commit"] == "none"
