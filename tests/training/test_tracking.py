"""MLflow's door, against a real server."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serving.supervision import free_port
from tests.conftest import ROOT
from training.signature import Input, Signature
from training.tracking import Tracking

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tracking")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tracking, subprocess.Popen[bytes]]]:
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--serve-artifacts"]
    arguments += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        (folder / "artifacts").as_uri(),
    ]
    arguments += ["--allowed-hosts", "127.0.0.1:*,localhost:*"]
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", "training.tracking_server", *arguments], cwd=folder, env=env)
    tracking = Tracking(f"http://127.0.0.1:{port}")
    tracking.wait(120)
    yield tracking, process
    process.terminate()
    process.wait(20)


def folder_of_a_model(place: Path) -> Path:
    place.mkdir()
    inputs = (Input(name="âge", kind="number", tensor="x0"), Input(name="n", kind="integer", nullable=True, tensor="x1"))
    Signature(workload="shop", family="tabular", task="regression", target="y", inputs=inputs, outputs=()).write(place)
    (place / "model.onnx").write_bytes(b"not read here")
    return place


def test_the_server_is_one_process(server: tuple[Tracking, subprocess.Popen[bytes]]):
    """The tracking server has no child: killing it leaves nothing behind."""
    assert psutil.Process(server[1].pid).children(recursive=True) == []


def test_foreign_hosts_are_refused(server: tuple[Tracking, subprocess.Popen[bytes]]):
    """A request that names another host is a 403: no web page can reach the server through a name of its own."""
    request = urllib.request.Request(f"{server[0].url}/api/2.0/mlflow/experiments/search", headers={"Host": "evil.com"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    assert refused.value.code == 403


def test_a_version_is_registered_once_and_found_by_its_digest(server: tuple[Tracking, subprocess.Popen[bytes]], tmp_path: Path):
    """The registered version has signature, input example and tags, holds no pickle, and is found again by its digest."""
    tracking, _ = server
    with tracking.run("shop", "first", {"lr": 0.1}, {"git_commit": "abc"}) as run_id:
        tracking.log_curve(run_id, "valid_loss", {1: 2.0, 2: 1.0})
    tracking.log_scores(run_id, {"holdout/mae": 1.5}, {}, [])
    folder = folder_of_a_model(tmp_path / "model")
    version = tracking.register("shop", folder, run_id, {"âge": 1.0, "n": 2.0}, {"model_digest": "d1", "gate": "passed"})
    assert tracking.registered("shop", "d1") == version
    assert tracking.registered("shop", "d2") is None
    tracking.alias("shop", "champion", version.version)
    client = tracking.client
    found = client.get_model_version_by_alias("shop", "champion")
    assert found.tags["gate"] == "passed"
    assert [m.value for m in client.get_metric_history(run_id, "valid_loss")] == [2.0, 1.0]
    import mlflow

    files = Path(mlflow.artifacts.download_artifacts(f"models:/shop/{version.version}", dst_path=str(tmp_path / "got")))
    names = {path.name for path in files.rglob("*") if path.is_file()}
    assert {"MLmodel", "model.json", "input_example.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    schema = mlflow.models.Model.load(files).get_input_schema()
    assert schema is not None
    assert schema.input_names() == ["âge", "n"]


def test_feast_stays_out_of_mlflows_client():
    """Importing MLflow does not import feast, which would cost every client six seconds."""
    code = "import sys; from training.tracking import import_mlflow; import_mlflow(); print('feast' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
        == "False"
    )


def test_a_server_that_is_gone_is_told(tmp_path: Path):
    """Nobody at the address: the error names it and the next step."""
    from data.errors import UserError

    with pytest.raises(UserError, match="does not answer"):
        Tracking(f"http://127.0.0.1:{free_port()}").wait(0.3)


def test_files_of_old_versions_go_and_their_records_stay(server: tuple[Tracking, subprocess.Popen[bytes]], tmp_path: Path):
    """What is not kept loses its files, once; the version is still there, and says so; what is kept is whole."""
    from mlflow.artifacts import download_artifacts

    tracking, _ = server
    folder = folder_of_a_model(tmp_path / "model")
    for digest in ("m1", "m2"):
        with tracking.run("mill", digest, {}, {}) as run_id:
            tracking.register("mill", folder, run_id, {"âge": 1.0, "n": 2.0}, {"model_digest": digest})
    assert tracking.drop_files("mill", {"2"}) == 1
    assert tracking.drop_files("mill", {"2"}) == 0
    assert tracking.client.get_model_version("mill", "1").tags["files"] == "deleted by aiprime gc"
    assert tracking.registered("mill", "m1") is not None
    for version in ("1", "2"):
        got = Path(download_artifacts(f"models:/mill/{version}", dst_path=str(tmp_path / version)))
        assert any(one.is_file() for one in got.rglob("*")) == (version == "2")
