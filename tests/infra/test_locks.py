"""The locks: every pin has its hash, nothing that was compromised is in them, and what was swapped is not installed."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.locks.pins import HERE, Denied, canonical, compromised, constraints, denied, pins
from tests.infra.wheels import uv, wheel

LOCKS = ("main", "torch", "torch-cpu", "uv")


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash_and_no_host_is_named(name: str):
    """A lock says what, in which version, with which bytes; from where is the machine's to say."""
    text = (HERE / f"{name}.txt").read_text()
    entries = [line for line in text.replace("\\\n", "").splitlines() if line and not line.startswith(" ")]
    assert "://" not in text
    assert len(entries) == len(pins(text)) > 0
    assert all("==" in one and "--hash=sha256:" in one for one in entries)


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_holds_what_was_compromised(name: str):
    """None of the releases of denied.toml is pinned."""
    assert compromised(pins((HERE / f"{name}.txt").read_text()), denied()) == []


@pytest.mark.parametrize("one", denied(), ids=lambda one: one.package)
def test_each_denied_release_is_found(one: Denied, track: Callable[..., None]):
    """However its name is written, and whatever build it is; the sentence says why and who says so. The release beside it passes."""
    for version in one.versions:
        for name in (one.package, one.package.upper(), one.package.replace("-", "_")):
            lock = f"numpy==2.4.6 \\\n    --hash=sha256:00\n{name}=={version} \\\n    --hash=sha256:00\n"
            (said,) = compromised(pins(lock), denied())
            assert one.why in said
            assert one.source in said
        assert compromised({one.package: f"{version}+cpu"}, denied())
        assert not compromised({one.package: f"{version}.post1"}, denied())
    assert one.source.startswith("https://")
    track(row=79, injections=3 * len(one.versions), lost=0, what="a compromised release in a lock")


def test_a_resolver_keeps_away_from_what_was_compromised(tmp_path: Path):
    """Asked for the newest lightning of an index that still holds 2.6.3, the resolver takes 2.6.1; without the list it takes 2.6.3."""
    for version in ("2.6.1", "2.6.2", "2.6.3"):
        wheel(tmp_path / "index", "lightning", version)
    (tmp_path / "wanted.in").write_text("lightning\n")
    (tmp_path / "constraints.txt").write_text(constraints(denied()))
    compile_ = ("pip", "compile", tmp_path / "wanted.in", "--find-links", tmp_path / "index")
    careful = uv(*compile_, "--constraint", tmp_path / "constraints.txt")
    assert pins(careful.stdout) == {"lightning": "2.6.1"}, careful.stderr
    assert pins(uv(*compile_).stdout) == {"lightning": "2.6.3"}


def locked(file: Path, folder: Path) -> Path:
    """A lock of one wheel as it is now."""
    name, version = file.name.split("-")[:2]
    lock = folder / "lock.txt"
    lock.write_text(f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n")
    return lock


def install(lock: Path, index: Path, target: Path) -> tuple[int, str]:
    """The exit status and what was said; the way of infra/install.sh."""
    done = uv("pip", "install", "--require-hashes", "-r", lock, "--find-links", index, "--target", target)
    return done.returncode, done.stderr


def test_a_swapped_dependency_is_not_installed(tmp_path: Path, track: Callable[..., None]):
    """The same name and version with other bytes is refused, and nothing of it is left; the right bytes are installed."""
    index, target = tmp_path / "index", tmp_path / "target"
    lock = locked(wheel(index, "honest", "1.0", "right = True\n"), tmp_path)
    status, said = install(lock, index, target)
    assert (status, (target / "honest.py").is_file()) == (0, True), said
    wheel(index, "honest", "1.0", "import os\n")
    status, said = install(lock, index, tmp_path / "other")
    assert status != 0
    assert "hash" in said.lower()
    assert not (tmp_path / "other" / "honest.py").exists()
    track(row=79, injections=1, lost=0, what="a wheel with other bytes")


def test_what_has_no_hash_is_not_installed(tmp_path: Path, track: Callable[..., None]):
    """A line that was added to a lock without a hash stops the whole installation, the honest pins with it."""
    index = tmp_path / "index"
    lock = locked(wheel(index, "honest", "1.0"), tmp_path)
    wheel(index, "honnest", "1.0")
    lock.write_text(lock.read_text() + "honnest==1.0\n")
    status, said = install(lock, index, tmp_path / "target")
    assert status != 0
    assert "hash" in said.lower()
    assert not (tmp_path / "target").exists() or not list((tmp_path / "target").glob("hon*"))
    track(row=79, injections=1, lost=0, what="a package without a hash")


def test_names_are_compared_as_an_index_compares_them():
    """PEP 503: case, dots, dashes and underscores are one."""
    assert {canonical(name) for name in ("Great_Expectations", "great.expectations", "great--expectations")} == {
        "great-expectations"
    }
    assert pins("Pkg.A[extra]==1.0 ; python_version>'3' \\\n    --hash=sha256:1\n# b==2\n    c==3\n") == {"pkg-a": "1.0"}
