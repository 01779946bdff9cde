"""The YAML of a new workload, written for a person to read and change; and the index of workloads that dvc.yaml reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.files import write_atomically
from data.recipe import INDEX

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PLAIN = re.compile(r"[^\W\d_][\w €%/().-]*(?<! )\??")  # begins with a letter: YAML reads it as text, whatever the script
_DURATION = re.compile(r"\d+(?:min|[smhdw])")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"}
_WIDTH = 110


def render(
    name: str,
    task: str,
    family: str,
    data: Mapping[str, Any],
    quality: Mapping[str, Any],
    features: Mapping[str, Any],
    notes: Iterable[str],
) -> str:
    """The whole `defs.yaml`: every section, in order, only what differs from the defaults, with comments. UserError for a bad name."""
    if NAME.fullmatch(name) is None:
        step = "lower-case letters, digits and _ only, a letter first, at most 41"
        raise UserError(f"{name!r} cannot be a workload's name", next_step=step)
    series = bool(features)
    lines = [
        "# A draft that `aiprime new` inferred from the file. Read it over: the kinds, what is ignored, the expectations.",
        *(f"# - {note}" for note in notes),
        "type: assets.Workload",
        "attributes:",
        f"  name: {name}",
        '  description: ""',
        f"  family: {family}",
        f"  task: {task}",
        "",
        "  data:",
        *_mapping({k: v for k, v in data.items() if k not in ("columns", "ignore")}, 4),
        "    # number, integer, boolean, category or time; a ? after it allows missing values",
        "    columns:",
        *_mapping(data["columns"], 6),
    ]
    if data.get("ignore"):
        lines += [
            "    # read, but never shown to the model; take a column back by deleting it here (and give it its kind above)"
        ]
        lines += _entry("ignore", data["ignore"], 4)
    lines += [
        "",
        "  # What stops a run before training. Ranges and shares have slack; tighten what you know better.",
        "  quality:",
    ]
    lines += _mapping({k: v for k, v in quality.items() if k != "columns"}, 4)
    if quality.get("columns"):
        lines += ["    columns:", *_mapping(quality["columns"], 6)]
    lines += [""]
    if series:
        lines += [
            "  # Horizons are steps ahead. `known` columns are known for the forecast's own time (a holiday, a planned price).",
            "  features:",
        ]
        lines += _mapping({"known": []} | dict(features), 4)
    else:
        lines += ["  features: {}"]
    lines += ["  train: {}  # size: tiny | small | base", "  promote: {}", "  serve: {}", "  schedule: {}", ""]
    return "\n".join(lines)


def _mapping(values: Mapping[str, Any], indent: int) -> list[str]:
    return [line for key, value in values.items() for line in _entry(key, value, indent)]


def _entry(key: str, value: Any, indent: int) -> list[str]:
    """One key: on one line, or a list with one item per line where that is too long."""
    start = f"{' ' * indent}{_scalar(key)}:"
    line = f"{start} {_flow(value) if isinstance(value, list | tuple | Mapping) else _scalar(value)}"
    if len(line) <= _WIDTH or not isinstance(value, list | tuple):
        return [line]
    return [start, *(f"{' ' * (indent + 2)}- {_flow(item)}" for item in value)]


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    if isinstance(value, str) and "?" in value:  # plain it is fine in a block, and ends a flow
        return _escaped(value)
    return _scalar(value)


def _scalar(value: Any) -> str:
    """A plain value where every YAML reader agrees on it; otherwise in double quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")  # YAML 1.1 wants the point
    if not isinstance(value, str):
        return str(value)
    if _DURATION.fullmatch(value) or (_PLAIN.fullmatch(value) and value.lower() not in _WORDS and value.isprintable()):
        return value
    return json.dumps(value, ensure_ascii=False) if value.isprintable() else _escaped(value)


def _escaped(value: str) -> str:
    """Double quotes with YAML's own escapes: JSON's surrogate pairs are none of them."""
    made = (ch if ch.isprintable() and ch not in '"\\' else f"\\U{ord(ch):08x}" for ch in value)
    return '"' + "".join(made) + '"'


def registered(root: Path) -> dict[str, str]:
    """The names in the index and each one's family."""
    listed = (_index(root)[1].get("workloads") or {}).items()
    return {str(name): str((entry or {}).get("family", "")) for name, entry in listed}


def register(root: Path, name: str, family: str) -> None:
    """Add the workload to `orchestration/workloads/index.yaml`, from which dvc.yaml makes its stages; comments stay."""
    if NAME.fullmatch(name) is None:
        raise UserError(
            f"{name!r} cannot be a workload's name", next_step="lower-case letters, digits and _ only, a letter first"
        )
    yaml, index = _index(root)
    if not index.get("workloads"):
        index["workloads"] = {}
    entry = yaml.map(family=family)
    entry.fa.set_flow_style()
    index["workloads"][name] = entry
    _write(root, yaml, index)


def unregister(root: Path, name: str) -> None:
    """Take the workload out of the index; nothing happens where it is not in it."""
    yaml, index = _index(root)
    if name in (index.get("workloads") or {}):
        del index["workloads"][name]
        _write(root, yaml, index)


def _index(root: Path) -> tuple[Any, Any]:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2)
    file = root / INDEX
    return yaml, (yaml.load(file.read_text(encoding="utf-8")) if file.is_file() else None) or yaml.map()


def _write(root: Path, yaml: Any, index: Any) -> None:
    import io

    text = io.StringIO()
    yaml.dump(index, text)
    write_atomically(root / INDEX, text.getvalue())
