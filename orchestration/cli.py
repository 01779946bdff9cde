"""The `aiprime` command. Each command is a few lines; what it does lives in the module it names. Imports are in the functions:
`aiprime --help` answers in under half a second."""

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from data.places import Places

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From versioned data to a monitored endpoint: one YAML file per model, one graph, one gate.",
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Name = Annotated[str, typer.Argument(help="The workload's name; `aiprime workloads` lists them.")]
Version = Annotated[str | None, typer.Argument(help="A registered version; `aiprime release list` shows them.")]
Reason = Annotated[str, typer.Option(help="Why; it stays on record.")]

release = typer.Typer(no_args_is_help=True, help="Which version serves: look, promote, go back, pause, approve.")
app.add_typer(release, name="release")


def main() -> None:
    """Run the command; a person's mistake is told in three lines, without a traceback."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without .pyc files every process compiles every import anew
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.dont_write_bytecode = False
    from data.errors import UserError

    try:
        app()
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; nothing half-done is served. Run the command again to go on.")


def _fail(said: str) -> NoReturn:
    print(f"error: {said}", file=sys.stderr)
    sys.exit(1)


def _places() -> "Places":
    from data.places import Places

    return Places.find()


def _print(as_json: bool, value: Any, text: Callable[[Any], str]) -> None:
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False) if as_json else text(value))


@app.command()
def up(
    run: Annotated[str | None, typer.Option(help="Also bring this workload up to date, from source to endpoint.")] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Then play the loop once, on a model that ages: about a minute.")
    ] = False,
) -> None:
    """Start the Dagster UI, the MLflow UI and the gateway; print their URLs and a curl that works."""
    from assets.spec import load
    from orchestration import report, running, services

    places = _places()
    if run:
        load(places, run)  # a mistyped name starts nothing
    running.show_progress()
    services.start(places, services.CORE)
    outcome = running.run(places, run) if run else None
    services.start(places)
    services.wait(places, services.ALL, report.ready)
    report.reconcile(places)
    print(report.summary(places, outcome))
    if show and not (outcome and outcome.failed):
        from orchestration.replay import demonstration

        demonstration.once(places)
    if outcome and outcome.failed:
        raise typer.Exit(1)


@app.command()
def down() -> None:
    """Stop every process that was started here."""
    from orchestration import services

    services.stop(_places())
    print("stopped: no process is left")


@app.command()
def status(as_json: Json = False) -> None:
    """What runs, what serves, and since when."""
    from orchestration import report

    _print(as_json, report.status(_places()), report.status_text)


@app.command()
def run(
    workload: Name,
    until: Annotated[
        str, typer.Option(help="The last stage: dataset, features, model, evaluation, registered_model or endpoint.")
    ] = "endpoint",
    as_json: Json = False,
) -> None:
    """Bring a workload up to date: only what changed is done again."""
    from orchestration import report, running

    places = _places()
    running.show_progress()
    outcome = running.run(places, workload, until)
    _print(as_json, vars(outcome), lambda _: report.outcome_text(places, outcome))
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def retrain(
    workload: Name,
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="How far truth is known (UTC).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit on all that is known but a gate window, judge on that, and release what passes."""
    from orchestration import report, retraining, running

    places = _places()
    running.show_progress()
    outcome = retraining.retrain(places, workload, reason, until)
    _print(as_json, vars(outcome), lambda _: report.outcome_text(places, outcome))
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def replay(
    workload: Name,
    start: Annotated[str, typer.Option("--from", help="A year or a date: what the model was trained on ends before it.")],
    end: Annotated[str | None, typer.Option("--to", help="A year or a date; else the source's last row.")] = None,
    speed: Annotated[str, typer.Option(help="max, or how many times faster than it happened.")] = "max",
    fault: Annotated[
        str | None, typer.Option(help="Plant a sensor fault: offset, drift or stuck, then :SIZE and @DATE where wanted.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Play later years as live traffic, truth arriving late, and watch the loop keep the model honest."""
    from orchestration.replay import playing, screen

    done = playing.replay(
        _places(), workload, start, end=end, speed=playing.pace(speed), fault=fault, told=screen.Screen().told
    )
    _print(as_json, playing.plain(done), lambda _: screen.summary(done))


@app.command()
def workloads(as_json: Json = False) -> None:
    """The workloads of this project, with what each serves."""
    from orchestration import report

    _print(as_json, report.workloads(_places()), report.workloads_text)


@app.command()
def predict(
    workload: Name,
    instance: Annotated[str | None, typer.Option("--json", help="One row as a JSON object, or a list of them.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="A CSV file of rows.")] = None,
) -> None:
    """Ask the deployed model; answers are JSON, one per line."""
    from orchestration import predicting

    for answer in predicting.predict(_places(), workload, instance, csv):
        print(json.dumps(answer, ensure_ascii=False))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="A name for it: lower-case letters, digits, _.")],
    csv: Annotated[str, typer.Option("--csv", help="A CSV or Parquet file, or a quoted glob; it is read again at each run.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    time: Annotated[str | None, typer.Option(help="The column that says when.")] = None,
    entity: Annotated[str | None, typer.Option(help="The column that says which: a station, a shop, a customer.")] = None,
) -> None:
    """Bring your own data: infer a workload's YAML from a file, for you to curate."""
    from orchestration import housekeeping

    print(housekeeping.new(_places(), name, csv, target, time, entity))


@app.command()
def remove(name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Take a workload out of service and out of the project. Versioned data and registered versions stay."""
    from orchestration import housekeeping

    if not yes and not typer.confirm(f"Stop serving {name} and remove its folder?"):
        raise typer.Exit(1)
    print(housekeeping.remove(_places(), name))


@app.command()
def gc(
    keep: Annotated[
        int, typer.Option(min=1, help="Versions to keep per workload, beside the champion and its rollback target.")
    ] = 3,
    records_before: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Also erase what was answered before (UTC)."),
    ] = None,
) -> None:
    """Free disk: old versions' files and unreferenced data; records too, where a date is named."""
    from orchestration import freeing, housekeeping

    places = _places()
    print(housekeeping.gc(places, keep))
    if records_before:
        print(freeing.records(places, records_before))


@release.command("list")
def release_list(
    workload: Annotated[str | None, typer.Argument(help="One workload; else all.")] = None, as_json: Json = False
) -> None:
    """The versions with the gate's verdict and their state: champion, previous, challenger and its step, held, refused."""
    from orchestration import releasing

    _print(as_json, releasing.versions(_places(), workload), releasing.versions_text)


@release.command()
def promote(
    workload: Name,
    reason: Reason,
    version: Version = None,
    override: Annotated[bool, typer.Option("--override", help="Also where the gate refused it.")] = False,
    as_json: Json = False,
) -> None:
    """Make a version the champion now; without VERSION the challenger, past the rest of its rollout."""
    from orchestration import releasing

    done = releasing.promote(_places(), workload, version, reason, override)
    _print(as_json, vars(done) if as_json else done, releasing.done_text)


@release.command()
def rollback(workload: Name, reason: Reason, version: Version = None, as_json: Json = False) -> None:
    """Take the challenger out; where there is none (or the champion is named), go back to the version before. What is left is held."""
    from orchestration import releasing

    done = releasing.rollback(_places(), workload, version, reason)
    _print(as_json, vars(done) if as_json else done, releasing.done_text)


@release.command()
def pause(workload: Name, reason: Reason, as_json: Json = False) -> None:
    """Let nothing be exposed, advanced or promoted by itself; a bad challenger still goes back."""
    from orchestration import releasing

    done = releasing.change(_places(), "paused", workload, None, reason)
    _print(as_json, vars(done) if as_json else done, releasing.done_text)


@release.command()
def resume(workload: Name, reason: Reason, as_json: Json = False) -> None:
    """Let the loop go on."""
    from orchestration import releasing

    done = releasing.change(_places(), "resumed", workload, None, reason)
    _print(as_json, vars(done) if as_json else done, releasing.done_text)


@release.command()
def approve(workload: Name, reason: Reason, version: Version = None, as_json: Json = False) -> None:
    """Let the challenger take all of the traffic once its last step is passed (where the YAML waits for a person)."""
    from orchestration import releasing

    done = releasing.change(_places(), "approved", workload, version, reason)
    _print(as_json, vars(done) if as_json else done, releasing.done_text)


@app.command()
def export(
    workload: Name, folder: Annotated[Path, typer.Argument(help="A folder for predictions, labels and outcomes as Parquet.")]
) -> None:
    """Write a workload's records as Parquet files."""
    from assets.spec import load
    from serving.records import Records

    places = _places()
    load(places, workload)
    for file in Records.at(places.home).export(workload, folder):
        print(file)


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A process; without one, all of them.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines of each.")] = 30,
) -> None:
    """The last lines that the processes wrote."""
    from orchestration import report

    print(report.logs(_places(), name, lines))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Look for what commonly goes wrong, and say what to do about it."""
    from orchestration import doctor as doctors

    findings = doctors.examine(_places())
    _print(as_json, [vars(one) for one in findings], doctors.text)
    if any(one.state == "bad" for one in findings):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
