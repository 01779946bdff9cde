"""Hyper-parameter search: Optuna's TPE over a family's settings, each trial a whole fit, poor ones cut off (median rule).

Trials lie in a journal of JSON lines, so that a killed search goes on where it was. The seed fixes every trial's proposal.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.schema import TableSchema
from training.family import Family, TrainSection, settings

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from optuna.trial import FrozenTrial, Trial

log = logging.getLogger("aiprime.training")

_REPORTS = 20  # how often a trial is held against the others
_DIVERGED = "diverged"


def search(
    chosen: Family, rows: pd.DataFrame, schema: TableSchema, section: TrainSection, folder: Path, token: str | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The best settings that `section.search` finds on the train rows, and a row per trial: number, state, loss, settings.

    With a `token` (what the search depends on: code, data) a killed search is taken up and a finished one answers at once;
    without one it always begins anew. The loss is the family's own on its validation rows. UserError names an impossible space,
    or says that no trial had a finite loss.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    assert section.search is not None  # noqa: S101  (the caller asks only then)
    base = settings(chosen, section)
    space = _space(section.search.space or chosen.search_space(section.size), base)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(_journal(folder, token, schema, section, chosen.name)))),
        study_name=chosen.name,
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_REPORTS // 4),
    )
    _give_up_interrupted(study)
    while (done := len(_counted(study))) < section.search.trials:
        study.sampler = optuna.samplers.TPESampler(seed=section.seed * 100_003 + done)
        trial = study.ask()
        proposed = base | {key: ask(trial) for key, ask in space.items()}
        _run(study, trial, chosen, rows, schema, proposed, section, folder / f"trial-{done}")
        log.info(
            "search: trial %s of %s: %s",
            done + 1,
            section.search.trials,
            study.trials[-1].values or study.trials[-1].state.name,
        )
    finished = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if not finished:
        raise UserError(
            "no trial of the search ended with a finite loss", next_step="narrow the ranges under train.search.space"
        )
    return base | _typed(study.best_params, base), [_row(trial, base) for trial in _counted(study)]


def _journal(folder: Path, token: str | None, schema: TableSchema, section: TrainSection, family: str) -> Path:
    """The journal of this very search; those of others, and their trials' folders, are removed."""
    asked = json.dumps([token, family, section.model_dump(mode="json"), schema.model_dump(mode="json")], sort_keys=True)
    file = folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.journal"
    if token is None or not file.is_file():
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return file


def _space(ranges: Mapping[str, tuple[float, ...]], base: Mapping[str, Any]) -> dict[str, Any]:
    """What to ask of a trial, by setting: two numbers are a range (log-uniform where both are above 0), others are choices."""
    if unknown := sorted(set(ranges) - set(base)):
        raise UserError(
            f"train.search.space: unknown setting: {', '.join(unknown)}", next_step=f"known: {', '.join(sorted(base))}"
        )
    asks = {}
    for key, values in ranges.items():
        kind = type(base[key])
        if kind is str or not values or (len(values) == 2 and values[0] >= values[1]):
            raise UserError(
                f"train.search.space.{key}: {list(values)} is no range", next_step="write [low, high], or three choices or more"
            )
        asks[key] = _ask(key, values, whole=kind is int)
    return asks


def _ask(key: str, values: tuple[float, ...], *, whole: bool) -> Any:
    if len(values) != 2:
        choices = [int(value) if whole else float(value) for value in values]
        return lambda trial: trial.suggest_categorical(key, choices)
    low, high = values
    if whole:
        return lambda trial: trial.suggest_int(key, int(low), int(high), log=low > 0)
    return lambda trial: trial.suggest_float(key, low, high, log=low > 0)


def _typed(found: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    return {key: type(base[key])(value) for key, value in found.items()}


def _run(
    study: optuna.Study,
    trial: Trial,
    chosen: Family,
    rows: pd.DataFrame,
    schema: TableSchema,
    proposed: dict[str, Any],
    section: TrainSection,
    folder: Path,
) -> None:
    import optuna

    from training.fit import fit

    prepared = chosen.prepare(rows, schema, proposed, section.seed)
    reported = 0

    def progress(row: dict[str, Any]) -> None:
        nonlocal reported
        reached = row["step"] * _REPORTS // prepared.max_steps
        if reached > reported and math.isfinite(row["valid_loss"]):
            reported = reached
            trial.report(row["valid_loss"], reached)
            if trial.should_prune():
                raise optuna.TrialPruned

    try:
        result = fit(
            prepared,
            folder=folder,
            seed=section.seed,
            patience=section.patience,
            precision=section.precision,
            token=json.dumps(proposed, sort_keys=True),
            progress=progress,
        )
        study.tell(trial, result.best_loss)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except UserError:
        trial.set_user_attr(_DIVERGED, True)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give_up_interrupted(study: optuna.Study) -> None:
    """A trial that a kill left running is run again, as a new one."""
    import optuna

    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _counted(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were run to an end of their own."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "FAIL" or _DIVERGED in trial.user_attrs]


def _row(trial: FrozenTrial, base: Mapping[str, Any]) -> dict[str, Any]:
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, _DIVERGED)
    loss = trial.value if trial.state.name == "COMPLETE" else None
    return {"trial": trial.number, "state": state, "loss": loss, **_typed(trial.params, base)}
