"""The loop, turned by Dagster: monitors where there is something new, retrains that were asked for, and the ends of those that ran."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets import lease, loop, monitoring, retraining
from assets.spec import names
from data.errors import UserError
from data.places import Places
from serving import routes
from serving.ledger import Decision, Ledger
from serving.records import Records

_EVERY_S = 30
_BEHIND_S = 60  # a turn where serving is not what was decided: who decided died
_ANYWAY_S = 600  # a turn where nothing new came: silence is news too


def loop_sensor(places: Places, jobs: Sequence[Any]) -> dg.SensorDefinition:
    """One sensor for all workloads; `jobs` are those that it may start. A workload whose loop is turned by a replay is left alone."""

    startable = {job.name.removesuffix("_monitor") for job in jobs if job.name.endswith("_monitor")}  # a broken YAML has none

    @dg.sensor(
        name="loop",
        minimum_interval_seconds=_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        jobs=jobs,
        description="Watches the deployed models; asks for retrains; see docs/guide/monitoring.md.",
    )
    def turning(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        seen = json.loads(context.cursor) if context.cursor else {}
        requests, cursor = [], {}
        for name in names(places):
            cursor[name] = seen.get(name, {"newest": 0, "at": 0.0})
            if name not in startable or lease.busy(places.home, loop.lock_name(name)):
                continue
            try:
                wanted, cursor[name] = _wanted(context.instance, places, name, cursor[name])
            except Exception:  # one workload's trouble must not keep the others from being watched
                context.log.exception("%s: its loop could not be turned this time", name)
            else:
                requests += wanted
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(cursor))

    return turning


def _wanted(
    instance: dg.DagsterInstance, places: Places, workload: str, seen: dict[str, float]
) -> tuple[list[dg.RunRequest], dict[str, float]]:
    """The runs that one workload's loop asks for now, and how far it has been looked at."""
    wanted = list(_retrains(instance, places, workload))
    due, seen = _due(places, workload, seen)
    if due:
        key = f"monitor:{workload}:{seen['newest']}:{int(seen['at'])}"
        wanted.append(dg.RunRequest(run_key=key, job_name=f"{workload}_monitor"))
    return wanted, seen


def _due(places: Places, workload: str, seen: dict[str, float]) -> tuple[bool, dict[str, float]]:
    """Whether a turn may find something: new predictions, a rollout under way, a decision that nothing followed, or a long silence."""
    release = Ledger.at(places.home).release(workload)
    if release.champion is None:
        return False, seen
    now, newest = time.time(), Records.at(places.home).newest(workload)
    wait_s = _BEHIND_S if routes.behind(places.home, workload, release.fence) else _ANYWAY_S
    if newest == seen["newest"] and release.challenger is None and now - seen["at"] < wait_s:
        return False, seen
    return True, {"newest": newest, "at": now}


def _retrains(instance: dg.DagsterInstance, places: Places, workload: str) -> Iterator[dg.RunRequest]:
    """A run for each request that has none (its key starts it once, whoever asks), and an end for each run that has ended."""
    ledger = Ledger.at(places.home)
    epoch = monitoring.epoch_of(ledger, workload).decision  # what was asked for in a replay is the replay's
    records = [one for one in ledger.history(workload, "retrain") if one.sequence > epoch]
    ended = {one.payload["of"] for one in records if "of" in one.payload}
    for asked in (one for one in records if "of" not in one.payload and one.sequence not in ended):
        if asked.actor != "loop":
            continue  # whoever else asked runs it, and records its end
        runs = instance.get_runs(dg.RunsFilter(tags={retraining.ASKED: str(asked.sequence)}), limit=1)
        if not runs:
            yield _request(workload, asked)
        elif runs[0].is_finished and not runs[0].is_complete_and_waiting_to_retry:
            failed = None if runs[0].is_success else f"the run ended as {runs[0].status.value}"
            first = runs[0].root_run_id or runs[0].run_id
            retraining.ended(ledger, asked, places, runs[0].run_id, failed=failed, counted_as=first)


def _request(workload: str, asked: Decision) -> dg.RunRequest:
    try:
        tags = {**retraining.tags_of(asked), retraining.ASKED: str(asked.sequence)}
    except KeyError as error:
        raise UserError(f"the retrain record {asked.sequence} of {workload} names no cutoff") from error
    return dg.RunRequest(run_key=f"retrain:{workload}:{asked.sequence}", job_name=f"{workload}_retrain", tags=tags)
