"""One run of a workload's graph, in this process, on the instance that the UI shows."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from assets.spec import load
from data.errors import UserError
from data.places import Places
from orchestration import instance, services
from orchestration.launcher import process_tags

STAGES = ("dataset", "features", "model", "evaluation", "registered_model", "endpoint")
SERVED = ("registered_model", "endpoint")  # these need the tracking server and the gateway


@dataclass(frozen=True)
class Outcome:
    """How a run ended: each stage's metadata, or what failed and why."""

    workload: str
    run_id: str
    seconds: float
    stages: dict[str, dict[str, object]] = field(default_factory=dict)
    failed: str | None = None
    said: str = ""


def run(
    places: Places, workload: str, until: str = "endpoint", *, job: str = "lifecycle", tags: Mapping[str, str] | None = None
) -> Outcome:
    """Bring the workload up to date as far as `until`; starts the services that this needs. UserError for a bad name or YAML.

    `job` is WORKLOAD_lifecycle or WORKLOAD_retrain; `tags` are the run's, beside ours.
    """
    if until not in STAGES:
        raise UserError(f"no stage {until!r}", next_step=f"one of: {', '.join(STAGES)}")
    started = time.perf_counter()
    spec = load(places, workload)
    wanted = STAGES[: STAGES.index(until) + 1]
    if set(wanted) & {"evaluation", *SERVED}:
        services.start(places, services.CORE)
    from data import versions

    versions.initialise(places.root, places.home)
    opened = instance.get(places)
    import dagster as dg

    from assets.workload import Workload
    from orchestration.definitions import surroundings

    defs = dg.Definitions.merge(Workload(spec, places).build_defs(), surroundings(places))
    with contextlib.chdir(places.root):  # relative sources count from the project's folder
        result = defs.resolve_job_def(f"{workload}_{job}").execute_in_process(
            instance=opened,
            asset_selection=[dg.AssetKey([workload, stage]) for stage in wanted],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={"aiprime/workload": workload, "dagster/max_retries": "0", **process_tags(), **(tags or {})},
            raise_on_error=False,
        )
    failed, said = _failure(result)
    stages = {
        event.materialization.asset_key.path[-1]: {
            name: _plain(value) for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }
    return Outcome(workload, result.run_id, time.perf_counter() - started, stages, failed, said)


def _failure(result: object) -> tuple[str | None, str]:
    for check in result.get_asset_check_evaluations():  # pyright: ignore[reportAttributeAccessIssue]
        if not check.passed and check.blocking:
            return f"the check `{check.check_name}`", str(_plain(check.metadata.get("said", "")))
    for event in result.all_events:  # pyright: ignore[reportAttributeAccessIssue]
        if event.is_step_failure:
            data = event.step_failure_data
            described = data.user_failure_data.description if data.user_failure_data else None
            return event.step_key, described or _unexpected(data.error)
    if not result.success:  # pyright: ignore[reportAttributeAccessIssue]
        return "run", "the run did not succeed; aiprime logs, or the Dagster UI, shows why"
    return None, ""


def _unexpected(error: object) -> str:
    """Our own mistake, told by its innermost cause and where it was raised; the Dagster UI has the whole trace."""
    while getattr(error, "cause", None) is not None:
        error = error.cause  # pyright: ignore[reportAttributeAccessIssue]
    message, stack = getattr(error, "message", ""), getattr(error, "stack", [])
    return f"{message.strip()}\n{''.join(stack[-4:])}" if message else "an error without a message"


def _plain(value: object) -> object:
    return getattr(value, "value", value)


def show_progress() -> None:
    """Let the product's own log lines reach the terminal, with the seconds since the start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Elapsed())
    logger = logging.getLogger("aiprime")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Elapsed(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self._start = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        return f"{time.monotonic() - self._start:6.1f} s  {record.getMessage()}"
