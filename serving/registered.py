"""Whether a version's manifest is the one that was registered: it names a program to run, so nothing in it is taken on its own word.

Knows neither who cleared a version nor what signatures are worth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving import manifests
from serving.ledger import Decision
from serving.manifests import ServeSection
from serving.trust.refusal import Untrusted

PROGRAMS: tuple[tuple[str, ...], ...] = (manifests.PROGRAM,)  # what a manifest may start
_FORM = manifests.container_of(manifests.render("form", 0, Path("/0"), "", ServeSection(max_waiting=0)))
_FLAGS, _ENVIRONMENT = set(_FORM["args"][::2]), [one["name"] for one in _FORM["env"]]
_LATER = "--timeout_seconds"  # manifests of before there were signatures lack it
_OPTIONAL = {_LATER, "--max_waiting"}


def plain(manifest: dict[str, Any], where: object) -> None:
    """Refuse (Untrusted) a manifest that starts another program than the model server, or tells it what a version's never does."""
    container = manifests.container_of(manifest)
    command, words, environment = (container.get(one) for one in ("command", "args", "env"))
    if not isinstance(command, list) or tuple(command) not in PROGRAMS:
        raise Untrusted(f"the manifest starts another program than the model server: {command}", where=where)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Untrusted("the manifest's arguments are no words", where=where)
    flags, values = words[::2], words[1::2]
    strange = [flag for flag in flags if flag not in _FLAGS] + [value for value in values if value.startswith("--")]
    if strange or len(flags) != len(values) or len(set(flags)) != len(flags) or not set(flags) >= _FLAGS - _OPTIONAL:
        said = f": {strange[0]}" if strange else ", or not once each"
        raise Untrusted(f"the manifest tells its server what no version's manifest does{said}", where=where)
    shaped = isinstance(environment, list) and all(
        isinstance(one, dict) and one.keys() == {"name", "value"} and one["name"] in _ENVIRONMENT for one in environment
    )
    if not shaped:
        what = f"the manifest's environment may say nothing but {', '.join(_ENVIRONMENT)}"
        raise Untrusted(what, where=where)


def same(file: Path, manifest: dict[str, Any], content: str, registered: Decision) -> None:
    """Refuse (Untrusted) a manifest, read from `file`, whose bytes have the SHA-256 `content`, where it is not the registered one.

    A record of before it kept that hash is answered by the manifest that its settings make.
    """
    kept = registered.payload.get("manifest")
    if not (_made(file, manifest, registered) if kept is None else kept == content):
        what = f"{registered.workload}: the manifest of version {registered.version} is not the one that was registered"
        raise Untrusted(what, where=file)


def _made(file: Path, manifest: dict[str, Any], registered: Decision) -> bool:
    """Whether it is what we write for the record's settings, now or before there were signatures."""
    folder, told = file.with_suffix(""), registered.payload
    try:
        section = ServeSection(**(told.get("serve") or {}))
    except ValueError:  # settings that this version does not know
        return False
    now = manifests.render(registered.workload, registered.version, folder, told["model_digest"], section)
    if Path(manifests.argument(manifest, "--model_dir")).resolve() == folder.resolve():
        manifest = manifests.located(manifest, folder)
    return manifest in (now, manifests.without(now, _LATER))
