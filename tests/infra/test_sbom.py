"""The environment's bill of materials: whole, or refused."""

import json
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra import sbom
from infra.environment import distributions

INSTALLED = distributions(Path(sysconfig.get_path("purelib")))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.fault(79)
@pytest.mark.timeout(900)
def test_the_bill_of_materials_is_whole(tmp_path: Path, track: Callable[..., None]):
    """Every distribution that is installed is a component. The tool takes half a minute of CPU for it."""
    document: dict[str, Any] = sbom.write(tmp_path / "sbom.json")
    assert document["specVersion"] == "1.6"
    assert len(document["components"]) >= len(INSTALLED)
    track(injections=0, lost=0, what="the environment's bill of materials", said=f"{len(document['components'])} components")


def test_a_bill_that_leaves_one_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A tool that skips a package without a word is not believed."""
    named = sorted(INSTALLED)

    def skipping(command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        file = Path(command[command.index("-o") + 1])
        file.write_text(json.dumps({"components": [{"name": name} for name in named[1:]]}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(sbom.subprocess, "run", skipping)
    with pytest.raises(RuntimeError, match=f"leaves out {named[0]}"):
        sbom.write(tmp_path / "sbom.json")
