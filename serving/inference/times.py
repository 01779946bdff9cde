"""Times as text, in whole seconds since 1970 UTC. Imports nothing: who only reads a time needs no numpy."""

from __future__ import annotations

from datetime import UTC, datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def epoch_seconds(text: str) -> int | None:
    """Whole seconds since 1970 UTC of an ISO 8601 time, rounded down; None where it is none."""
    try:
        moment = datetime.fromisoformat(text)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    except (ValueError, OverflowError):
        return None
    return since.days * 86_400 + since.seconds
