"""The processes of this machine: start, stop, look, read their logs, examine."""

from typing import Annotated

import typer

from orchestration.commands import options


def up(
    run: Annotated[str | None, typer.Option(help="Also bring this workload up to date, from source to endpoint.")] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Then play the loop once, on a model that ages: about a minute.")
    ] = False,
) -> None:
    """Start the Dagster UI, the MLflow UI and the gateway; print their URLs and a curl that works."""
    from assets.spec import load
    from orchestration import opening, report, running, services

    places = options.places()
    if run:
        load(places, run)  # a mistyped name starts nothing
    running.show_progress()
    opening.prepare(places)
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


def down() -> None:
    """Stop every process that was started here."""
    from orchestration import services

    services.stop(options.places(reading=True))
    print("stopped: no process is left")


def status(as_json: options.Json = False) -> None:
    """What runs, what serves, and since when."""
    from orchestration import report

    options.show(as_json, report.status(options.places(reading=True)), report.status_text)


def logs(
    name: Annotated[str | None, typer.Argument(help="A process; without one, all of them.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines of each.")] = 30,
) -> None:
    """The last lines that the processes wrote."""
    from orchestration import report

    print(report.logs(options.places(reading=True), name, lines))


def doctor(as_json: options.Json = False) -> None:
    """Look for what commonly goes wrong, and say what to do about it."""
    from orchestration import doctor as doctors
    from orchestration import findings

    found = doctors.examine(options.places(reading=True))
    options.show(as_json, [vars(one) for one in found], findings.text)
    if any(one.state == "bad" for one in found):
        raise typer.Exit(1)
