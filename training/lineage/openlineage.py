"""openlineage-python's door: the walk as OpenLineage events (spec 2-0-2): a training, a gating and an answering run, each with a START
and a COMPLETE, as a JSON list. They are written, never sent: no host is asked for anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, UUID, uuid5

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, RunEvent

PRODUCER = "urn:aiprime"
Facts = Mapping[str, Any]
_OURS: dict[str, Any] = {"producer": PRODUCER}  # attrs takes it without the underscore that the field has


def text(walk: Facts) -> str:
    """The events as a JSON list."""
    from openlineage.client.serde import Serde

    return json.dumps([Serde.to_dict(one) for one in events(walk)], indent=1, ensure_ascii=False) + "\n"


def events(walk: Facts) -> list[RunEvent]:
    """Training, gating, answering, in this order; ValueError (openlineage's validators) where a value is none of the specification's.

    What is not on record of a run leaves its event out: an event of nothing known would be an invention.
    """
    return [event for run in (_training, _gating, _answering) for event in run(walk)]


def _training(walk: Facts) -> Iterator[RunEvent]:
    from openlineage.client.generated.documentation_job import DocumentationJobFacet
    from openlineage.client.generated.source_code_location_job import SourceCodeLocationJobFacet

    run, code = _facts(walk, "run"), _facts(walk, "code")
    model, registered = _facts(walk, "model"), _facts(walk, "model").get("registered_at")
    if not run.get("run_id") or not registered:
        return
    facets: dict[str, Any] = {
        "documentation": DocumentationJobFacet(description=f"Fits the model of {walk['workload']}", **_OURS)
    }
    if code.get("git_commit") not in {None, "none"}:
        facets["sourceCodeLocation"] = SourceCodeLocationJobFacet(type="git", url="", version=code["git_commit"], **_OURS)
    ran = _run_id(f"training:{run['run_id']}", run["run_id"])
    yield from _both(walk, "training", ran, registered, facets, [_dataset(walk)], [_model(walk, model.get("digest"))])


def _gating(walk: Facts) -> Iterator[RunEvent]:
    found, model = _facts(walk, "gate"), _facts(walk, "model")
    if not found.get("judged") or not model.get("registered_at"):
        return
    inputs = [_as_input(walk, f"models/{walk['version']}", model.get("digest"))]
    if found.get("against"):
        inputs.append(_as_input(walk, f"models/{found['against']}", None))
    ran = _run_id(f"gating:{found['judged']}:{walk['version']}")
    yield from _both(
        walk, "gate", ran, model["registered_at"], {}, inputs, [_output(walk, f"verdicts/{found['judged']}", None)]
    )


def _answering(walk: Facts) -> Iterator[RunEvent]:
    """The prediction's own id is the run's."""
    inputs = [_as_input(walk, f"models/{walk['version']}", _facts(walk, "model").get("digest"))]
    known = _facts(walk, "features")
    if known.get("known_at"):
        inputs.append(_as_input(walk, "features", known["known_at"]))
    ran = _run_id(f"{walk['prediction_id']}:{walk['role']}", walk["prediction_id"] if walk["role"] != "shadow" else None)
    yield from _both(walk, "answering", ran, walk["at"], {}, inputs, [_output(walk, "predictions", walk["prediction_id"])])


def _both(
    walk: Facts, name: str, run: str, at: str, facets: dict[str, Any], inputs: list[Any], outputs: list[Any]
) -> Iterator[RunEvent]:
    from openlineage.client.event_v2 import Run, RunEvent, RunState

    for state in (RunState.START, RunState.COMPLETE):
        done = state is RunState.COMPLETE
        yield RunEvent(
            eventType=state,
            eventTime=at,
            run=Run(runId=run),
            job=_job(walk, name, facets),
            inputs=inputs,
            outputs=outputs if done else [],
            producer=PRODUCER,
        )


def _job(walk: Facts, name: str, facets: dict[str, Any]) -> Job:
    from openlineage.client.event_v2 import Job

    return Job(namespace="aiprime", name=f"{walk['workload']}.{name}", facets=facets)


def _dataset(walk: Facts) -> InputDataset:
    """The data that was learnt from, with the checks that it was held to."""
    from openlineage.client.generated.data_quality_assertions_dataset import Assertion, DataQualityAssertionsDatasetFacet

    data, checks = _facts(walk, "data"), _facts(walk, "checks")
    said = [_split(one) for one in checks.get("expectations", ())]
    found = _as_input(walk, "dataset", data.get("data_version"))
    if said:
        listed = [Assertion(assertion=text, success=held) for text, held in said]
        found.inputFacets = {"dataQualityAssertions": DataQualityAssertionsDatasetFacet(assertions=listed, **_OURS)}
    return found


def _split(expectation: str) -> tuple[str, bool]:
    said, _, verdict = expectation.rpartition(": ")
    return said, verdict == "holds"


def _as_input(walk: Facts, name: str, version: str | None) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset

    return InputDataset(namespace=_namespace(walk), name=name, facets=_versioned(version))


def _output(walk: Facts, name: str, version: str | None) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset

    return OutputDataset(namespace=_namespace(walk), name=name, facets=_versioned(version))


def _model(walk: Facts, digest: str | None) -> OutputDataset:
    return _output(walk, f"models/{walk['version']}", digest)


def _versioned(version: str | None) -> dict[str, Any]:
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

    return {} if not version else {"version": DatasetVersionDatasetFacet(datasetVersion=str(version), **_OURS)}


def _namespace(walk: Facts) -> str:
    return f"aiprime://{quote(walk['workload'], safe='')}"


def _run_id(name: str, own: str | None = None) -> str:
    """The run's own id where it is a UUID (MLflow's has no hyphens), else one that follows from its name (RFC 9562, version 5)."""
    try:
        return str(UUID(own or ""))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"{PRODUCER}:{name}"))


def _facts(walk: Facts, step: str) -> Facts:
    return next(one for one in walk["steps"] if one["name"] == step)["facts"]
