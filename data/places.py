"""Where things lie: the project's folder and AIPRIME_HOME. Nothing is created by asking."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data.errors import UserError


@cache
def _dotenv(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    from dotenv import dotenv_values

    return {key: value for key, value in dotenv_values(file).items() if value is not None}


@dataclass(frozen=True)
class Places:
    """The two roots that every path is built from."""

    root: Path  # the project: dvc.yaml, orchestration/workloads, data/store
    home: Path  # AIPRIME_HOME: all state

    @classmethod
    def find(cls, start: Path | None = None) -> Places:
        """The project at or above `start` (default: the working directory), and its home: the variable, `.env`, `ROOT/.aiprime`."""
        here = (start or Path.cwd()).resolve()
        for root in (here, *here.parents):
            if (root / "dvc.yaml").is_file() and (root / "orchestration" / "workloads").is_dir():
                break
        else:
            raise UserError(
                "no AI Prime project here", where=str(here), next_step="cd into the clone (the folder that holds dvc.yaml)"
            )
        home = os.environ.get("AIPRIME_HOME") or _dotenv(root / ".env").get("AIPRIME_HOME") or ".aiprime"
        return cls(root=root, home=(root / home).resolve())

    def setting(self, name: str, default: str | None = None) -> str | None:
        """An environment variable, then `.env`, then `default`."""
        return os.environ.get(name) or _dotenv(self.root / ".env").get(name) or default

    @property
    def workloads(self) -> Path:
        return self.root / "orchestration" / "workloads"

    def defs(self, workload: str) -> Path:
        """The workload's one YAML file."""
        return self.workloads / workload / "defs.yaml"

    def store(self, workload: str) -> Path:
        """What DVC tracks of a workload: source.json, dataset.parquet, quality.json, features/, model/, evaluation/."""
        return self.root / "data" / "store" / workload

    @property
    def services(self) -> Path:
        """Where the running services' addresses are written: a JSON object, name to URL."""
        return self.home / "services.json"

    def service(self, name: str) -> str | None:
        """The URL of a service that `aiprime up` started (`mlflow`, `gateway`, `dagster`); None where it was not.

        AIPRIME_TRACKING_URL names another tracking server than our own.
        """
        if name == "mlflow" and (other := self.setting("AIPRIME_TRACKING_URL")):
            return other
        try:
            return json.loads(self.services.read_bytes()).get(name)
        except FileNotFoundError:
            return None

    def models(self, workload: str, version: int | str | None = None) -> Path:
        """The immutable copies that are served: HOME/models/WORKLOAD/VERSION."""
        folder = self.home / "models" / workload
        return folder if version is None else folder / str(version)
