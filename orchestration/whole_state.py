"""Whoever deletes files of a home, and whoever copies all of them, one at a time: what a backup has read about must still be there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from assets import lease
from data.errors import UserError
from data.places import Places

_LEASE = "whole-state"  # no workload can have this name


@contextmanager
def held(places: Places, what: str) -> Iterator[None]:
    """The whole state is `what`'s (backup, restore, gc, forget) as long as the block. UserError where it is another's."""
    try:
        lease.hold(places.home, _LEASE, what)
    except lease.Busy as error:
        holder = str(error).splitlines()[0].partition(": ")[2]
        raise UserError(
            "files are being deleted, or a backup is being taken or restored, by another process",
            where=holder,
            next_step="wait for it to end; nothing was changed",
        ) from None
    try:
        yield
    finally:
        lease.release(places.home, _LEASE)
