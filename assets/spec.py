"""One workload's YAML, whole: the sections that each layer owns, composed and read. Knows nothing of Dagster."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from assets.cards.section import CardSection
from assets.schedule import ScheduleSection
from assets.trigger import RetrainSection
from assets.windows import MonitorSection
from data.errors import UserError
from data.places import Places
from data.quality import QualitySection
from data.schema import Task
from data.section import DataSection, FeaturesSection, Section, check_task
from serving.manifests import ServeSection
from serving.rollout import RolloutSection
from training.family import FAMILIES, TrainSection
from training.promote import PromoteSection

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Spec(Section):
    """The `attributes` of a workload's `defs.yaml`."""

    name: str
    family: str
    task: Task
    data: DataSection
    description: str = ""
    quality: QualitySection = Field(default_factory=QualitySection)
    features: FeaturesSection = Field(default_factory=FeaturesSection)
    train: TrainSection = Field(default_factory=TrainSection)
    promote: PromoteSection = Field(default_factory=PromoteSection)
    serve: ServeSection = Field(default_factory=ServeSection)
    rollout: RolloutSection = Field(default_factory=RolloutSection)
    monitor: MonitorSection = Field(default_factory=MonitorSection)
    retrain: RetrainSection = Field(default_factory=RetrainSection)
    schedule: ScheduleSection = Field(default_factory=ScheduleSection)
    card: CardSection = Field(default_factory=CardSection)

    @model_validator(mode="after")
    def _coherent(self) -> Spec:
        if NAME.fullmatch(self.name) is None:
            raise ValueError(f"name: {self.name!r}: lower-case letters, digits and _ only, a letter first, at most 41")
        if self.family not in FAMILIES:
            raise ValueError(f"family: unknown family {self.family!r}; known: {', '.join(FAMILIES)}")
        check_task(self.task, self.data, self.features)
        return self


def read(file: Path) -> Spec:
    """Parse one `defs.yaml`; UserError names the file, the key, the value and what would be right."""
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506  (a safe loader, the C one)
    except FileNotFoundError as error:
        raise UserError(
            f"no workload {file.parent.name!r}", where=str(file), next_step="aiprime workloads lists them"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError("this is not YAML", where=f"{file}: {error}", next_step="mend the line it names") from error
    attributes: Any = document.get("attributes") if isinstance(document, dict) else None
    if not isinstance(attributes, dict):
        raise UserError(
            "no `attributes:` in the file", where=str(file), next_step="write `type: assets.Workload` and `attributes:`"
        )
    return parse(attributes, file)


def parse(attributes: dict[str, Any], file: Path) -> Spec:
    """The attributes of `file`, checked against the schema and the folder's name."""
    try:
        spec = Spec.model_validate(attributes)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'attributes'}: {_said(e)}" for e in error.errors()]
        raise UserError(
            f"{file.parent.name}: the workload's YAML is not valid",
            where=f"{file}\n    " + "\n    ".join(lines),
            next_step="mend these keys; docs/guide/workloads.md names every key",
        ) from error
    if spec.name != file.parent.name:
        raise UserError(
            f"name: {spec.name!r} is not the folder's name", where=str(file), next_step=f"write `name: {file.parent.name}`"
        )
    return spec


def _said(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    value = "" if error["type"] in {"missing", "value_error"} else f" (it is {error['input']!r})"
    return error["msg"].removeprefix("Value error, ") + value


def load(places: Places, workload: str) -> Spec:
    """The workload of that name."""
    if NAME.fullmatch(workload) is None:
        raise UserError(f"{workload!r} cannot be a workload's name", next_step="aiprime workloads lists them")
    return read(places.defs(workload))


def names(places: Places) -> list[str]:
    """The workloads of the project: folders of orchestration/workloads that hold a defs.yaml, sorted."""
    return sorted(file.parent.name for file in places.workloads.glob("*/defs.yaml"))


if __name__ == "__main__":  # the schema that docs/guide keeps
    print(json.dumps(Spec.model_json_schema(), indent=2, ensure_ascii=False))
