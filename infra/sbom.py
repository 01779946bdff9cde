"""The environment as a CycloneDX document: `python -m infra.sbom FILE`. Red where a distribution that is installed is not in it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from infra.environment import distributions
from infra.locks.pins import canonical


def write(file: Path) -> dict[str, object]:
    """Write it through cyclonedx-py, validated by it; RuntimeError where it is not whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    command = [Path(sys.executable).with_name("cyclonedx-py"), "environment", "--spec-version", "1.6", "--of", "JSON"]
    subprocess.run([*command, "--output-reproducible", "-o", file, sys.executable], check=True)
    document = json.loads(file.read_bytes())
    named = {canonical(one["name"]) for one in document["components"]}
    if left_out := sorted(set(distributions(Path(sysconfig.get_path("purelib")))) - named):
        raise RuntimeError(f"{file} leaves out {', '.join(left_out)}")
    return document


if __name__ == "__main__":
    began = time.perf_counter()
    found = write(Path(sys.argv[1]))["components"]
    licensed = sum(bool(one.get("licenses")) for one in found)  # pyright: ignore[reportGeneralTypeIssues, reportAttributeAccessIssue]
    print(f"{sys.argv[1]}: {len(found)} components, {licensed} with a licence, in {time.perf_counter() - began:.0f} s")  # pyright: ignore[reportArgumentType]
