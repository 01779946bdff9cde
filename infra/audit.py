"""Every package of the locks against a database of advisories, by pip-audit: `python -m infra.audit [--service pypi|osv] [--osv-url URL]`.

A scanner that was asked nothing finds nothing: pip-audit says "No known vulnerabilities found" with every package skipped. So a pass wants
all of this, and anything else is red:

- each package of the locks was looked up (asked == wanted, by name and version), and none has an advisory;
- the same database, in the same run, knows what is wrong with CANARY: one that is empty, or that answers nothing, does not;
- the environment is what the locks say (infra/environment.py).

Exit status: 0 passed, 1 something was found, 2 not run, or not whole.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import environment
from infra.locks.pins import canonical

CANARY = ("django", "1.2")  # in no lock of ours; every database of advisories knows dozens for it
FOUND, NOT_RUN = 1, 2


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What came of it: how many were wanted and asked, what was found, and why it is not whole."""

    wanted: int
    asked: int = 0
    found: tuple[str, ...] = ()
    not_whole: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The process's exit status; what is not whole is said before what was found, for more may be there."""
        return NOT_RUN if self.not_whole else FOUND if self.found else 0

    def __str__(self) -> str:
        counted = f"{self.asked} of {self.wanted} packages were asked about"
        if self.not_whole:
            return "\n".join([f"NOT RUN, or not whole: {counted}", *self.not_whole, *self.found])
        return (
            "\n".join([f"FOUND: {counted}", *self.found]) if self.found else f"passed: {counted}, nothing is known against them"
        )


def audit(wanted: Mapping[str, str], *options: str, timeout_s: float = 1800) -> Audit:
    """Look `wanted` (version by canonical name) up, with CANARY among it. `options` are pip-audit's: which database is asked."""
    public = {name: version.partition("+")[0] for name, version in wanted.items()}  # a build's local part is in no database
    try:
        done = _pip_audit(public | dict([CANARY]), *options, timeout_s=timeout_s)
    except subprocess.TimeoutExpired:
        return Audit(wanted=len(wanted), not_whole=(f"pip-audit did not end within {timeout_s:.0f} s",))
    try:
        answered = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines() or ["pip-audit said nothing"]
        return Audit(wanted=len(wanted), not_whole=(f"the database cannot be asked: {lines[-1][:300]}",))
    return judged(public, answered)


def judged(public: Mapping[str, str], answered: list[dict[str, Any]]) -> Audit:
    """The verdict on what pip-audit answered, entry by entry."""
    asked = {canonical(one["name"]): one for one in answered if "skip_reason" not in one}
    canary = asked.pop(CANARY[0], None)
    missing = sorted(name for name, version in public.items() if name not in asked or asked[name].get("version") != version)
    not_whole = [f"not asked: {', '.join(missing[:20])}{' ...' if len(missing) > 20 else ''}"] if missing else []
    if canary is None or not canary.get("vulns"):
        not_whole.append(f"the database knows nothing of {' '.join(CANARY)}, so its silence about the others says nothing")
    found = [
        f"{name} {one['version']}: {advice['id']}{f', mended in {fixed}' if (fixed := ', '.join(advice.get('fix_versions') or ())) else ''}"
        for name, one in sorted(asked.items())
        for advice in one.get("vulns") or ()
    ]
    return Audit(wanted=len(public), asked=len(public) - len(missing), found=tuple(found), not_whole=tuple(not_whole))


def _pip_audit(wanted: Mapping[str, str], *options: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """pip-audit over exact pins, without resolving or installing anything, `--strict`, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pins.txt"
        pinned.write_text("".join(f"{name}=={version}\n" for name, version in sorted(wanted.items())))
        command = [Path(sys.executable).with_name("pip-audit"), "--requirement", pinned, "--no-deps", "--disable-pip"]
        command += [
            "--strict",
            "--format",
            "json",
            "--progress-spinner",
            "off",
            "--desc",
            "off",
            "--cache-dir",
            folder,
            *options,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m infra.audit")
    parser.add_argument("--service", choices=["pypi", "osv"], default="osv")
    parser.add_argument("--osv-url", help="another database that speaks OSV's protocol")
    asked = parser.parse_args(arguments)
    wrong = environment.problems()
    print("\n".join(wrong), end="\n" if wrong else "")
    done = audit(
        environment.locked(), "--vulnerability-service", asked.service, *(["--osv-url", asked.osv_url] if asked.osv_url else [])
    )
    print(done)
    return max(done.status, FOUND if wrong else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
