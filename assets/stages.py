"""The stages that DVC knows, as plain functions of a workload: callable from Dagster, from `dvc repro`, from a notebook.

`python -m assets.stages STAGE WORKLOAD` is what dvc.yaml runs; `up_to_date` is what an asset calls. Both go through the same
guard: code or a section that is edited while a stage runs is noticed, and the stage fails.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.spec import Spec, load
from data.errors import UserError
from data.failpoints import failpoint
from data.files import write_json
from data.places import Places
from data.schema import SPLIT
from data.split import TRAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from data.versions import StageRun

log = logging.getLogger("aiprime.stages")


class ExpectationsFailed(UserError):
    """The data broke its expectations; the report and the rows are kept for a look."""


def source(spec: Spec, places: Places) -> None:
    """Fingerprint the source's bytes (no parsing), so that new rows are noticed; a new cutoff, where a retrain set one; and who was
    forgotten since."""
    from data import cutoff, forgotten, sources

    told = sources.fingerprint(spec.data, places)
    if gone := forgotten.of(places.home, spec.name):
        told["forgotten"] = gone
    if (until := cutoff.applied(places, spec.name)) is not None:
        told["cutoff"] = until.plain()
    write_json(places.store(spec.name) / "source.json", told)


def dataset(spec: Spec, places: Places) -> None:
    """Read the source, hold it to the declared columns, and write the canonical table."""
    from data import cutoff, forgotten, labels, prepare, sources

    fingerprint = json.loads(_read(places, spec.name, "source", "source.json"))
    until = cutoff.in_source(fingerprint)
    joined = until and until.labels_sha256
    known = labels.read(cutoff.labels_file(places, spec.name), joined) if joined else None
    table = prepare.prepare(sources.read(spec.data, places, fingerprint), spec.data, until, known)
    table = forgotten.without(table, spec.data.entity, fingerprint.get("forgotten", ()), places.home)
    prepare.write(table, places.store(spec.name) / "dataset.parquet", cutoff.metadata(until))
    log.info("%s: dataset: %s rows, %s columns", spec.name, f"{len(table):,}", table.shape[1])


def quality(spec: Spec, places: Places) -> None:
    """Hold the dataset to its expectations; ExpectationsFailed names the broken ones and where the rows are kept."""
    from data import cutoff, examples, planted
    from data import quality as gate

    folder = places.home / "quality" / spec.name
    table = _dataset(spec, places)
    report = gate.check(table, spec.data, spec.quality)
    if report.as_declared:
        sides = examples.sides_of(
            table, spec.data, spec.features, cutoff.in_dataset(places.store(spec.name) / "dataset.parquet")
        )
        asked = (spec.task, spec.data, spec.features, sides, spec.quality.leaks, spec.quality.poison)
        report = report.with_looks(*planted.results(table, *asked))
    gate.write_docs(report, folder)
    write_json(folder / "report.json", report.summary())
    if not report.passed:
        raise ExpectationsFailed(
            f"{spec.name}: the data broke {len(report.broken)} expectation(s): " + "; ".join(report.broken),
            where=str(folder / "failed_rows.csv"),
            next_step="mend the rows, or the expectation under `quality:` of the workload's YAML; nothing was trained",
        )
    write_json(places.store(spec.name) / "quality.json", report.summary())
    log.info("%s: quality: %s expectations hold", spec.name, len(report.results))


def features(spec: Spec, places: Places) -> None:
    """Build the table of examples; with an entity through Feast's point-in-time join."""
    from data import cutoff
    from data import features as store

    folder, table = places.store(spec.name) / "features", _dataset(spec, places)
    until = cutoff.in_dataset(places.store(spec.name) / "dataset.parquet")
    schema = store.build(spec.name, table, spec.task, spec.data, spec.features, folder, places.home, until)
    log.info("%s: features: %s inputs", spec.name, len(schema.inputs))


def model(spec: Spec, places: Places) -> None:
    """Fit the family's model on the train rows and export it; the curve and the settings are written beside it."""
    from data import versions
    from training import family as families
    from training import pictures
    from training.fit import fit

    failpoint("before-train")
    store = places.store(spec.name)
    table, schema = read_features(places, spec.name)
    rows = table[table[SPLIT] == TRAIN]
    chosen = families.family(spec.family)
    settings, trials = families.settings(chosen, spec.train), []
    checkpoints = places.home / "checkpoints" / spec.name
    token = versions.recipe(places.root, "model", spec.name) + versions.locked(places.root, spec.name).get("features", "")
    if spec.train.search is not None:
        from training import search

        settings, trials = search.search(chosen, rows, schema, spec.train, checkpoints / "search", token=token)
    prepared = chosen.prepare(rows, schema, settings, spec.train.seed)
    with _tracked(spec, places, settings) as (run_id, logger):
        fitted = fit(
            prepared,
            folder=checkpoints,
            seed=spec.train.seed,
            patience=spec.train.patience,
            precision=spec.train.precision,
            token=token,
            logger=logger,
            progress=_progress(spec.name),
        )
    (store / "model").mkdir(parents=True, exist_ok=True)
    chosen.export(prepared, schema, spec.name, store / "model")
    with (store / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["epoch", "step", "train_loss", "valid_loss"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(fitted.history)
    (store / "curves.png").write_bytes(pictures.curves(fitted.history))
    record = {"run_id": run_id, "steps": fitted.steps, "seconds": round(fitted.seconds, 3), "best_epoch": fitted.best_epoch}
    record |= {
        "precision": fitted.precision,
        "resumed_from": fitted.resumed_from,
        "settings": settings,
        "trials": trials,
        "rows": len(rows),
    }
    write_json(store / "training.json", record)
    log.info("%s: model: %s steps on %s rows in %.1f s", spec.name, fitted.steps, f"{len(rows):,}", fitted.seconds)


def evaluation(spec: Spec, places: Places) -> None:
    """Score the model and the naive baseline on the holdout rows. The champion is not asked here: the gate does that."""
    from data import versions
    from training import evaluate

    store = places.store(spec.name)
    table, schema = read_features(places, spec.name)
    versions.verify(places.root, spec.name, "model")
    found = evaluate.evaluate(store / "model", table, schema, spec.promote, store / "evaluation")
    (store / "evaluation" / "scores.json").replace(store / "scores.json")  # DVC's metric, a file of its own
    log.info("%s: evaluation: %s", spec.name, found.comparison.sentence)


STAGES: dict[str, Callable[[Spec, Places], None]] = {
    stage.__name__: stage for stage in (source, dataset, quality, features, model, evaluation)
}


def up_to_date(stage: str, workload: str, places: Places) -> StageRun:
    """Have DVC bring one stage up to date, its function called in this process; an unchanged stage is skipped."""
    from data import versions

    return versions.bring_up_to_date(places.root, stage, workload, lambda: run(stage, workload, places))


def run(stage: str, workload: str, places: Places) -> None:
    """Run one stage now, under the guard. `stage` is one of STAGES."""
    from data import versions

    if stage not in STAGES:
        raise UserError(f"no stage {stage!r}", next_step=f"one of: {', '.join(STAGES)}")
    started = time.perf_counter()
    with versions.stage_guard(places.root, stage, workload):
        STAGES[stage](load(places, workload), places)
    log.debug("%s: %s took %.2f s", workload, stage, time.perf_counter() - started)


def read_features(places: Places, workload: str) -> tuple[pd.DataFrame, Any]:
    """The table of examples and its schema, re-hashed before they are parsed."""
    import pandas as pd

    from data.schema import TableSchema

    table, schema = (_read(places, workload, "features", f"features/{name}") for name in ("table.parquet", "schema.json"))
    return pd.read_parquet(io.BytesIO(table)), TableSchema.model_validate_json(schema)


def _dataset(spec: Spec, places: Places) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(io.BytesIO(_read(places, spec.name, "dataset", "dataset.parquet")))


def _read(places: Places, workload: str, stage: str, name: str) -> bytes:
    """The bytes of what a stage left in the workload's store: those that were hashed."""
    from data import versions

    return versions.read(places.root, workload, stage, (places.store(workload) / name).relative_to(places.root).as_posix())


def _progress(workload: str) -> Callable[[dict[str, Any]], None]:
    last = time.monotonic()

    def said(row: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > 1:
            last = time.monotonic()
            log.info("%s: model: epoch %s, step %s, valid loss %.4g", workload, row["epoch"], row["step"], row["valid_loss"])

    return said


@contextmanager
def _tracked(spec: Spec, places: Places, settings: dict[str, Any]) -> Iterator[tuple[str | None, Any]]:
    """An MLflow run where the tracking server answers; else none: registration then logs the curve after the fact."""
    from assets.provenance import tags
    from training.tracking import Tracking

    url = places.service("mlflow")
    tracking = Tracking(url) if url else None
    if tracking is None or not tracking.alive():
        yield None, None
        return
    params = {"family": spec.family, "size": spec.train.size, "seed": spec.train.seed, **settings}
    with tracking.run(
        spec.name, f"{spec.name} {time.strftime('%Y-%m-%d %H:%M:%S')}", params, tags(places, spec.name)
    ) as run_id:
        yield run_id, tracking.lightning_logger(run_id, spec.name)


def main(arguments: list[str]) -> int:
    """The command that dvc.yaml runs."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: two spinning processes on two cores stand still
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(arguments) != 2:
        print(f"usage: python -m assets.stages STAGE WORKLOAD   (stages: {', '.join(STAGES)})", file=sys.stderr)
        return 2
    try:
        run(arguments[0], arguments[1], Places.find(Path.cwd()))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
