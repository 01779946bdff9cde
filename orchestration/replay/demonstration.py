"""What a newcomer sees of the loop, once: a model that ages is replaced by one that proved itself."""

from __future__ import annotations

import logging

from data.places import Places
from orchestration.replay import playing, screen
from serving.ledger import Ledger

WORKLOAD = "co2_raw"
SPAN = ("1991", "1993-07")


def once(places: Places) -> playing.Played | None:
    """Play it where it was never played here, and say what was seen; None where it was."""
    if any(one.payload["state"] == "ended" for one in Ledger.at(places.home).history(WORKLOAD, "replay")):
        return None
    start, end = SPAN
    print(
        f"\n  The loop, on {WORKLOAD}: a model that was shown raw levels up to 1990 answers the weeks of {start} to {end},"
        "\n  and each truth comes when it came. (Ctrl-C ends it; nothing of the above depends on it.)\n",
        flush=True,
    )
    for handler in logging.getLogger("aiprime").handlers:
        handler.setLevel(logging.ERROR)  # the screen tells it
    done = playing.replay(places, WORKLOAD, start, end=end, told=screen.Screen().told)
    gateway = places.service("gateway")
    print(f"\n  {screen.summary(done)}\n\n  the whole story: {gateway}/models/{WORKLOAD}    all models: {gateway}/", flush=True)
    return done
