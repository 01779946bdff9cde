"""DVC's door: one state for two doors, and nothing false in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from data import recipe, versions
from data.errors import UserError
from tests.data import project
from tests.data.door import STAGES, Door

AFTER_SOURCE = STAGES[1:]


def test_each_stage_runs_once(door: Door):
    """The first time every stage runs; the second time only the source is looked at, and each answer takes a moment."""
    assert door.up() == STAGES
    runs = [door.bring(stage) for stage in AFTER_SOURCE]
    assert not any(run.ran or run.restored for run in runs)
    assert door.up() == ["source"]
    assert set(door.bring("model").outs) == set(recipe.declared(door.root, "model", "w").outs)


def test_what_a_change_reruns(ready: Door):
    """serve leaves everything fresh; promote asks for new scores only; train reruns model and scores; data all; code its stage."""
    ready.edit("replicas: 1", "replicas: 3")
    assert ready.up() == ["source"]
    ready.edit("tolerance: 0.01", "tolerance: 0.5")
    assert set(ready.up()) <= {"source", "evaluation"}
    ready.edit("seed: 0", "seed: 1")
    assert ready.up() == ["source", "model", "evaluation"]
    ready.edit("rows: 1", "rows: 2")
    assert ready.up() == STAGES
    fit = ready.root / "training" / "fit.py"
    fit.write_text(fit.read_text() + "# changed\n")
    assert ready.up() == ["source", "model", "evaluation"]
    split = ready.root / "data" / "split.py"
    split.write_text(split.read_text() + "# changed\n")
    assert ready.up() == ["source", "quality", "features"]  # the same bytes came out: it stops there


def test_what_was_is_restored(ready: Door):
    """Parameters that come back, and outputs that were deleted, come from the run cache without running."""
    first = versions.locked(ready.root, "w")
    ready.edit("seed: 0", "seed: 1")
    ready.up()
    ready.edit("seed: 1", "seed: 0")
    assert ready.up() == ["source"]
    assert versions.locked(ready.root, "w") == first
    (ready.root / "data/store/w/model/a.txt").unlink()
    run = ready.bring("model")
    assert (run.ran, run.restored) == (False, True)
    assert (ready.root / "data/store/w/model/a.txt").is_file()


def test_a_failed_stage_leaves_the_lock(ready: Door):
    """An error of the function comes through unchanged, and dvc.lock is as it was; the next call runs."""
    ready.edit("seed: 0", "seed: 1")
    before = ready.lock

    def fail() -> None:
        (ready.root / "data/store/w/model").mkdir(parents=True)
        raise UserError("no rows", where="here", next_step="add some")

    with pytest.raises(UserError, match="no rows"):
        ready.bring("model", call=fail)
    assert ready.lock == before
    assert not (ready.root / "data/store/w/model/a.txt").exists()
    assert ready.up() == ["source", "model", "evaluation"]

    def wrong() -> None:
        raise ZeroDivisionError("ours")

    ready.edit("seed: 1", "seed: 2")
    with pytest.raises(ZeroDivisionError, match="ours"):
        ready.bring("model", call=wrong)


def test_a_stage_prints_nothing_of_dvc(door: Door, capfd: pytest.CaptureFixture[str]):
    """DVC's talk stays out of standard output; the function's own stays in."""
    door.bring("source", call=lambda: (print("mine"), door.stages.run(door.root, "source", "w"))[0])
    door.bring("dataset")
    door.bring("dataset")
    assert capfd.readouterr().out == "mine\n"


@pytest.mark.parametrize("edited", ["training/fit.py", "training/tabular/model.py", "defs"])
def test_an_edit_under_a_running_stage_is_noticed(door: Door, edited: str):
    """Code or a section edited while the stage runs fails it, by the guard and without it, and nothing is recorded."""
    for stage in STAGES[:4]:
        door.bring(stage)
    path = project.defs(door.root, "w") if edited == "defs" else door.root / edited
    text = path.read_text()

    def meanwhile() -> None:
        door.stages.run(door.root, "model", "w")
        path.write_text(text.replace("seed: 0", "seed: 9") if edited == "defs" else text + "# edited\n")

    def guarded() -> None:
        with versions.stage_guard(door.root, "model", "w"):
            meanwhile()

    for call in (guarded, meanwhile):
        with pytest.raises(UserError, match="edited while it ran"):
            door.bring("model", call=call)
        assert "model" not in versions.locked(door.root, "w")
        path.write_text(text)
    assert door.bring("model").ran


def test_a_torn_lock_is_said_and_rebuilt(ready: Door):
    """A dvc.lock that a killed `dvc repro` left half written is named; without it the next run restores everything."""
    lock = ready.root / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: len(whole) // 2] + b"\n  - [")
    with pytest.raises(UserError, match="not readable as YAML") as caught:
        versions.locked(ready.root, "w")
    assert "remove it" in caught.value.next_step
    lock.unlink()
    assert ready.up() == ["source"]
    assert lock.read_bytes() == whole


@pytest.mark.parametrize("torn", ["", '{"write": {"/a'])
def test_dvcs_list_of_who_writes_may_be_torn(ready: Door, torn: str):
    """DVC writes .dvc/tmp/rwlock in place and refuses what it cannot read: after a kill there the next run begins a new one."""
    (ready.root / ".dvc" / "tmp" / "rwlock").write_text(torn)
    ready.bring("source")
    assert json.loads((ready.root / ".dvc" / "tmp" / "rwlock").read_text()) == {}


def test_the_guard_lets_be_what_is_not_of_the_stage(door: Door):
    """An edit of another section or of other code is none of a stage's business."""
    with versions.stage_guard(door.root, "model", "w"):
        door.edit("replicas: 1", "replicas: 2")
        (door.root / "data" / "prepare.py").write_text("# other\n")


def test_damaged_outputs_are_refused(ready: Door):
    """A flipped bit in the store, or in the cache that DVC restores from, is refused by file and hash."""
    onnx = ready.root / "data/store/w/model/a.txt"
    stamp, content = onnx.stat(), onnx.read_bytes()
    onnx.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(onnx, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(UserError, match=r"data/store/w/model is damaged"):
        versions.verify(ready.root, "w", "model")
    md5 = versions.outputs(ready.root, "w")["dataset"]["data/store/w/dataset.parquet"]
    kept = ready.root / ".aiprime/dvc/cache/files/md5" / md5[:2] / md5[2:]
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes()[:-1])
    kept.chmod(0o444)
    (ready.root / "data/store/w/dataset.parquet").unlink()
    with pytest.raises(UserError, match=rf"dataset\.parquet is damaged(.|\n)*{md5}") as caught:
        ready.bring("dataset")
    assert str(kept) in caught.value.next_step
    kept.unlink()
    (ready.root / "data/store/w/dataset.parquet").unlink()
    assert ready.bring("dataset").ran
    versions.verify(ready.root, "w", "dataset")
    (ready.root / "data/store/w/quality.json").unlink()
    with pytest.raises(UserError, match=r"quality\.json is missing"):
        versions.verify(ready.root, "w", "quality")
    with pytest.raises(UserError, match="has not run for nobody"):
        versions.verify(ready.root, "nobody", "quality")


def test_what_is_read_is_what_was_hashed(ready: Door):
    """Bytes are given out where they have the hash of dvc.lock, of files and of files in folders; flipped ones, with their times set
    back and their hash remembered, are not; nor is what no stage has left."""
    paths = {"dataset": "data/store/w/dataset.parquet", "model": "data/store/w/model/inner/ü.txt"}
    for stage, path in paths.items():
        file = ready.root / path
        content, stamp = file.read_bytes(), file.stat()
        for _ in range(2):
            assert versions.read(ready.root, "w", stage, path) == content
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        with pytest.raises(UserError, match="is damaged"):
            versions.read(ready.root, "w", stage, path)
        file.unlink()
        with pytest.raises(UserError, match=r"is missing|is damaged"):
            versions.read(ready.root, "w", stage, path)
    with pytest.raises(UserError, match="is no output of quality"):
        versions.read(ready.root, "w", "quality", "data/store/w/other.json")
    with pytest.raises(UserError, match="has not run"):
        versions.read(ready.root, "nobody", "quality", "x")


def test_what_dvc_would_refuse_too_late_is_refused_at_once(door: Door):
    """A section that the YAML lacks and a bare date are named before the work, with what to write."""
    door.edit("  train: {seed: 0, lr: 1e-4}\n", "")
    with pytest.raises(UserError, match=r"missing in the YAML: .*w/defs\.yaml: attributes\.train"):
        door.bring("model")
    door.edit("since: '1990-01-01'", "since: 1990-01-01")
    with pytest.raises(UserError, match=r"a bare date: 1990-01-01(.|\n)*'1990-01-01'"):
        door.bring("dataset")
    with pytest.raises(UserError, match="no workload 'x'"):
        door.bring("dataset", "x")
    with pytest.raises(UserError, match="no stage 'serve'"):
        versions.recipe(door.root, "serve", "w")


def test_a_second_run_of_a_workload_waits(door: Door):
    """Two runs of one stage at once: the second waits for the first and finds its work done; past its deadline it says who is busy."""
    door.bring("source")
    started, go = threading.Event(), threading.Event()
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(door.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project.ROOT
    )
    try:
        assert held.stdout is not None
        assert held.stdin is not None
        assert held.stdout.readline() == "running\n"
        with pytest.raises(UserError, match="another run is busy"):
            versions.bring_up_to_date(door.root, "dataset", "w", lambda: None, wait_seconds=0.3)
        second: list[versions.StageRun] = []
        waiting = threading.Thread(target=lambda: (started.set(), second.append(door.bring("dataset")), go.set()))
        waiting.start()
        started.wait(5)
        held.stdin.write("end\n")
        held.stdin.flush()
        waiting.join(30)
        assert go.is_set()
        assert [run.ran for run in second] == [False]
        assert project.ran(door.root).count("dataset@w") == 1
    finally:
        held.kill()
        held.wait()


HOLD = """
import importlib.util, sys
from pathlib import Path
from data import versions
root = Path(sys.argv[1])
spec = importlib.util.spec_from_file_location("stub", root / "assets/stages.py")
stub = importlib.util.module_from_spec(spec); spec.loader.exec_module(stub)

def slow():
    print("running", flush=True)
    sys.stdin.readline()
    stub.run(root, "dataset", "w")

versions.bring_up_to_date(root, "dataset", "w", slow)
"""


def test_a_killed_run_leaves_the_lock(door: Door):
    """kill -9 in the middle of a stage: dvc.lock is as it was, nothing is held, and the next call runs."""
    door.bring("source")
    before = door.lock
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(door.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project.ROOT
    )
    assert held.stdout is not None
    assert held.stdout.readline() == "running\n"
    held.send_signal(signal.SIGKILL)
    held.wait()
    assert door.lock == before
    began = time.monotonic()
    assert door.bring("dataset").ran
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_the_two_doors_share_their_state(tmp_path: Path):
    """What one door did the other finds done; metrics, plots, dag, status and push work from the terminal."""
    door = Door(project.make(tmp_path / "project", ("w", "v")))
    assert door.up("w") == STAGES
    repro = door.dvc("repro")
    assert repro.returncode == 0, repro.stderr
    ran = project.ran(door.root)
    assert [name for name in ran if name.endswith("@v")] == [f"{stage}@v" for stage in STAGES]
    assert ran.count("model@w") == 1
    assert door.up("v") == ["source"]
    door.edit("seed: 0", "seed: 1", "v")
    assert door.up("v") == ["source", "model", "evaluation"]
    assert "didn't change" in door.dvc("repro", "evaluation@v").stdout
    assert project.ran(door.root).count("model@v") == 2
    metrics = json.loads(door.dvc("metrics", "show", "--json").stdout)
    assert set(metrics[""]["data"]) == {
        path
        for name in ("w", "v")
        for path in recipe.declared(door.root, "evaluation", name).outs
        if path.endswith("scores.json")
    }
    assert door.dvc("plots", "show", "-o", str(tmp_path / "plots")).returncode == 0
    assert "epoch" in (tmp_path / "plots" / "index.html").read_text()
    assert "evaluation@w" in door.dvc("dag").stdout
    assert set(json.loads(door.dvc("status", "--json").stdout)) == {"source@w", "source@v"}  # looked at each time
    assert door.dvc("push").returncode == 0
    assert list((door.root / ".aiprime/dvc/remote/files/md5").iterdir())


@pytest.mark.slow
def test_two_workloads_at_once(tmp_path: Path):
    """Two processes on two workloads do not wait for each other's stages, and both are recorded."""
    door = Door(project.make(tmp_path / "project", ("w", "v")))
    code = HOLD.replace('sys.stdin.readline()', 'pass').replace('"dataset", "w"', "stage, name").replace(
        "versions.bring_up_to_date(root, stage, name, slow)",
        f"name = sys.argv[2]\nfor stage in {STAGES}:\n    versions.bring_up_to_date(root, stage, name, slow)",
    )  # fmt: skip
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(door.root), name], stdout=subprocess.DEVNULL, cwd=project.ROOT)
        for name in "wv"
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    for name in "wv":
        assert list(versions.locked(door.root, name)) == STAGES


def test_initialise_keeps_what_a_person_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The cache and the remote lie below the home; a remote by setting takes its place; other keys stay; twice changes nothing."""
    root = project.make(tmp_path / "project")
    local = root / ".dvc" / "config.local"
    assert str(root / ".aiprime/dvc/cache") in local.read_text()
    local.write_text(local.read_text() + "['remote \"mine\"']\n    access_key_id = a,b\n")
    versions.initialise(root, tmp_path / "elsewhere")
    assert str(tmp_path / "elsewhere/dvc/cache") in local.read_text()
    assert "access_key_id = a,b" in local.read_text()
    stamp = local.stat().st_mtime_ns
    versions.initialise(root, tmp_path / "elsewhere")
    assert local.stat().st_mtime_ns == stamp
    monkeypatch.setenv("AIPRIME_DVC_REMOTE", "s3://bucket/path")
    versions.initialise(root, tmp_path / "elsewhere")
    assert "url = s3://bucket/path" in local.read_text()


@pytest.mark.slow
def test_unreferenced_data_is_collected(ready: Door):
    """gc keeps what dvc.lock names and deletes what it no longer does."""
    ready.edit("rows: 1", "rows: 2")
    ready.up()
    objects = ready.root / ".aiprime/dvc/cache/files/md5"
    before = sum(1 for path in objects.rglob("*") if path.is_file())
    versions.collect(ready.root)
    assert sum(1 for path in objects.rglob("*") if path.is_file()) < before
    assert ready.up() == ["source"]


def test_a_full_disk_is_said(door: Door):
    """No space left, wherever below it happens, is an error that says where and what to do; the lock stays as it was."""
    import errno

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "data/store/w/source.json")

    with pytest.raises(UserError, match=r"the disk is full(.|\n)*source\.json(.|\n)*aiprime gc"):
        door.bring("source", call=full)
    assert door.lock == b""
