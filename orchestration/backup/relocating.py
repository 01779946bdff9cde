"""What in a home names the home's own place, or this machine's processes: rewritten before the home is put to use.

Manifests of before there were signatures name their model's folder from the root; the routes name servers of before. All other files name nothing of the kind, or are left out
of a backup for it (see `contents`); Dagster's history keeps the paths that its runs had then.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from data.files import write_json
from serving import manifests, routes
from serving.routes import Route


def relocate(home: Path) -> None:
    """Rewrite what below `home` holds of another place or another moment; what was never moved stays as it is, byte by byte."""
    _forget_servers(home)
    anchor(home)


def anchor(home: Path) -> None:
    """Have each manifest name its model's folder as the one beside it: those of before there were signatures named it from the root."""
    for file in sorted((home / "models").glob("*/*.yaml")):
        manifest = manifests.read(file)
        beside = manifests.located(manifest, file.with_suffix(""))
        if manifests.argument(manifest, "--model_dir") != manifests.argument(beside, "--model_dir"):
            manifests.write(file, beside)


def _forget_servers(home: Path) -> None:
    """Keep of the routes who is known and how much is kept of their traffic; where to send it, `aiprime up` finds out."""
    if known := routes.read(home):
        kept = [asdict(Route(workload=name, sample=known[name].sample)) for name in sorted(known)]
        write_json(routes.path(home), {"routes": kept})
