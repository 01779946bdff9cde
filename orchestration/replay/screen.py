"""A replay on the terminal: a line for each window, and one for each thing that happened between."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from assets.windows import Window
from serving.ledger import Decision

if TYPE_CHECKING:
    from orchestration.replay.playing import Played

_BAR = 24
LEGEND = (
    "              error: of the window's truths; limit: what such a window of stable years seldom passes, from the version's own"
    "\n              gate rows (fewer of them, a wider limit); an alarm is asked about when it lasts"
)


class Screen:
    """Tells what happens; `told` is called by the replay. Colours only where a terminal reads."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._colours = self._out.isatty()
        self._explained = False

    def told(self, what: str, facts: dict[str, Any]) -> None:
        """One event of the replay."""
        line = getattr(self, f"_{what}")(facts)
        if line and what == "window" and not self._explained:
            self._explained = True
            print(LEGEND, file=self._out)
        if line:
            print(line, file=self._out, flush=True)

    def _prepare(self, facts: dict[str, Any]) -> str:
        return f"  {facts['reason']}"

    def _champion(self, facts: dict[str, Any]) -> str:
        return self._in(f"  {facts['at']:%Y-%m-%d}  version {facts['version']} answers", "1")

    def _window(self, facts: dict[str, Any]) -> str:
        window: Window = facts["window"]
        quality = window.signals.get("quality")
        value, limit = (quality.value, quality.limit) if quality else (None, None)
        day = f"{datetime.fromtimestamp(window.end, UTC):%Y-%m-%d}"
        if value is None or not limit:
            said = quality.said if quality else next(iter(window.signals.values())).said
            return f"  {day}  v{window.version:<3} {window.rows:>5} rows  {said}"
        bar = "█" * max(1, min(_BAR, round(value / limit * _BAR / 2)))
        alarms = ", ".join(window.alarms)
        line = f"  {day}  v{window.version:<3} {window.rows:>5} rows  error {value:<8.3g} limit {limit:<8.3g} {bar:<{_BAR}} {alarms}"
        return self._in(line, "31" if window.alarms else "32")

    def _declined(self, facts: dict[str, Any]) -> str:
        return _cut(f"              no retrain: {'; '.join(facts['decision'].payload['reasons'])}")

    def _called(self, facts: dict[str, Any]) -> str:
        return self._in(f"              A PERSON IS CALLED: {facts['decision'].payload['said']}", "1;31")

    def _retrain(self, facts: dict[str, Any]) -> str:
        return self._in(f"              retrain: {facts['decision'].payload['reason']}", "1")

    def _retrained(self, facts: dict[str, Any]) -> str:
        ended: Decision = facts["decision"]
        outcome = facts["outcome"]
        said = outcome.said.splitlines()[0] if outcome.failed and outcome.said else ""
        became = str(outcome.stages.get("endpoint", {}).get("rollout of the newest", ""))
        more = f"; {said or became}" if said or became else ""
        return self._in(f"              version {ended.version or '?'}: {ended.payload['state']} by the gate{more}", "1")

    def _exposed(self, facts: dict[str, Any]) -> str:
        one: Decision = facts["decision"]
        share = one.payload.get("share") or 0
        how = "shadows the champion" if one.payload.get("shadow") else f"answers {share:.0%} of the requests"
        return f"              version {one.version} {how}"

    def _promoted(self, facts: dict[str, Any]) -> str:
        one: Decision = facts["decision"]
        return self._in(f"              version {one.version} is the champion: {one.payload['reason']}", "1;32")

    def _rolled_back(self, facts: dict[str, Any]) -> str:
        one: Decision = facts["decision"]
        return self._in(f"              version {one.version} was rolled back: {one.payload.get('reason', '')}", "1;31")

    def _in(self, text: str, code: str) -> str:
        text = _cut(text)
        return f"\033[{code}m{text}\033[0m" if self._colours else text


def _cut(text: str, width: int = 200) -> str:
    """At most a long line, cut between words; the ledger has all of it."""
    return text if len(text) <= width else text[:width].rsplit(" ", 1)[0] + " …"


def summary(played: Played) -> str:
    """What the replay came to, in a few lines."""
    alarms = sum(bool(one.alarms) for one in played.windows)
    ends = ", ".join(played.retrains) or "none"
    lines = [
        f"{played.workload}: {played.requests:,} requests and {played.labels:,} truths in {played.seconds:.0f} s",
        f"  windows     {len(played.windows)}, {alarms} of them with an alarm",
        f"  retrains    {len(played.retrains)} ({ends})",
        f"  champions   {' -> '.join(played.champions)}",
    ]
    lines += [f"  called      a person: {said}" for said in played.called]
    return "\n".join(lines)
