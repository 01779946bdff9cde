"""Where the rows come from: files of the person, tables that a dependency ships, public files. It knows bytes, not kinds.

`fingerprint` says quickly which bytes there are (`source.json`, what DVC watches); `read` parses exactly those bytes.
"""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import caps
from data.errors import UserError
from data.files import sha256
from data.public import PUBLIC, public_file
from data.tables import parse

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from data.places import Places
    from data.section import DataSection

_BUNDLED = {"co2": ("statsmodels", "datasets/co2/co2.csv"), "digits": ("sklearn", "datasets/data/digits.csv.gz")}
_SCHEMES = ("bundled", "fetch")


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: where it lies here, and the name it is known by everywhere."""

    path: Path
    name: str


def files(source: str, places: Places) -> list[SourceFile]:
    """The files of a source, by name; a public file is downloaded where it is not yet here. UserError where there is none."""
    scheme, _, name = source.partition(":")
    if scheme == "bundled" and name in _BUNDLED:
        package, inside = _BUNDLED[name]
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"{source}: the package {package} is not installed", next_step="make install")
        return [SourceFile(Path(spec.submodule_search_locations[0]) / inside, f"{package}/{inside}")]
    if scheme == "fetch" and name in PUBLIC:
        return [SourceFile(public_file(name, places), PUBLIC[name].file)]
    if scheme in _SCHEMES and not (places.root / source).exists():
        known = ", ".join([f"bundled:{n}" for n in _BUNDLED] + [f"fetch:{n}" for n in PUBLIC])
        raise UserError(
            f"unknown source {source!r}", where="data.source", next_step=f"write a path, a glob, or one of: {known}"
        )
    return _matches(source, places)


def _matches(source: str, places: Places) -> list[SourceFile]:
    pattern = places.root / Path(source).expanduser()
    if pattern.is_dir():
        raise UserError(f"{source!r} is a folder", where="data.source", next_step=f"name its files: {source.rstrip('/')}/*.csv")
    paths = [pattern] if pattern.is_file() else glob.glob(str(pattern), recursive=True)  # noqa: PTH207 (absolute patterns)
    found = sorted(path for path in map(Path, paths) if path.is_file())
    if not found:
        what = "no file matches" if glob.has_magic(source) else "there is no file"
        raise UserError(
            f"{what} {source!r}",
            where=f"data.source, looked for {pattern}",
            next_step="correct the path, or put the file there",
        )
    return [
        SourceFile(p, p.relative_to(places.root).as_posix() if p.is_relative_to(places.root) else p.as_posix()) for p in found
    ]


def fingerprint(data: DataSection, places: Places) -> dict[str, Any]:
    """What `source.json` holds: the source, its files (name, bytes, sha256) and one sha256 over them. Nothing is parsed."""
    found = []
    for file in files(data.source, places):
        try:
            found.append({"file": file.name, "bytes": file.path.stat().st_size, "sha256": sha256(file.path)})
        except OSError as error:
            raise _unreadable(file, error) from error
    whole = hashlib.sha256("".join(f"{f['file']}\0{f['sha256']}\n" for f in found).encode()).hexdigest()
    return {"source": data.source, "files": found, "sha256": whole}


def read(data: DataSection, places: Places, fingerprint: dict[str, Any] | None = None) -> pd.DataFrame:
    """The raw rows of all files, one after the other; cells of CSV files are text (Arrow strings).

    UserError where a file cannot be read, the files' columns differ, there are fewer than two rows, or the bytes are not
    those of `fingerprint` (the very bytes that are parsed are hashed, so nothing can move between).
    """
    import pandas as pd
    import pyarrow as pa

    found = files(data.source, places)
    expected = {f["file"]: f["sha256"] for f in fingerprint["files"]} if fingerprint else None
    if expected is not None and set(expected) != {f.name for f in found}:
        raise _moved(", ".join(sorted(set(expected) ^ {f.name for f in found})))
    tables: list[pa.Table] = []
    for file in found:
        try:
            caps.refuse_size(file.path.stat().st_size, file.name)
            content = file.path.read_bytes()
        except OSError as error:
            raise _unreadable(file, error) from error
        if expected is not None and hashlib.sha256(content).hexdigest() != expected[file.name]:
            raise _moved(file.name)
        tables.append(_shaped(data.source, content, file.name))
        del content
        if tables[0].column_names != tables[-1].column_names:
            tables[-1] = _same_columns(tables[0], tables[-1], found[0].name, file.name)
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise UserError(
            f"the files of {data.source!r} hold different types: {error}", where="data.source", next_step="write them alike"
        ) from error
    if table.num_rows < 2:
        raise UserError(
            "there is only one row", where=", ".join(f.name for f in found), next_step="a model needs more than one row"
        )
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def _shaped(source: str, content: bytes, name: str) -> pa.Table:
    """The file's table, with the few changes that a known public or bundled file needs."""
    import pyarrow as pa

    if source == "bundled:digits":
        return _digits(content)
    table = parse(content, name)
    if source == "bundled:co2":
        return table.rename_columns(["week", "co2"])
    scheme, _, public = source.partition(":")
    if scheme != "fetch":
        return table
    try:
        return PUBLIC[public].shape(table)
    except (KeyError, pa.ArrowException) as error:
        raise UserError(
            f"{name} is not the file that {source} means: {error}", next_step=f"fetch it from {PUBLIC[public].url}"
        ) from error


def _digits(content: bytes) -> pa.Table:
    """scikit-learn's 8x8 digits: `image` is 64 numbers in 0..1, row by row; `digit` is the label's text."""
    import io

    import numpy as np
    import pyarrow as pa

    values = np.loadtxt(io.StringIO(caps.gunzipped(content, "digits.csv.gz").decode()), delimiter=",", dtype=np.float32)
    pixels = pa.array((values[:, :-1] / 16).reshape(-1))
    return pa.table(
        {"image": pa.FixedSizeListArray.from_arrays(pixels, 64), "digit": [f"{label:.0f}" for label in values[:, -1]]}
    )


def _same_columns(first: pa.Table, other: pa.Table, first_name: str, name: str) -> pa.Table:
    there, here = set(first.column_names), set(other.column_names)
    if there != here:
        parts = [
            f"{label}: {', '.join(sorted(columns))}"
            for label, columns in (("lacks", there - here), ("adds", here - there))
            if columns
        ]
        raise UserError(
            f"{name} has other columns than {first_name}: {'; '.join(parts)}",
            where="data.source",
            next_step="give all files the same columns",
        )
    return other.select(first.column_names)


def _moved(names: str) -> UserError:
    return UserError(
        f"the source changed while the run was reading it: {names}",
        where="data.source",
        next_step="run again; nothing was kept",
    )


def _unreadable(file: SourceFile, error: OSError) -> UserError:
    return UserError(
        f"cannot be read: {error.strerror or error}", where=str(file.path), next_step="check the file and its permissions"
    )
