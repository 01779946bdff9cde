import errno
import os
import pickle
from pathlib import Path

import pytest
import torch

from data.errors import UserError
from tests.training.little import prepared
from training import checkpoint
from training.fit import fit


def cut_off(folder: Path) -> None:
    """A fit that ended early and left its checkpoint."""

    def progress(row) -> None:
        if row["epoch"] == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(prepared(), folder=folder, seed=0, patience=9, token="t", checkpoint_every=0, progress=progress)


def test_a_checkpoint_is_found_by_its_token(tmp_path):
    """The checkpoint of an interrupted fit is usable for the same token and for no other."""
    cut_off(tmp_path)
    assert checkpoint.usable(tmp_path, "t")["epoch"] == 3
    assert checkpoint.usable(tmp_path, "another") is None
    assert checkpoint.usable(tmp_path / "nowhere", "t") is None


def test_leftovers_of_killed_writes_are_swept(tmp_path):
    """Files that a kill left beside the checkpoint are gone after the next look."""
    (tmp_path / ".last.ckpt.abc").write_bytes(b"half")
    checkpoint.usable(tmp_path, "t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_broken_checkpoint_means_a_fresh_start(tmp_path, damage):
    """A file that cannot be read is passed over, never half used."""
    cut_off(tmp_path)
    file = tmp_path / checkpoint.FILE
    whole = file.read_bytes()
    file.write_bytes({"truncated": whole[: len(whole) // 2], "garbage": b"\x80\x02nonsense", "empty": b""}[damage])
    assert checkpoint.usable(tmp_path, "t") is None


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_checkpoint_cannot_run_code(tmp_path):
    """A checkpoint that holds a pickled call is refused unread."""
    target = tmp_path / "ran"
    torch.save({"aiprime_token": "t", "x": Bomb(target)}, tmp_path / checkpoint.FILE)
    assert checkpoint.usable(tmp_path, "t") is None
    (tmp_path / checkpoint.FILE).write_bytes(pickle.dumps(Bomb(target), protocol=2))
    assert checkpoint.usable(tmp_path, "t") is None
    assert not target.exists()


def test_the_write_stays_on_one_filesystem(tmp_path, monkeypatch):
    """Nothing passes through TMPDIR: a checkpoint is written beside its place and renamed."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    cut_off(tmp_path / "fit")
    assert [f.name for f in (tmp_path / "fit").iterdir()] == [checkpoint.FILE]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch, call):
    """Where a write fails, the error says what and where, the file before it stays whole, and no half file is left."""
    cut_off(tmp_path)
    before = (tmp_path / checkpoint.FILE).read_bytes()

    def full(*_args) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match="No space left"):
        fit(prepared(), folder=tmp_path, seed=0, patience=9, token="t", checkpoint_every=0)
    assert (tmp_path / checkpoint.FILE).read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == [checkpoint.FILE]
