"""Dagster's run launcher with a worker health check, so that no run stays STARTED after its process died.

Dagster's own has none: after a total kill a run is STARTED for ever, and its place in the queue is taken.
"""

import os
from typing import Any

import dagster as dg
import psutil
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

PID, BORN = "aiprime/pid", "aiprime/pid_born"


def process_tags() -> dict[str, str]:
    """Tags that let the health check judge a run by this process: a run inside `aiprime run` has no gRPC server to ask."""
    return {PID: str(os.getpid()), BORN: str(psutil.Process().create_time())}


class ProcessLauncher(DefaultRunLauncher):
    """Runs are processes of the code server; their health is the process's."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: that is why this class exists."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """RUNNING where the worker is alive, NOT_FOUND where it is gone or cannot be asked."""
        alive = self._process_lives(run.tags) if PID in run.tags else self._server_runs(run.run_id)
        if alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the process that ran it is gone")

    @staticmethod
    def _process_lives(tags: Any) -> bool:
        try:
            process = psutil.Process(int(tags[PID]))
            return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - float(tags[BORN])) < 1
        except (psutil.NoSuchProcess, ValueError, KeyError):
            return False

    def _server_runs(self, run_id: str) -> bool:
        from dagster._core.errors import DagsterUserCodeUnreachableError
        from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
        from dagster._serdes import deserialize_value

        client = self._get_grpc_client_for_termination(run_id)
        if client is None:
            return False
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=5)
        except DagsterUserCodeUnreachableError:
            return False
        return deserialize_value(answer, CanCancelExecutionResult).can_cancel
