"""Is the environment what the locks say, and nothing more? `python -m infra.environment` prints what is wrong; exit status 1 then.

- every distribution is pinned by a lock in that very version, or is ours, or is what installs them;
- none is a release that was compromised (infra/locks/denied.toml);
- nothing runs at the start of every Python process but the startup files that are known here, by their contents.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from infra.locks.pins import HERE, canonical, compromised, denied, pins

OURS = {"ai-prime"}
INSTALLERS = {"uv"}  # infra/install.sh brings it where the machine has none: by its own lock, infra/locks/uv.txt
# Startup files by the sha256 of their contents; another version of their package needs a look, and a new line here.
STARTUP = {
    "_virtualenv.pth": "69ac3d8f27e679c81b94ab30b3b56e9cd138219b1ba94a1fa3606d5a76a1433d",  # older uv's
    "coloredlogs.pth": "dda83a855986efa5cd87f0248b0199c0086eb0e8e7fece7d6741959c5ce39536",
    "distutils-precedence.pth": "2638ce9e2500e572a5e0de7faed6661eb569d1b696fcba07b0dd223da5f5d224",
}
_EDITABLE = "__editable__.ai_prime-0.1.0.pth"


def problems(site: Path | None = None, locks: Path = HERE) -> list[str]:
    """A sentence for each; `site` is a site-packages folder, by default this environment's."""
    folder = site or Path(sysconfig.get_path("purelib"))
    installed = distributions(folder)
    return [*unpinned(installed, locks), *compromised(installed, denied()), *startup(folder)]


def distributions(site: Path) -> dict[str, str]:
    """Version by canonical name of what is installed there."""
    found: dict[str, str] = {}
    for one in metadata.distributions(path=[str(site)]):
        found[canonical(one.metadata["Name"])] = one.version
    return found


def locked(locks: Path = HERE) -> dict[str, str]:
    """What the locks pin here: the main one, and torch's by the build that is installed."""
    found = pins((locks / "main.txt").read_text(encoding="utf-8"))
    try:
        cpu = metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        cpu = False
    return found | pins((locks / ("torch-cpu.txt" if cpu else "torch.txt")).read_text(encoding="utf-8"))


def unpinned(installed: Mapping[str, str], locks: Path = HERE) -> Iterator[str]:
    """What no lock names in that version: a package of another name (a typing slip's, too) is seen here."""
    wanted = locked(locks)
    for name, version in sorted(installed.items()):
        if name in OURS | INSTALLERS or wanted.get(name) == version:
            continue
        yield f"{name} {version} is installed, {f'the lock says {wanted[name]}' if name in wanted else 'and no lock names it'}"
    for name in sorted(set(wanted) - set(installed)):
        yield f"{name} {wanted[name]} is in the lock, and is not installed"


def startup(site: Path) -> Iterator[str]:
    """Files that Python runs by itself (`site` in the library reference): .pth files with code, sitecustomize and usercustomize."""
    for file in sorted(site.glob("*.pth")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        runs = any(line.startswith(("import ", "import\t")) for line in lines)
        if file.name == _EDITABLE and not runs:
            continue
        if (digest := hashlib.sha256(file.read_bytes()).hexdigest()) != STARTUP.get(file.name):
            what = "runs code at every start of Python" if runs else "puts folders on the path of every Python process"
            yield f"{file.name} {what}, and is not a startup file that is known (sha256 {digest})"
    for name in ("sitecustomize", "usercustomize"):
        for found in sorted([*site.glob(f"{name}.*"), *site.glob(f"{name}/__init__.py")]):
            yield f"{found.name} runs at every start of Python, and none is expected"


if __name__ == "__main__":
    wrong = problems()
    print("\n".join(wrong) or f"{len(distributions(Path(sysconfig.get_path('purelib'))))} distributions, as the locks say")
    sys.exit(1 if wrong else 0)
