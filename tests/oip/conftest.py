"""Which server is tested: ours by default, any other by the options."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oip.target import Target

OPTIONS = {
    "--oip-url": "base URL of a running server; without it this project's own is started",
    "--oip-grpc": "its gRPC address, HOST:PORT",
    "--oip-model": "the model's name on that server",
    "--oip-metadata": "a file with the model's metadata, where the server does not tell of its inputs",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("Open Inference Protocol")
    for flag, told in OPTIONS.items():
        group.addoption(flag, help=told)


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server under test, ready."""
    url, grpc, model, told = (request.config.getoption(flag.lstrip("-").replace("-", "_"), None) for flag in OPTIONS)
    if url is not None:
        if model is None:
            pytest.exit("--oip-url needs --oip-model NAME", returncode=2)
        yield Target(url=url, grpc=grpc, model=model, told=json.loads(Path(told).read_bytes()) if told else None)
        return
    from benchmarks import reference
    from tests.serving.served import serve

    folder: Path = tmp_path_factory.mktemp("oip") / "reference"
    reference.make(folder)
    with serve(folder, "--version", "1", name="reference") as served:
        yield Target(url=f"http://127.0.0.1:{served.http_port}", grpc=f"127.0.0.1:{served.grpc_port}", model="reference")
