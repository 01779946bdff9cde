"""What a version was made with: the locks' digests, and the main libraries as they are installed, with their licences."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from data.files import sha256
from data.places import Places

# What the numbers of a model go through: from the file to the answer.
LIBRARIES = (
    "dagster",
    "dvc",
    "feast",
    "great-expectations",
    "kserve",
    "lightning",
    "mlflow",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "torch",
)


@dataclass(frozen=True, kw_only=True)
class Library:
    """An installed distribution; `license` is an SPDX expression or what its author wrote, None where it says nothing short."""

    name: str
    version: str
    license: str | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Libraries, and the sha256 of each lock that this environment is installed from; none where the tree has no locks."""

    libraries: tuple[Library, ...]
    locks: tuple[tuple[str, str], ...]

    @property
    def lock(self) -> str | None:
        """One digest over the locks."""
        text = "".join(f"{name}\0{digest}\n" for name, digest in self.locks)
        return hashlib.sha256(text.encode()).hexdigest() if self.locks else None


def environment(places: Places) -> Environment:
    """The environment of this process."""
    return Environment(libraries=tuple(filter(None, map(_library, LIBRARIES))), locks=tuple(locks(places.root)))


def locks(root: Path) -> list[tuple[str, str]]:
    """Path from the root and sha256 of the locks that infra/install.sh chose: the main one, and torch's by the build that is here."""
    torch = _library("torch")
    chosen = "torch-cpu.txt" if torch and torch.version.endswith("+cpu") else "torch.txt"
    files = [root / "infra" / "locks" / name for name in ("main.txt", chosen)]
    return [(file.relative_to(root).as_posix(), sha256(file)) for file in files if file.is_file()]


def version() -> str:
    """Of AI Prime itself."""
    try:
        return metadata.version("ai-prime")
    except metadata.PackageNotFoundError:  # run from a bare tree
        return "unknown"


def _library(name: str) -> Library | None:
    try:
        about: Any = metadata.metadata(name)  # an email.message.Message
    except metadata.PackageNotFoundError:
        return None
    said = about.get("License-Expression") or about.get("License") or ""
    if not said or len(said) > 60 or "\n" in said:  # some put the whole text there
        named = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier") or [] if one.startswith("License :: ")]
        said = named[0] if len(named) == 1 else ""
    return Library(name=name, version=about["Version"], license=said or None)
