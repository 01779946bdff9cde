"""How far a retrain's data go, and which part of them is kept to judge it: a small generated file, `data/store/WORKLOAD/cutoff.json`.

Without the file nothing of this exists: the same rows, the same split, the same hashes. With it the `source` stage takes it
into source.json, and the dataset carries it in its Parquet metadata, so DVC sees a new cutoff as it sees new rows. It knows
times and files; who asked for it, and why that was allowed, it does not know.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, PositiveInt, ValidationError, field_validator, model_validator

from data.errors import UserError
from data.files import sha256, write_json
from data.section import Section

if TYPE_CHECKING:
    from data.places import Places

_METADATA = b"aiprime.cutoff"
Window = tuple[datetime, datetime]  # of truth: from, and up to but not with


class Cutoff(Section):
    """The watermark W = `until` and the window w: it is fitted on what was known by W - w and gated on the truth in [W - w, W)."""

    until: AwareDatetime  # truth is known up to here, not with; rows at or after are left out, in the place of data.until
    window_s: PositiveInt | None = None
    window_rows: PositiveInt | None = None  # the newest rows, for tables without a time; one of the two is stated
    frozen: tuple[AwareDatetime, AwareDatetime] | None = None  # kept out of training too: a later gate bounds regression on it
    labels: bool = False  # truth that came back through the ledger joins the re-read rows: labels.parquet
    labels_sha256: str | None = None  # of that file, set by the `source` stage
    reason: str = ""
    sequence: int | None = None  # of the ledger's record of the window that made it start

    @field_validator("until", "frozen")
    @classmethod
    def _in_utc(cls, value: Any) -> Any:
        return tuple(one.astimezone(UTC) for one in value) if isinstance(value, tuple) else value and value.astimezone(UTC)

    @model_validator(mode="after")
    def _coherent(self) -> Cutoff:
        if (self.window_s is None) == (self.window_rows is None):
            raise ValueError("one of window_s and window_rows is stated")
        if self.frozen is not None and self.frozen[0] >= self.frozen[1]:
            raise ValueError("frozen: its start lies before its end")
        return self

    @property
    def begins(self) -> datetime | None:
        """W - w; None where the window counts rows."""
        return None if self.window_s is None else self.until - timedelta(seconds=self.window_s)

    @property
    def decides(self) -> Cutoff:
        """What the rows depend on: without the reason, which may change and changes nothing."""
        return self.model_copy(update={"reason": "", "sequence": None})

    def plain(self) -> dict[str, Any]:
        """As JSON has it; what is not stated is left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


def file(places: Places, workload: str) -> Path:
    """Where the cutoff of a workload lies."""
    return places.store(workload) / "cutoff.json"


def labels_file(places: Places, workload: str) -> Path:
    """Where the labels lie that belong to it: columns entity, time and value."""
    return places.store(workload) / "labels.parquet"


def read(places: Places, workload: str) -> Cutoff | None:
    """The workload's cutoff; None where there is none. UserError where the file is not one."""
    path = file(places, workload)
    try:
        return Cutoff.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        step = f"aiprime run {workload} --lift-cutoff, for the plain behaviour; or: aiprime retrain {workload} --reason ..."
        raise UserError(f"this is no cutoff: {said}", where=str(path), next_step=step) from error


def write(places: Places, workload: str, cutoff: Cutoff) -> None:
    """Keep it, in the place of the one before, or of what is none; an equal one leaves the file alone."""
    try:
        before = read(places, workload)
    except UserError:
        before = None
    if before != cutoff:
        write_json(file(places, workload), cutoff.plain())


def lift(places: Places, workload: str) -> None:
    """Take it away, and its labels: the plain rows and their split count again. Nothing where there is none."""
    file(places, workload).unlink(missing_ok=True)
    labels_file(places, workload).unlink(missing_ok=True)


def applied(places: Places, workload: str) -> Cutoff | None:
    """What `source.json` says of it: what decides, with the hash of the labels. UserError where the labels are missing."""
    cutoff = read(places, workload)
    if cutoff is None:
        return None
    digest = None
    if cutoff.labels:
        path = labels_file(places, workload)
        if not path.is_file():
            raise UserError("the cutoff names labels that are not there", where=str(path), next_step="retrain again")
        digest = sha256(path)
    return cutoff.decides.model_copy(update={"labels_sha256": digest})


def in_source(fingerprint: dict[str, Any]) -> Cutoff | None:
    """The cutoff in the content of source.json."""
    found = fingerprint.get("cutoff")
    return None if found is None else Cutoff.model_validate(found)


def metadata(cutoff: Cutoff | None) -> dict[bytes, bytes] | None:
    """The Parquet metadata that carry it in the dataset; none without one, so that the file's bytes are as ever."""
    return None if cutoff is None else {_METADATA: json.dumps(cutoff.plain(), sort_keys=True).encode()}


def in_dataset(path: Path) -> Cutoff | None:
    """The cutoff that a dataset was made with."""
    import pyarrow.parquet as pq

    found = (pq.read_schema(path).metadata or {}).get(_METADATA)
    return None if found is None else Cutoff.model_validate_json(found)
