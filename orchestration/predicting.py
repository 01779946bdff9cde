"""`aiprime predict`: rows to the deployed model, through the gateway like any client."""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.places import Places
from orchestration import rows
from serving.gateway.online import Names
from serving.ledger import Ledger
from training.signature import Signature

BATCH = 1000


def predict(places: Places, workload: str, instance: str | None, csv: Path | None) -> Iterator[Any]:
    """Yield one answer per row. UserError where the rows cannot be read, nothing is served, or the model refuses them."""
    if (instance is None) == (csv is None):
        raise UserError("give the rows by --json or by --csv, one of the two")
    gateway = places.service("gateway")
    champion = Ledger.at(places.home).champion(workload)
    if gateway is None or champion is None:
        raise UserError(f"{workload} is not being served", next_step=f"aiprime up --run {workload}")
    if csv is not None:
        given = _from_file(places, workload, csv, Signature.read(places.models(workload, champion.version)))
    else:
        given = _from_json(instance or "")
    for start in range(0, len(given), BATCH):
        answers, prediction_id = _ask(f"{gateway}/v1/models/{workload}:predict", given[start : start + BATCH], start)
        yield from answers
        if prediction_id:  # beside the answers, which a script reads
            row = "/ROW" if len(answers) > 1 else ""
            print(f"why: aiprime why {prediction_id}{row}", file=sys.stderr)


def _from_json(text: str) -> list[Any]:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)  # json reads NaN, Infinity and 1e999, which are no JSON
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"--json is not JSON: {error}", next_step='quote it for your shell, as in --json \'{"station": "mauna-loa"}\''
        ) from error
    if value == []:
        raise UserError("--json holds no row", next_step="give an object, or a list of them")
    return value if isinstance(value, list) else [value]


def _from_file(places: Places, workload: str, file: Path, signature: Signature) -> list[dict[str, Any]]:
    try:
        numbered = Names.read(places.home / "feast" / workload / "names.json").entity_type != "STRING"
    except FileNotFoundError:  # nothing was published: no entity to name
        numbered = False
    return rows.read(file, signature, numbered=numbered)


def _ask(url: str, instances: list[Any], start: int) -> tuple[list[Any], str | None]:
    """The answers to one batch, and its id; `start` is its first row, for a refusal counts from there."""
    body = json.dumps({"instances": instances}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310  (our own gateway)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.loads(answer.read())["predictions"], answer.headers.get("x-aiprime-prediction-id")
    except urllib.error.HTTPError as error:
        where = f"{url}, rows {start + 1} to {start + len(instances)}" if start else url
        raise UserError(f"the endpoint refused ({error.code}): {_said(error)}", where=where) from error
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"the gateway does not answer: {error}", where=url, next_step="aiprime up") from error


def _said(error: urllib.error.HTTPError) -> str:
    body = error.read()
    try:
        return str(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError):  # not one of ours
        return body.decode(errors="replace")[:500] or str(error.reason)
