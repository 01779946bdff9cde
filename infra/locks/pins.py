"""What a lock pins, and which of it was compromised (denied.toml). Reads files only; imports nothing that is not Python's own."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DENIED = HERE / "denied.toml"
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.M)


@dataclass(frozen=True)
class Denied:
    """Releases of one package that must not be installed, and why."""

    package: str
    versions: tuple[str, ...]
    why: str
    source: str


def canonical(name: str) -> str:
    """A package's one name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """Version by canonical name, of a requirements file's text."""
    return {canonical(name): version for name, version in _PIN.findall(lock)}


def denied(file: Path = DENIED) -> list[Denied]:
    """The list."""
    found = tomllib.loads(file.read_text(encoding="utf-8"))["release"]
    return [Denied(canonical(one["package"]), tuple(one["versions"]), one["why"], one["source"]) for one in found]


def constraints(refused: list[Denied]) -> str:
    """The list as constraints for a resolver: it then chooses another release."""
    return "".join(f"{one.package}{','.join(f'!={version}' for version in one.versions)}\n" for one in refused)


def compromised(installed: Mapping[str, str], refused: list[Denied]) -> list[str]:
    """A sentence for each pin, or installed distribution, that is on the list; a build's local part (`+cpu`) does not hide it."""
    return [
        f"{one.package} {installed[one.package]}: {one.why} ({one.source})"
        for one in refused
        if installed.get(one.package, "").partition("+")[0] in one.versions
    ]
