"""A candidate booted in a scratch model server and asked: what it answers, and how fast. It judges nothing.

The gate sends holdout rows; a release sends the last logged requests before anybody is exposed to it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets import signing
from data.schema import ROW_ID
from serving import manifests
from training.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets.platform import Platform
    from assets.spec import Spec

JSON = {"content-type": "application/json"}
REPLAYED = 64  # holdout rows sent to the booted candidate
_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as a model server gets it: path, body and headers."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: dict(JSON))


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What came back, and after how many milliseconds."""

    status: int
    body: bytes
    headers: Mapping[str, str]  # names in lower case
    ms: float


def answers(spec: Spec, platform: Platform, folder: Path, digest: str, requests: Iterable[Asked]) -> list[Answered]:
    """Boot the model in `folder` as `serve:` says, and ask it one request after the other. UserError where it does not become ready."""
    import http.client
    from urllib.parse import urlsplit

    found = []
    manifest = manifests.render(spec.name, "candidate", folder, digest, spec.serve)
    signature = signing.candidate(platform.places, spec.name, folder, digest)
    with platform.deployment().scratch(manifest, signature) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=_TIMEOUT_S)
        for asked in requests:
            started = time.perf_counter()
            connection.request("POST", asked.path, asked.body, dict(asked.headers))
            answer = connection.getresponse()
            body = answer.read()
            ms = 1000 * (time.perf_counter() - started)
            headers = {name.lower(): value for name, value in answer.getheaders()}
            found.append(Answered(status=answer.status, body=body, headers=headers, ms=ms))
        connection.close()
    return found


def median_ms(answered: list[Answered]) -> float:
    """The latency of the middle one; not a number where nothing was asked."""
    times = sorted(one.ms for one in answered)
    return times[len(times) // 2] if times else float("nan")


def replay(spec: Spec, platform: Platform, digest: str, holdout: Any) -> tuple[float, bool]:
    """Send holdout rows to the booted model of the store: p50 in ms, and whether it answers as evaluated."""
    from training.examples import instances
    from training.predictor import OnnxPredictor

    folder = platform.places.store(spec.name) / "model"
    rows = holdout.sort_values(ROW_ID).tail(REPLAYED)
    signature = Signature.read(folder)
    bodies = [json.dumps({"instances": [one]}, allow_nan=False).encode() for one in instances(rows, signature)]
    path = f"/v1/models/{spec.name}:predict"
    answered = answers(spec, platform, folder, digest, [Asked(path=path, body=body) for body in bodies])
    for one in answered:
        if one.status != 200:
            raise RuntimeError(f"the booted candidate refused a holdout row: {one.status} {one.body[:300]!r}")
    served = [json.loads(one.body)["predictions"][0] for one in answered]
    return median_ms(answered), _same(served, OnnxPredictor(folder).predict(rows), signature)


def _same(served_rows: list[dict[str, Any]], expected: dict[str, Any], signature: Signature) -> bool:
    """Whether what was served equals what was evaluated: to 1e-5 of each number, or 1e-5 of their usual size.

    A graph in single precision gives a row alone and a row in a batch not to the last bit; near zero no share of it would do.
    """
    import numpy as np

    if signature.task == "classification":
        served: Iterable[Any] = [[a["probabilities"][c] for c in signature.classes] for a in served_rows]
        return bool(np.allclose(np.array(served), expected["probabilities"], rtol=1e-5, atol=1e-6))
    served = [
        [f["prediction"] for f in a["forecast"]] if signature.task == "forecasting" else a["prediction"] for a in served_rows
    ]
    evaluated = np.asarray(expected["prediction"], dtype=float)
    return bool(np.allclose(np.array(served), evaluated, rtol=1e-5, atol=1e-5 * float(np.abs(evaluated).mean()) + 1e-9))
