"""MLflow's door: runs, curves and registered versions, over HTTP to a tracking server on loopback. Nothing is pickled.

MLflow's aliases mirror the ledger; they are never read to decide anything.
"""

from __future__ import annotations

import logging
import os
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from data.errors import UserError
from data.schema import Column
from training.signature import Signature

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from mlflow import MlflowClient

log = logging.getLogger("aiprime.tracking")

ENVIRONMENT = {
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",  # a server that sends its clients elsewhere is not ours
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_BATCH = 1000  # metrics that MLflow takes at once
_SEND_EVERY_S = 2.0
REQUIREMENTS = ["onnxruntime", "numpy", "pandas"]  # stated, for inferring them costs 20 s and is wrong


def import_mlflow() -> Any:
    """`mlflow`, hardened, and without feast: feast's header plug-in would import all of feast into every HTTP client."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow.utils import plugins

    original = plugins.get_entry_points

    def without_feast(group: str) -> Any:
        return [entry for entry in original(group) if not entry.value.startswith("feast.")]

    plugins.get_entry_points = without_feast
    try:
        import mlflow
        import mlflow.tracking.request_header.registry
    finally:
        plugins.get_entry_points = original
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return mlflow


@dataclass(frozen=True)
class Version:
    """A registered model version and the page that shows it."""

    version: str
    run_id: str
    url: str


@dataclass(frozen=True)
class Tracking:
    """A tracking server by its URL."""

    url: str

    def alive(self, timeout_s: float = 2.0) -> bool:
        """Whether the server answers its health route."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=timeout_s) as answer:  # noqa: S310  (our own URL)
                return answer.status == 200
        except OSError:
            return False

    def wait(self, deadline_s: float = 90) -> None:
        """Wait until the server answers: it starts beside the first stages. UserError where it does not within `deadline_s`."""
        end = time.monotonic() + deadline_s
        while not self.alive():
            if time.monotonic() > end:
                raise UserError(
                    "the tracking server does not answer", where=self.url, next_step="aiprime up; aiprime logs mlflow"
                )
            time.sleep(0.1)

    @property
    def client(self) -> MlflowClient:
        """A client of this server; nothing is written to the working directory."""
        mlflow = import_mlflow()
        mlflow.set_tracking_uri(self.url)
        return mlflow.MlflowClient(tracking_uri=self.url)

    @contextmanager
    def run(self, workload: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[str]:
        """Open a run in the workload's experiment and yield its id; ended FINISHED, or FAILED when the block raises."""
        client = self.client
        experiment = client.get_experiment_by_name(workload)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(workload)
        run_id = client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id
        status = "FAILED"
        try:
            self._log(client, run_id, params=params)
            yield run_id
            status = "FINISHED"
        finally:
            client.set_terminated(run_id, status)

    def lightning_logger(self, run_id: str, workload: str) -> Logger:
        """Lightning's MLflow logger that writes its curves into the open run; no checkpoint is uploaded."""
        import_mlflow()
        from lightning.pytorch.loggers import MLFlowLogger
        from mlflow.entities import Metric

        client = self.client

        class Curves(MLFlowLogger):
            """Sends the curves in batches: a request per figure, as the base class does, costs more than the epoch (12x, measured)."""

            def __init__(self, **settings: Any) -> None:
                super().__init__(**settings)
                self._queued: list[Metric] = []
                self._sent = time.monotonic()

            def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
                now = int(1000 * time.time())
                self._queued += [Metric(name, float(value), now, step or 0) for name, value in metrics.items()]
                if time.monotonic() - self._sent > _SEND_EVERY_S or len(self._queued) >= _BATCH:
                    self._send()

            def finalize(self, status: str = "success") -> None:
                """Nothing is left behind; the run itself is ended by whoever opened it."""
                self._send()

            def _send(self) -> None:
                while self._queued:
                    client.log_batch(run_id, metrics=self._queued[:_BATCH])
                    self._queued = self._queued[_BATCH:]
                self._sent = time.monotonic()

        return Curves(experiment_name=workload, tracking_uri=self.url, run_id=run_id, log_model=False)

    def log_scores(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str], files: list[Path]) -> None:
        """Add the evaluation's figures, tags and pictures to a run."""
        client = self.client
        self._log(client, run_id, metrics=metrics, tags=tags)
        for file in files:
            client.log_artifact(run_id, str(file))

    def log_curve(self, run_id: str, name: str, values: Mapping[int, float]) -> None:
        """A curve after the fact: value by step."""
        from mlflow.entities import Metric

        client = self.client
        metrics = [Metric(name, value, timestamp=0, step=step) for step, value in values.items()]
        client.log_batch(run_id, metrics=metrics)

    @staticmethod
    def _log(
        client: MlflowClient, run_id: str, *, params: Mapping[str, Any] | None = None, metrics: Any = None, tags: Any = None
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        client.log_batch(
            run_id,
            params=[Param(key, str(value)[:6000]) for key, value in (params or {}).items()],
            metrics=[Metric(key, float(value), timestamp=0, step=0) for key, value in (metrics or {}).items()],
            tags=[RunTag(key, str(value)) for key, value in (tags or {}).items()],
        )

    def registered(self, workload: str, digest: str) -> Version | None:
        """The version that already holds these bytes, for a crash between registering and recording must not make a second one."""
        client = self.client
        for found in client.search_model_versions(f"name='{workload}' and tags.model_digest='{digest}'", max_results=1):
            return self._version(found)
        return None

    def register(self, workload: str, folder: Path, run_id: str, example: Any, tags: Mapping[str, str]) -> Version:
        """Upload the model's folder into the run and register it with signature, input example and tags.

        The folder is logged as a pyfunc with a loader module of ours, so that MLflow loads it without a pickle.
        UserError where the server cannot be reached.
        """
        mlflow = import_mlflow()
        client = self.client
        try:
            signature = Signature.read(folder)
            with _quiet(), mlflow.start_run(run_id=run_id):
                logged = mlflow.pyfunc.log_model(
                    name="model",
                    loader_module="training.tracking",
                    data_path=str(folder),
                    signature=_mlflow_signature(signature),
                    input_example=example,
                    pip_requirements=REQUIREMENTS,
                )
            if not client.search_registered_models(f"name='{workload}'", max_results=1):
                client.create_registered_model(workload)
            version = client.create_model_version(workload, logged.model_uri, run_id, tags=dict(tags), model_id=logged.model_id)
        except (OSError, mlflow.MlflowException) as error:
            if self.alive():
                raise
            raise UserError(
                "the tracking server does not answer", where=self.url, next_step="aiprime up, then run again"
            ) from error
        return self._version(version)

    def alias(self, workload: str, name: str, version: str) -> None:
        """Point an alias at a version: a mirror of the ledger for people who look at MLflow."""
        self.client.set_registered_model_alias(workload, name, version)

    def aliases(self, workload: str) -> Mapping[str, str]:
        """The workload's aliases and the version that each points at; empty where it has none."""
        found = self.client.search_registered_models(f"name = '{workload}'")
        return dict(found[0].aliases) if found else {}

    def drop_alias(self, workload: str, name: str) -> None:
        """Take an alias away."""
        self.client.delete_registered_model_alias(workload, name)

    def tag_version(self, workload: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a registered version."""
        client = self.client
        for key, value in tags.items():
            client.set_model_version_tag(workload, version, key, value)

    def drop_files(self, workload: str, kept: Collection[str]) -> int:
        """Delete the files of the registered versions that are not `kept`, once, and say so in a tag; their records stay. How many."""
        client, dropped = self.client, 0
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        for found in client.search_model_versions(f"name='{workload}'"):
            if str(found.version) in kept or "files" in found.tags or not found.source:
                continue
            get_artifact_repository(
                client.get_logged_model(str(found.source).removeprefix("models:/")).artifact_location
            ).delete_artifacts()
            client.set_model_version_tag(workload, found.version, "files", "deleted by aiprime gc")
            dropped += 1
        return dropped

    def forget(self, workload: str, version: str) -> None:
        """Delete one registered version."""
        self.client.delete_model_version(workload, version)

    def run_url(self, run_id: str) -> str:
        """The page of a run."""
        return f"{self.url}/#/experiments/{self.client.get_run(run_id).info.experiment_id}/runs/{run_id}"

    def _version(self, found: Any) -> Version:
        return Version(str(found.version), found.run_id, f"{self.url}/#/models/{quote(found.name)}/versions/{found.version}")


def _mlflow_signature(signature: Signature) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    kinds: dict[str, Any] = {
        "number": DataType.double,
        "integer": DataType.long,
        "boolean": DataType.boolean,
        "category": DataType.string,
        "time": DataType.string,  # ISO 8601, as the endpoint takes it
    }

    def kind(column: Column) -> Any:
        if column.kind == "image":
            nested: Any = DataType.double
            for _ in column.shape:
                nested = Array(nested)
            return nested
        return DataType.double if column.kind == "integer" and column.nullable else kinds[column.kind]

    columns: list[Any] = [ColSpec(kind(column), column.name, required=not column.nullable) for column in signature.inputs]
    return ModelSignature(inputs=Schema(columns))


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow warns of each nullable integer and of pip's absence in uv's environments: neither is news."""
    import warnings

    loggers = [
        logging.getLogger(name) for name in ("mlflow", "mlflow.utils.environment", "mlflow.types.utils", "mlflow.models.model")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _load_pyfunc(folder: str) -> Any:
    """MLflow's entry: our predictor over the folder; weights and JSON only, no pickle."""
    return _Pyfunc(Path(folder))


class _Pyfunc:
    def __init__(self, folder: Path) -> None:
        from training.predictor import OnnxPredictor

        self._predictor = OnnxPredictor(folder)

    def predict(self, table: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Predictions for a DataFrame of raw columns, as arrays by output name."""
        return self._predictor.predict(table)
