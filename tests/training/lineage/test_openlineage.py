"""OpenLineage: events that its own classes accept, one START and one COMPLETE per run, and nothing that is not on record."""

from __future__ import annotations

import json
from collections import Counter
from uuid import UUID

from tests.training.lineage.walks import walk
from training import lineage
from training.lineage import openlineage


def events(**how: object) -> list[dict]:
    return json.loads(lineage.document(walk(**how), "openlineage"))  # pyright: ignore[reportArgumentType]


def test_each_run_begins_and_ends() -> None:
    """The specification asks for one START and one COMPLETE per run."""
    states = Counter((event["run"]["runId"], event["eventType"]) for event in events())
    assert set(states.values()) == {1}
    assert len({run for run, _ in states}) == 3
    assert [event["job"]["name"] for event in events()[::2]] == ["co2.training", "co2.gate", "co2.answering"]


def test_runs_carry_their_own_ids() -> None:
    """A prediction's id is its run's, MLflow's run id the training's; a shadow's run is another one than the client's."""
    training, *_, answering = events()
    assert answering["run"]["runId"] == "01a1ff24-40e4-74ed-bf1d-8e11d9be2f11"
    assert UUID(training["run"]["runId"]).hex == "0123456789abcdef0123456789abcdef"
    shadow = openlineage.events(walk() | {"role": "shadow"})[-1]
    assert shadow.run.runId != answering["run"]["runId"]


def test_what_the_specification_requires_is_there() -> None:
    """eventTime, producer, schemaURL, run and job; each facet names its producer and schema; output only where a run is done."""
    for event in events(evil="<b>'\"東京"):
        assert {"eventTime", "producer", "schemaURL", "run", "job", "eventType"} <= event.keys()
        facets = [facet for data in (*event["inputs"], *event.get("outputs", ())) for facet in data.get("facets", {}).values()]
        facets += event["job"].get("facets", {}).values()
        assert all(
            facet["_producer"] == openlineage.PRODUCER and facet["_schemaURL"].startswith("https://openlineage.io/")
            for facet in facets
        )
        assert bool(event.get("outputs")) == (event["eventType"] == "COMPLETE")


def test_the_data_states_its_version_and_checks() -> None:
    """The dataset's DVC revision, and each expectation with whether it held."""
    (dataset,) = events()[0]["inputs"]
    assert dataset["facets"]["version"]["datasetVersion"] == "v1"
    assertions = dataset["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [one["success"] for one in assertions] == [True, False]


def test_what_is_not_on_record_has_no_event() -> None:
    """Of an erased answer by an unregistered version only the answering is left."""
    assert {event["job"]["name"] for event in events(gone=True)} == {"co2.answering"}
