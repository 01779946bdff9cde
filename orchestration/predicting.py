"""`aiprime predict`: rows to the deployed model, through the gateway like any client."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.places import Places
from serving.ledger import Ledger
from training.signature import Signature

BATCH = 1000
_TRUE = {"true", "yes", "1", "t", "y"}


def predict(places: Places, workload: str, instance: str | None, csv: Path | None) -> Iterator[Any]:
    """Yield one answer per row. UserError where the rows cannot be read, nothing is served, or the model refuses them."""
    if (instance is None) == (csv is None):
        raise UserError("give the rows by --json or by --csv, one of the two")
    gateway = places.service("gateway")
    champion = Ledger.at(places.home).champion(workload)
    if gateway is None or champion is None:
        raise UserError(f"{workload} is not being served", next_step=f"aiprime up --run {workload}")
    rows = (
        _from_json(instance)
        if instance is not None
        else _from_csv(csv, Signature.read(places.models(workload, champion.version)))
    )
    for start in range(0, len(rows), BATCH):
        yield from _ask(f"{gateway}/v1/models/{workload}:predict", rows[start : start + BATCH])


def _from_json(text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"--json is not JSON: {error}", next_step='quote it for your shell, as in --json \'{"station": "mauna-loa"}\''
        ) from error
    return value if isinstance(value, list) else [value]


def _from_csv(file: Path | None, signature: Signature) -> list[dict[str, Any]]:
    import csv

    if file is None or not file.is_file():
        raise UserError("no such file", where=str(file))
    kinds = {column.name: column.kind for column in signature.inputs}
    wanted = set(kinds) | ({signature.entity} if signature.entity else set())
    with file.open(newline="", encoding="utf-8-sig") as opened:
        return [
            {
                name: _value(text, kinds.get(name, "category"), f"{file}, line {number}, {name}")
                for name, text in row.items()
                if name in wanted
            }
            for number, row in enumerate(csv.DictReader(opened), start=2)
        ]


def _value(text: str | None, kind: str, where: str) -> Any:
    if text is None or text == "":
        return None
    try:
        if kind == "number":
            return float(text)
        if kind == "integer":
            return int(float(text))
    except ValueError as error:
        raise UserError(f"{text!r} is not a number", where=where) from error
    if kind == "image":
        return json.loads(text)
    return text.strip().lower() in _TRUE if kind == "boolean" else text


def _ask(url: str, rows: list[dict[str, Any]]) -> list[Any]:
    body = json.dumps({"instances": rows}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310  (our own gateway)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.loads(answer.read())["predictions"]
    except urllib.error.HTTPError as error:
        said = json.loads(error.read() or b"{}").get("error", error.reason)
        raise UserError(f"the endpoint refused ({error.code}): {said}", where=url) from error
    except OSError as error:
        raise UserError(f"the gateway does not answer: {error}", where=url, next_step="aiprime up") from error
