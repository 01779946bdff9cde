"""The environment that runs this is what the locks say, and each way of being something else is noticed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import environment


def test_this_environment_is_what_the_locks_say():
    """Nothing more, nothing less, no other version, nothing compromised, and no startup file that is not known."""
    assert environment.problems() == []


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site-packages with two distributions, locked by `locks`."""
    for name, version in (("honest", "1.0"), ("lightning", "2.6.6")):
        distribution(tmp_path / "site", name, version)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "main.txt").write_text("honest==1.0\nlightning==2.6.6\n")
    for name in ("torch.txt", "torch-cpu.txt"):
        (tmp_path / "locks" / name).write_text("")
    return tmp_path / "site"


def distribution(site: Path, name: str, version: str) -> None:
    for old in site.glob(f"{name}-*.dist-info"):
        shutil.rmtree(old)
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def problems(site: Path) -> list[str]:
    return environment.problems(site, site.parent / "locks")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a package of a similar name": (lambda site: distribution(site, "lightening", "1.0"), "no lock names it"),
    "another version": (lambda site: distribution(site, "honest", "1.1"), "the lock says 1.0"),
    "a package that is gone": (lambda site: shutil.rmtree(site / "honest-1.0.dist-info"), "is not installed"),
    "a compromised release": (lambda site: distribution(site, "lightning", "2.6.3"), "stolen token"),
    "a .pth file with code": (lambda site: (site / "x.pth").write_text("import os; os.getcwd()\n"), "x.pth runs code"),
    "a .pth file with a folder": (lambda site: (site / "x.pth").write_text("/tmp/evil\n"), "puts folders on the path"),
    "a known .pth file with other contents": (
        lambda site: (site / "coloredlogs.pth").write_text("import os; os.getcwd()\n"),
        "coloredlogs.pth runs code",
    ),
    "code in our own .pth file": (
        lambda site: (site / "__editable__.ai_prime-0.1.0.pth").write_text("/here\nimport os\n"),
        "runs code",
    ),
    "sitecustomize": (lambda site: (site / "sitecustomize.py").write_text(""), "sitecustomize.py"),
    "usercustomize, compiled": (lambda site: (site / "usercustomize.so").write_bytes(b""), "usercustomize.so"),
    "sitecustomize as a package": (
        lambda site: ((site / "sitecustomize").mkdir(), (site / "sitecustomize" / "__init__.py").write_text("")),
        "runs at every start",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_noticed(site: Path, name: str, track: Callable[..., None]):
    """A sentence names it; without the change there is none."""
    change, said = CHANGES[name]
    assert problems(site) == []
    change(site)
    found = problems(site)
    assert any(said in one for one in found), found
    track(row=79, injections=1, lost=0, what="an environment that is not the locks'")


def test_known_startup_files_are_those_of_locked_packages():
    """The list does not outlive what it is about: each file belongs to a package that is locked, or to an installer."""
    owners = {"_virtualenv.pth": "uv", "coloredlogs.pth": "coloredlogs", "distutils-precedence.pth": "setuptools"}
    assert set(environment.STARTUP) == set(owners)
    assert set(owners.values()) <= set(environment.locked()) | environment.INSTALLERS
