"""What the commands print: one summary, one status, one list. Text for people, plain dicts for scripts."""

from __future__ import annotations

import json
import logging
import shlex
from typing import TYPE_CHECKING, Any

from assets import signing
from assets.retraining import capped
from assets.spec import names, read
from data import cutoff
from data.errors import UserError
from data.places import Places
from orchestration import standing
from serving.deploy import LocalTarget
from serving.ledger import Ledger
from serving.supervision import Supervisor
from training.signature import Signature

if TYPE_CHECKING:
    from orchestration.running import Outcome

log = logging.getLogger("aiprime.up")
UIS = {"dagster": "Dagster UI", "mlflow": "MLflow UI", "gateway": "gateway"}


def ready(name: str, url: str) -> None:
    """Tell that a service answers."""
    log.info("%s answers at %s", UIS.get(name, name), url)


def reconcile(places: Places) -> None:
    """Make serving equal to the ledger, and say what that took."""
    for line in [*signing.missing(places), *LocalTarget(places.home).reconcile()]:
        log.info("%s", line)


def curl(places: Places, workload: str) -> str | None:
    """A command that asks the champion through the gateway; None where nothing is served."""
    champion = Ledger.at(places.home).champion(workload)
    gateway = places.service("gateway")
    if champion is None or gateway is None:
        return None
    body = json.dumps({"instances": [example(places, workload, champion.version)]}, ensure_ascii=False)
    return f"curl -s {gateway}/v1/models/{workload}:predict -H 'content-type: application/json' -d {shlex.quote(body)}"


def example(places: Places, workload: str, version: str) -> dict[str, Any]:
    """The shortest request that a version answers: what the online store does not complete, from the newest holdout row."""
    from data.schema import SPLIT
    from training.examples import instances

    signature = Signature.read(places.models(workload, version))
    asked = tuple(
        c.name
        for c in signature.inputs
        if c.name not in signature.stored and c.name != (signature.time if signature.stored else None)
    )
    row: dict[str, Any] = {}
    table_file = places.store(workload) / "features" / "table.parquet"
    if (asked or signature.entity) and table_file.is_file():
        import pyarrow.parquet as pq

        table = pq.read_table(table_file, filters=[(SPLIT, "==", "holdout")]).to_pandas().tail(1)
        row = next(instances(table, signature, only=asked), {})
        if signature.entity:
            row = {signature.entity: str(table[signature.entity].iloc[0])} | row
    return row


def summary(places: Places, outcome: Outcome | None) -> str:
    """What was trained on what, the verdict, the URLs, and a curl that answers."""
    lines = [""]
    if outcome is not None:
        lines += [outcome_text(places, outcome), ""]
    urls = {name: places.service(name) for name in UIS}
    lines += [f"  {title:<11} {urls[name]}" for name, title in UIS.items() if urls[name]]
    served = [name for name in names(places) if Ledger.at(places.home).champion(name)]
    for name in [outcome.workload] if outcome and outcome.workload in served else served[:1]:
        lines += ["", f"  ask {name}:", f"  {curl(places, name)}"]
    return "\n".join([*lines, "", "  aiprime status · aiprime logs · aiprime down"])


def outcome_text(places: Places, outcome: Outcome) -> str:
    """How one run ended."""
    if outcome.failed:
        return f"{outcome.workload} stopped at {outcome.failed} after {outcome.seconds:.1f} s:\n\n{outcome.said}"
    done = outcome.stages
    rows = done.get("dataset", {}).get("dagster/row_count")
    lines = [f"{outcome.workload}: up to date in {outcome.seconds:.1f} s"]
    if rows:
        again = "" if done.get("model", {}).get("ran", True) else " (unchanged, nothing fitted again)"
        fitted = done.get("model", {}).get("rows")
        lines.append(
            f"  trained     on {fitted:,} examples of {rows:,} rows{again}" if fitted else f"  dataset     {rows:,} rows"
        )
    if (kept := cutoff.read(places, outcome.workload)) is not None and "dataset" in done:
        lines.append(f"  data        {capped(outcome.workload, kept).removeprefix('data ')}")
    if "evaluation" in done:
        lines.append(f"  gate        {done['evaluation']['verdict']}")
    if "endpoint" in done:
        serving, newest = done["endpoint"]["version"], done["endpoint"].get("newest version")
        beside = (
            "" if newest in {None, serving} else f" (the newest, {newest}: {done['endpoint'].get('rollout of the newest')})"
        )
        lines.append(f"  serving     version {serving} at {done['endpoint']['endpoint']}{beside}")
        if asked := curl(places, outcome.workload):
            lines.append(f"  ask         {asked}")
    return "\n".join(lines)


def status(places: Places) -> dict[str, Any]:
    """Processes, champions, and how each model stands, as plain values."""
    supervisor = Supervisor(places.home)
    processes = [vars(one) for one in supervisor.status()]
    urls = {name: places.service(name) for name in UIS if places.service(name)}
    return {"processes": processes, "urls": urls, "workloads": workloads(places), "models": models(places)}


def models(places: Places) -> list[dict[str, Any]]:
    """How each model stands that anything was decided about: what its page shows."""
    from serving import standing as facts
    from serving.records import Records

    ledger, records = Ledger.at(places.home), Records.at(places.home)
    return [facts.plain(facts.read(ledger, records, name, home=places.home)) for name in ledger.workloads()]


def status_text(found: dict[str, Any]) -> str:
    """The status as a few aligned lines."""
    lines = [f"  {p['name']:<28} {p['state']:<10} pid {p['pid'] or '-'}" for p in found["processes"]] or [
        "  nothing runs; aiprime up"
    ]
    lines += ["", *(f"  {UIS[name]:<11} {url}" for name, url in found["urls"].items())]
    if "gateway" in found["urls"]:
        lines.append(f"  {'models':<11} {found['urls']['gateway']}/ shows them as pages")
    return "\n".join([*lines, "", workloads_text(found["workloads"]), *("\n" + standing.text(one) for one in found["models"])])


def workloads(places: Places) -> list[dict[str, Any]]:
    """Every workload: what it is, its champion, or what is wrong with its YAML."""
    ledger = Ledger.at(places.home)
    found = []
    for name in names(places):
        row: dict[str, Any] = {"name": name, "champion": None, "since": None, "error": None}
        try:
            spec = read(places.defs(name))
            row |= {"family": spec.family, "task": spec.task, "source": spec.data.source}
        except UserError as error:
            row |= {"family": "?", "task": "?", "source": "?", "error": str(error)}
        if champion := ledger.champion(name):
            row |= {"champion": champion.version, "since": str(champion.at)}
        found.append(row)
    return found


def workloads_text(found: list[dict[str, Any]]) -> str:
    """The list as aligned lines."""
    lines = []
    for row in found:
        serves = f"version {row['champion']} since {row['since'][:19]}" if row["champion"] else "nothing served yet"
        lines.append(f"  {row['name']:<12} {row['family']:<9} {row['task']:<15} {serves}  ({row['source']})")
        if row["error"]:
            lines.append("    " + row["error"].replace("\n", "\n    "))
    return "\n".join(lines) or "  no workloads; aiprime new makes one"


def logs(places: Places, name: str | None, lines: int) -> str:
    """The tails of the processes' logs."""
    supervisor = Supervisor(places.home)
    known = [one.name for one in supervisor.status()]
    if name is not None and name not in known:
        raise UserError(f"no process {name!r}", next_step=f"running: {', '.join(known) or 'none; aiprime up'}")
    return "\n\n".join(f"== {one} ==\n{supervisor.logs(one, lines)}" for one in ([name] if name else known))
