"""A workload's way from data to endpoint, and round again: run, retrain, replay, predict."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands import options


def run(
    workload: options.Name,
    until: Annotated[
        str, typer.Option(help="The last stage: dataset, features, model, evaluation, registered_model or endpoint.")
    ] = "endpoint",
    lift: Annotated[
        bool, typer.Option("--lift-cutoff", help="Take away the date where a retrain ended the data: newer rows count again.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Bring a workload up to date: only what changed is done again."""
    from assets.retraining import lifting
    from orchestration import opening, report, running

    places = options.places()
    running.show_progress()
    opening.prepare(places)
    outcome = running.run(places, workload, until, tags=lifting(places, workload) if lift else None)
    options.show(as_json, vars(outcome), lambda _: report.outcome_text(places, outcome))
    if outcome.failed:
        raise typer.Exit(1)


def retrain(
    workload: options.Name,
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="How far truth is known (UTC).")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Fit on all that is known but a gate window, judge on that, and release what passes."""
    from orchestration import opening, report, retraining, running

    places = options.places()
    running.show_progress()
    opening.prepare(places)
    outcome = retraining.retrain(places, workload, reason, until)
    options.show(as_json, vars(outcome), lambda _: report.outcome_text(places, outcome))
    if outcome.failed:
        raise typer.Exit(1)


def replay(
    workload: options.Name,
    start: Annotated[str, typer.Option("--from", help="A year or a date: what the model was trained on ends before it.")],
    end: Annotated[str | None, typer.Option("--to", help="A year or a date; else the source's last row.")] = None,
    speed: Annotated[str, typer.Option(help="max, or how many times faster than it happened.")] = "max",
    fault: Annotated[
        str | None, typer.Option(help="Plant a sensor fault: offset, drift or stuck, then :SIZE and @DATE where wanted.")
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Where what serves has seen these years: put an earlier version in its place, for good."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Play later years as live traffic, truth arriving late, and watch the loop keep the model honest."""
    from orchestration import opening
    from orchestration.replay import playing, screen

    asked = {"end": end, "speed": playing.pace(speed), "fault": fault, "replace_champion": yes}
    opening.prepare(places := options.places())
    done = playing.replay(places, workload, start, told=screen.Screen().told, **asked)
    options.show(as_json, playing.plain(done), lambda _: screen.summary(done))


def predict(
    workload: options.Name,
    instance: Annotated[str | None, typer.Option("--json", help="One row as a JSON object, or a list of them.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="A CSV file of rows.")] = None,
) -> None:
    """Ask the deployed model; answers are JSON, one per line."""
    from orchestration import predicting

    for answer in predicting.predict(options.places(), workload, instance, csv):
        print(json.dumps(answer, ensure_ascii=False))
