"""The public files that shipped workloads use: where they are fetched from, and what makes every origin give one table."""

# pyarrow.compute makes its functions at run time, where a type checker cannot see them:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data import caps
from data.errors import UserError
from data.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from data.places import Places

_TIMEOUT_SECONDS = 30
_MOST_BYTES = 64 << 20


def _bikes(table: pa.Table) -> pa.Table:
    """UCI's hour.csv with `time`: the day and the hour of the day."""
    import pyarrow as pa
    import pyarrow.compute as pc

    hours = pc.multiply(pc.cast(table["hr"], pa.int64()), 3_600_000_000)
    day = pc.cast(pc.cast(table["dteday"], pa.timestamp("us")), pa.int64())
    return table.drop_columns(["dteday"]).add_column(0, "time", pc.cast(pc.add(day, hours), pa.timestamp("us")))


def _elec2(table: pa.Table) -> pa.Table:
    """The six numbers and the class. OpenML's file has six decimals, two more columns, and says UP where others say 1."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = ("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
    columns = {name: pc.round(pc.cast(table[name], pa.float64()), 6) for name in numbers}
    up = pc.is_in(pc.utf8_trim_whitespace(table["class"]), value_set=pa.array(["1", "UP"]))
    return pa.table(columns | {"class": pc.if_else(up, "1", "0")})


@dataclass(frozen=True)
class PublicFile:
    """A public file: its name in AIPRIME_DATA and HOME/downloads, its address, the member (of a zip), and its shaping."""

    file: str
    url: str
    member: str | None
    shape: Callable[[pa.Table], pa.Table]


PUBLIC = {
    "bikes": PublicFile(
        "bike_sharing_hour.csv", "https://archive.ics.uci.edu/static/public/275/bike+sharing+dataset.zip", "hour.csv", _bikes
    ),
    "elec2": PublicFile("elec2.csv.gz", "https://www.openml.org/data/get_csv/2419/electricity-normalized.arff", None, _elec2),
}


def public_file(name: str, places: Places) -> Path:
    """The file in AIPRIME_DATA, else in HOME/downloads, else downloaded there. UserError where none of them is to be had."""
    public = PUBLIC[name]
    given = places.setting("AIPRIME_DATA")
    for folder in ([(places.root / given)] if given else []) + [places.home / "downloads"]:
        if (folder / public.file).is_file():
            return folder / public.file
    kept = places.home / "downloads" / public.file
    content = _download(name, public, given)
    if public.file.endswith(".gz"):
        import gzip

        content = gzip.compress(content, mtime=0)
    write_atomically(kept, content)
    return kept


def _download(name: str, public: PublicFile, given: str | None) -> bytes:
    try:
        with urllib.request.urlopen(public.url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 (the addresses above)
            content = answer.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OSError(f"it is larger than {_MOST_BYTES >> 20} MB")
        return content if public.member is None else caps.member(content, public.member, public.url)
    except (OSError, UserError) as error:
        looked = f"{public.file} is not in AIPRIME_DATA ({given})" if given else "AIPRIME_DATA is not set"
        step = f"put {public.file} into a folder and set AIPRIME_DATA to it, or run again with a way to the network"
        raise UserError(
            f"fetch:{name}: {looked}, and the download failed: {getattr(error, 'what', error)}",
            where=public.url,
            next_step=step,
        ) from error
