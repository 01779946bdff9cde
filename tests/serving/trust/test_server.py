"""A real model server, as the deployer starts it, on a version that was tampered with in each of eight ways."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import registered
from data.errors import UserError
from serving import manifests, servers
from serving.deploy import LocalTarget
from serving.supervision import Supervisor, free_port
from serving.trust import arguments, keys
from tests.conftest import ROOT
from tests.serving.trust import signed
from tests.serving.trust.signed import Tamper, Version

NAME = registered.WORKLOAD


def extended(version: Version) -> str:
    (version.folder / "extra.json").write_text("{}")
    return "extra.json"


def rolled_back(version: Version) -> str:
    """The version before, with its own valid signature and statement, in this one's place."""
    signed.replace(version, by=Version(version.home, version.folder.with_name("1"), 0))
    return "2.release"


def wrongly_keyed(version: Version) -> str:
    return signed.wrongly_keyed(version) and "2.release"


CLASSES: dict[str, Tamper] = {
    "a byte was changed": signed.changed,
    "a file was added": extended,
    "a file was renamed": signed.renamed,
    "a file became a link": signed.linked,
    "the signed list was forged": signed.forged,
    "it was signed with another key": wrongly_keyed,
    "it is not signed": signed.unsigned,
    "an older version took its place": rolled_back,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions are registered and cleared; each has its statement."""
    made = tmp_path_factory.mktemp("server") / "home"
    clearance = LocalTarget(made).clearance
    for version in (1, 2):
        registered.register(made, version)
        clearance.give(NAME, str(version), reason="test", actor="aiprime")
        clearance.manifest(NAME, str(version))
    return made


@pytest.fixture
def version(home: Path, tmp_path: Path) -> Iterator[Version]:
    """Version 2; what is done to it is undone afterwards."""
    models = home / "models"
    shutil.copytree(models, tmp_path / "kept")
    folder = models / NAME / "2"
    yield Version(home, folder, 0)
    shutil.rmtree(models)
    shutil.copytree(tmp_path / "kept", models)
    (home / "elsewhere").unlink(missing_ok=True)


def command(home: Path) -> list[str]:
    """What the deployer starts for version 2, now."""
    manifest = LocalTarget(home).clearance.manifest(NAME, "2")
    return list(manifests.command(manifest, free_port(), 0))


def check(words: list[str]) -> str:
    """What the server does first with its command line."""
    parser = argparse.ArgumentParser()
    for word in ("model_name", "model_dir", "http_port", "grpc_port", "digest", "version", "body_limit"):
        parser.add_argument(f"--{word}", type=Path if word == "model_dir" else str)
    arguments.add(parser)
    return arguments.check(parser.parse_known_args(words[3:])[0])


@pytest.mark.parametrize("what", CLASSES)
def test_a_tampered_version_is_refused(version: Version, what: str, record_property: Callable[[str, object], None]):
    """Each of the eight: the same check that lets the version pass refuses it, names the file and says what to do."""
    assert "released by decision" in check(command(version.home))
    named = CLASSES[what](version)
    with pytest.raises(UserError) as refused:
        check(command(version.home))
    assert named in str(refused.value)
    assert refused.value.next_step
    record_property("fault", json.dumps({"row": 78, "injections": 1, "lost": 0, "unknown": 0, "recovery_s": 0}))


def test_nothing_said_is_nothing_trusted(version: Version):
    """Without keys, or without the decision, nothing is loaded; `--unsigned` alone loads any folder, and a wrong digest not even then."""
    plain = manifests.command(manifests.read(manifests.file(version.home, NAME, "2")), 1, 0)
    trusted = ["--trusted_keys", str(keys.trusted(version.home)[0])]
    with pytest.raises(UserError, match="no --trusted_keys were given"):
        check([*plain])
    with pytest.raises(UserError, match="which release is to be loaded was not said"):
        check([*plain, *trusted])
    assert check([*plain, *trusted, "--purpose", "candidate"]).startswith("a candidate, signed by key")
    assert check([*plain, "--unsigned"]).startswith("unsigned")
    with pytest.raises(UserError, match="not the ones that were asked for"):
        check([*plain, "--unsigned", "--digest", "0" * 64])


@pytest.mark.slow
def test_the_server_does_not_start(version: Version, capsys: pytest.CaptureFixture[str]):
    """`python -m serving`, for each of the eight: exit status 2, the file's name, no traceback, and no port was ever opened."""
    pristine, refused = version.home.with_name("pristine"), 0
    shutil.rmtree(pristine, ignore_errors=True)
    shutil.copytree(version.home / "models", pristine)
    began = time.monotonic()
    for what, tamper in CLASSES.items():
        named = tamper(version)
        done = subprocess.run(command(version.home), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), f"{what}: {done.stderr}"
        assert named in done.stderr
        assert "next:" in done.stderr
        refused += 1
        shutil.rmtree(version.home / "models")
        shutil.copytree(pristine, version.home / "models")
        (version.home / "elsewhere").unlink(missing_ok=True)
    with capsys.disabled():
        print(
            f"\nfault 78 (tampered model), seeds 1, injections {len(CLASSES)}, acknowledged {refused}, lost 0, unknown 0, ",
            end="",
        )
        print(f"recovery {time.monotonic() - began:.1f} s")
    assert refused == len(CLASSES) == 8


RACED = """
import sys
from serving import __main__ as server
class Raced(server.Session):
    def __init__(self, folder):
        super().__init__(folder)
        (folder / "extra.json").write_text("{}")
server.Session = Raced
import serving.runtime
serving.runtime.Server.serve = lambda self: sys.exit("it serves")
server.main()
"""


@pytest.mark.slow
def test_a_folder_that_is_changed_while_it_is_loaded_is_not_served(version: Version):
    """What was checked and what was loaded are two reads: it is checked again before anybody is listened to."""
    words = command(version.home)[3:]
    done = subprocess.run(
        [sys.executable, "-c", RACED, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "it serves" in done.stderr) == (2, False), done.stderr
    assert "extra.json was added after it was signed" in done.stderr


@contextmanager
def supervised(home: Path) -> Iterator[LocalTarget]:
    try:
        yield LocalTarget(home)
    finally:
        Supervisor(home).shutdown()


@pytest.mark.slow
def test_a_champion_that_was_tampered_with_does_not_come_back(version: Version):
    """After everything was stopped, a champion whose folder was changed is refused and said; restored it serves again."""
    with supervised(version.home) as target:
        target.release(NAME, 1, expected=None, reason="the first")
        target.release(NAME, 2, expected=1, reason="better")
        Supervisor(version.home).shutdown()
        kept = (version.folder / "model.onnx").read_bytes()
        signed.changed(version)
        done = "\n".join(target.reconcile())
        assert done.splitlines()[0].endswith(
            "the model's files are not the signed ones: model.onnx is not the file that was signed"
        )
        assert "Traceback" not in done
        assert not [one for one in Supervisor(version.home).status() if one.name == f"{NAME}-v2"]
        (version.folder / "model.onnx").write_bytes(kept)
        target.reconcile()
        assert servers.records(version.home)[f"{NAME}-v2"].ready()


@pytest.mark.slow
def test_a_candidate_serves_in_a_scratch_server_only(version: Version):
    """Signed and not released: a scratch server loads it, the server that the deployer starts does not, nor does one told nothing."""
    version.release.unlink()
    manifest = manifests.read(manifests.file(version.home, NAME, "2"))
    with LocalTarget(version.home).scratch(manifest) as server:
        assert server.ready()
    told_nothing = [sys.executable, "-m", "serving", "--model_name", NAME, "--model_dir", str(version.folder)]
    done = subprocess.run(told_nothing, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no --trusted_keys were given" in done.stderr
    trusted = ["--trusted_keys", str(keys.trusted(version.home)[0])]
    done = subprocess.run([*told_nothing, *trusted], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "which release is to be loaded was not said" in done.stderr
    digest = manifests.argument(manifest, "--digest")
    released = [*told_nothing, *trusted, "--version", "2", "--digest", digest, "--sequence", "4"]
    done = subprocess.run(released, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "2.release is missing" in done.stderr) == (2, True)
