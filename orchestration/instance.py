"""The Dagster instance of this AIPRIME_HOME: its settings are written before anything opens it."""

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from data.files import write_atomically
from data.places import Places

if TYPE_CHECKING:
    import dagster as dg

SETTINGS = """\
# Written by aiprime; edited by hand it is written again. Why each line: docs/decisions/0003-dagster-that-recovers.md
telemetry: {enabled: false}
nux: {enabled: false}
storage: {custom: {module: orchestration.storage, class: PatientStorage, config: {base_dir: {env: DAGSTER_HOME}}}}
run_launcher: {module: orchestration.launcher, class: ProcessLauncher}
run_coordinator: {module: dagster._core.run_coordinator.queued_run_coordinator, class: QueuedRunCoordinator}
concurrency:
  runs:
    max_concurrent_runs: 2
    tag_concurrency_limits:
      - {key: aiprime/retrain, limit: 1, value: {applyLimitPerUniqueValue: true}}
run_monitoring:
  enabled: true
  poll_interval_seconds: 5
  start_timeout_seconds: 60
  cancel_timeout_seconds: 30
  free_slots_after_run_end_seconds: 1
run_retries: {enabled: true, max_retries: 2}
python_logs: {managed_python_loggers: [aiprime], python_log_level: INFO}
"""


def prepare(places: Places) -> Path:
    """Write dagster.yaml and point DAGSTER_HOME at it; returns the folder."""
    home = places.home / "dagster"
    settings = home / "dagster.yaml"
    if not settings.is_file() or settings.read_text() != SETTINGS:
        write_atomically(settings, SETTINGS)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    return home


def create(places: Places) -> None:
    """Make Dagster's databases where there are none yet, one process at a time: several that begin at once leave one with two heads
    in its version table, and it then never opens again."""
    home = prepare(places)
    mark = home / "created"
    if mark.is_file():
        return
    with (home / "created.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.is_file():
            import dagster as dg

            dg.DagsterInstance.get().dispose()
            mark.touch()


def get(places: Places) -> "dg.DagsterInstance":
    """The instance, opened."""
    create(places)
    import dagster as dg

    return dg.DagsterInstance.get()
