"""Finds one answer's record and walks back from it. Reads the records, the ledger and HOME; changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from data.errors import UserError
from serving.ledger import Decision, Ledger
from serving.records import Prediction, Records
from serving.records.quantities import Quantity
from serving.why import asked, decided, made, requested, stored
from serving.why.steps import Question, Walk
from training.signature import Signature

if TYPE_CHECKING:
    from serving.records import Label

_MOST = 10_000  # registrations of one workload that are looked through


@dataclass(frozen=True, kw_only=True)
class Why:
    """The walks of one AIPRIME_HOME."""

    home: Path
    ledger: Ledger
    records: Records

    @classmethod
    def at(cls, home: Path) -> Why:
        """With the home's own ledger and records."""
        return cls(home=home, ledger=Ledger.at(home), records=Records.at(home))

    def walk(self, prediction_id: str, role: str | None = None) -> Walk:
        """Of an id, which may name a row (ID/N; else row 0), and the answer of a role (None: the one that the client was given).

        UserError where no such prediction is known: it was never made, or the workload keeps a sample only.
        """
        whole, _, named = prediction_id.partition("/")
        number = int(named) if named.isdigit() and len(named) < 10 else 0
        if named and not named.isdigit():
            raise UserError(f"no prediction {prediction_id[:60]!r}", next_step="an id, or ID/N for a row of a batch")
        found = self.records.find(whole)
        one = _chosen(found, role)
        if one is None:
            what = f"no prediction {prediction_id[:60]} is known" + (f" in the role {role[:20]!r}" if found and role else "")
            raise UserError(
                what, next_step="it was never made, or its workload keeps a sample of its requests only (monitor.kept below 1)"
            )
        rows = max(1, one.rows)
        if number >= rows:
            raise UserError(f"prediction {whole} has {rows} row{'s' if rows > 1 else ''}: there is no row {number}")
        return self._walk(one, found, number)

    def _walk(self, one: Prediction, found: Sequence[Prediction], number: int) -> Walk:
        erased = not one.form
        signature = self._signature(one)
        row = None if erased or signature is None else asked.row(one, signature, number)
        predicted = () if erased or signature is None else asked.quantities(one, signature, number)
        registered = self._registered(one)
        gone = decided.erasure(self.ledger, one) if erased else None
        entity = one.entities[number] if number < len(one.entities) else None
        known = None if erased or signature is None or not signature.stored else self._known(one, signature, row, entity)
        steps = (
            requested.request(one, signature, row, number, entity, known, gone),
            decided.decision(self.ledger, one),
            made.files(self.home, one.workload, one.version, registered),
            made.signature(self.home, one.workload, one.version, self.ledger),
            made.run(registered, self._tracking(registered)),
            made.code(registered),
            made.data(registered),
            requested.features(signature, known, row, entity, gone),
            made.checks(self.home, one.workload, one.version, registered),
            made.gate(registered),
            requested.label(self._labels(one, number, predicted), predicted, gone),
        )
        question, unexplained = self._question(one, registered, row, gone)
        return Walk(
            prediction_id=one.id,
            row=number,
            rows=one.rows,
            role=one.role,
            workload=one.workload,
            version=one.version,
            at=asked.iso(one.at),
            status=one.status,
            sequence=one.sequence,
            task=signature.task if signature else "",
            target=signature.target if signature else "",
            predicted=tuple(requested.predicted(quantity) for quantity in predicted),
            others=tuple(
                {"role": other.role, "version": other.version, "status": other.status, "at": asked.iso(other.at)}
                for other in found
                if other.role != one.role
            ),
            steps=steps,
            question=question,
            unexplained=unexplained,
        )

    def _signature(self, one: Prediction) -> Signature | None:
        try:
            return Signature.read(self.home / "models" / one.workload / one.version)
        except (OSError, ValueError):
            return None

    def _registered(self, one: Prediction) -> Decision | None:
        """The newest record of the version: its verdict may have been given again."""
        of = self.ledger.latest(one.workload, _MOST, ("registered",))
        return next((each for each in reversed(of) if each.version == one.version), None)

    def _tracking(self, registered: Decision | None) -> str | None:
        """The run's page where MLflow answers now: its port may have changed since."""
        url = str(registered.payload.get("url") or "") if registered else ""
        try:
            now = json.loads((self.home / "services.json").read_bytes()).get("mlflow")
            was = urlsplit(url)
        except (OSError, ValueError):
            return None
        if not now or was.hostname not in {"127.0.0.1", "localhost"}:
            return None
        return f"{now.rstrip('/')}{was.path or '/'}#{was.fragment}"

    def _known(self, one: Prediction, signature: Signature, row: Mapping[str, Any] | None, entity: Any) -> stored.Known:
        """What the feature store had of the row's entity at the row's own time."""
        time = row.get(signature.time) if row and signature.time else None
        at = datetime.fromisoformat(time) if isinstance(time, str) else None
        if entity is None and row is not None and signature.entity is not None:
            entity = row.get(signature.entity)
        if entity is None and signature.entity is not None:
            return stored.Known(
                values={}, at=None, source="", said="the request named no entity: it brought every input itself"
            )
        return stored.known(self.home, one.workload, entity, at)

    def _labels(self, one: Prediction, number: int, predicted: Sequence[Quantity]) -> list[Label]:
        """What was told of this row: by its id, and by the time and entity that it is about."""
        named = {f"id:{one.id}/{number}"} | {f"id:{one.id}/{number}/h{quantity.horizon}" for quantity in predicted}
        moments = [(quantity.target_time, quantity.entity) for quantity in predicted if quantity.target_time]
        by_id = [label for label in self.records.labels_of(one.id) if label.about in named]
        return by_id + self.records.labels_at(one.workload, moments)

    def question(self, one: Prediction, number: int) -> tuple[Question | None, str]:
        """What an explanation of one row is asked of, or why there can be none; of a record, kept or not."""
        signature = self._signature(one)
        row = asked.row(one, signature, number) if one.form and signature is not None else None
        return self._question(one, self._registered(one), row, decided.erasure(self.ledger, one) if not one.form else None)

    def _question(
        self, one: Prediction, registered: Decision | None, row: Mapping[str, Any] | None, gone: str | None
    ) -> tuple[Question | None, str]:
        folder = self.home / "models" / one.workload / one.version
        background = self.home / "monitor" / one.workload / one.version / "background.parquet"
        digest = registered.payload.get("model_digest") if registered else None
        if gone is not None:
            return None, f"what was asked is gone: {gone}"
        if one.status != 200:
            return None, f"there is no answer to explain: the request ended with status {one.status}"
        if digest is None:
            return None, "the ledger does not say what this version's files ought to be, so they are not loaded"
        if not folder.is_dir():
            return None, "the version's files are gone: aiprime gc deletes those of old versions"
        if row is None:
            return None, "the request cannot be read again as this version's inputs"
        if not background.is_file():
            return None, "no usual inputs were kept with this version to compare with (it is from before explanations)"
        return Question(folder=str(folder), digest=str(digest), background=str(background), row=row), ""


def _chosen(found: Sequence[Prediction], role: str | None) -> Prediction | None:
    """The record of a role; else the one that its client was given: the challenger's where it answered, else the champion's."""
    if role is not None:
        return next((one for one in found if one.role == role), None)
    order = {"challenger": 0, "champion": 1, "shadow": 2}
    given = sorted(found, key=lambda one: (one.status != 200, order[one.role]))
    answered = [one for one in given if one.role != "shadow"]
    return next(iter(answered or given), None)
