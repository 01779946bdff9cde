"""How the version came to be: its files, who vouches for them, the run, the code, the data, the checks, the gate. Reads HOME and the
ledger; what is gone is said to be gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.files import sha256, tree_digest
from serving import vouching
from serving.ledger import Decision, Ledger
from serving.why.steps import Step

_LARGEST = 2 << 30  # bytes of a folder that is hashed while a person waits
_BY_GC = "aiprime gc deletes those of old versions, and the ledger does not record when"
_MOST_CHECKS = 40
Facts = dict[str, Any]


def files(home: Path, workload: str, version: str, registered: Decision | None) -> Step:
    """The version's folder, and whether it is still, bit for bit, what was registered."""
    folder = home / "models" / workload / version
    recorded = registered.payload.get("model_digest") if registered else None
    facts: Facts = {"workload": workload, "version": version, "digest": recorded}
    source = f"models/{workload}/{version} and " + (f"ledger, decision {registered.sequence}" if registered else "the ledger")
    said = f"Version {version} of {workload}" + (
        f", registered on {registered.at[:16].replace('T', ' ')} UTC." if registered else "."
    )
    gone = None
    if registered is not None:
        facts["registered_at"] = registered.at
    if not folder.is_dir():
        gone = f"its files are not there any more: {_BY_GC}"
    elif sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= _LARGEST:
        found = _digest(folder)
        facts["digest_now"] = found
        if recorded is None:
            gone = "the ledger has no record of its registration: nothing says what its files ought to be"
        elif found == recorded:
            said += " Its files were hashed again just now: they are those that were registered, bit for bit."
        else:
            said += " ITS FILES WERE CHANGED since it was registered: they are not what answered."
    return Step(name="model", title="The version that answered", said=said, source=source, facts=facts, gone=gone)


def signature(home: Path, workload: str, version: str, ledger: Ledger) -> Step:
    """The folder's signature, and the statement that lets it serve."""
    found = vouching.who_vouches(home, ledger, workload, version, files=True)
    facts: Facts = {"signed": found.key is not None, "cleared": found.cleared}
    parts = []
    if found.key is not None:
        facts["key"] = found.key
        parts.append(f"Signed by key {found.key[:12]}; the signature was checked again just now and holds.")
    if found.statement is not None:
        facts["statement"] = found.statement
        parts.append(f"A release statement lets it serve, by decision {found.statement} of the ledger.")
    if found.cleared is not None:
        facts |= {"cleared_at": found.at, "cleared_by": found.by}
        parts.append(f"The ledger cleared it on {found.at[:16].replace('T', ' ')} UTC: {found.reason or 'no reason given'}.")
    return Step(
        name="signature",
        title="Who vouches for its files",
        said=" ".join(parts) or "Nobody does.",
        source=f"models/{workload}/{version}.sig, .release"
        + (f" and ledger, decision {found.cleared}" if found.cleared else ""),
        facts=facts,
        gone="; ".join(found.amiss) or None,
    )


def run(registered: Decision | None, tracking: str | None) -> Step:
    """The training run."""
    facts = _of(registered, "run_id", "url")
    links = {}
    url = str(facts.get("url") or "")
    if url.startswith(("http://", "https://")):
        links["MLflow"] = tracking or url
    said = (
        "Trained in a run that MLflow keeps: its settings, its curve, its scores."
        if facts.get("run_id")
        else "No run is on record."
    )
    return Step(
        name="run",
        title="Where it was trained",
        said=said,
        source=_source(registered),
        facts=facts,
        links=links,
        gone=_unrecorded(facts),
    )


def code(registered: Decision | None) -> Step:
    """The commit, and what was not committed."""
    facts = _of(registered, "git_commit", "git_changes", "dvc_lock")
    commit, changes = facts.get("git_commit"), facts.get("git_changes")
    if commit in {None, "none"}:
        said, gone = "No commit is on record.", "it was trained outside of a git repository" if commit else "not on record"
    elif changes == "clean":
        said, gone = f"Commit {str(commit)[:12]}, with nothing changed beside it.", None
    else:
        said = f"Commit {str(commit)[:12]}, with changes that were not committed: their hash is {changes}."
        gone = "what was not committed is kept nowhere; its hash only tells whether something is the same"
    return Step(name="code", title="With which code", said=said, source=_source(registered), facts=facts, gone=gone)


def data(registered: Decision | None) -> Step:
    """The revision of the data that it learnt from."""
    facts = _of(registered, "data_version", "cutoff", "dvc_lock")
    found = facts.get("data_version")
    if found in {None, "none"}:
        said, gone = "No revision of the data is on record.", "not on record"
    else:
        said, gone = f"DVC's revision {found} of the dataset.", None
        cutoff = facts.get("cutoff")
        if isinstance(cutoff, Mapping) and cutoff.get("until"):
            said += f" It was retrained on what was known up to {str(cutoff['until'])[:10]}."
    return Step(name="data", title="From which data", said=said, source=_source(registered), facts=facts, gone=gone)


def checks(home: Path, workload: str, version: str, registered: Decision | None) -> Step:
    """What the data was held to before anything was learnt from it, as it was kept with the version."""
    file, bom = home / "monitor" / workload / version / "checks.json", home / "models" / workload / f"{version}.bom.json"
    facts: Facts = {}
    links = {"card": f"/models/{workload}/versions/{version}"} if bom.is_file() else {}
    if bom.is_file():
        facts["bom_sha256"] = sha256(bom)
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):
        said = "It passed them: the gate judges no model whose data did not."
        gone = "which checks those were was not kept with this version, or is gone with its files"
        if registered is None or not registered.payload.get("passed"):
            said = "Not known."
        return Step(
            name="checks",
            title="What the data was held to",
            said=said,
            source=_source(registered),
            facts=facts,
            links=links,
            gone=gone,
        )
    results = kept["quality"].get("results", [])
    held = sum(bool(one.get("passed")) for one in results)
    facts |= {
        "passed": kept["quality"].get("passed"),
        "rows": kept["quality"].get("rows"),
        "data_version": kept.get("data_version"),
    }
    facts |= {"checks": len(results), "held": held, "expectations": [_expectation(one) for one in results[:_MOST_CHECKS]]}
    said = f"{held} of {len(results)} expectations hold on its {facts['rows'] or 0:,} rows."
    source = f"monitor/{workload}/{version}/checks.json" + (
        f" and models/{workload}/{version}.bom.json" if bom.is_file() else ""
    )
    return Step(name="checks", title="What the data was held to", said=said, source=source, facts=facts, links=links)


def gate(registered: Decision | None) -> Step:
    """The gate's verdict, and against whom."""
    facts = _of(registered, "verdict", "passed", "against", "gate_window", "comparisons", "judged")
    rival = (
        f"version {facts['against']}, the champion of then, and the naive baseline"
        if facts.get("against")
        else "the naive baseline alone"
    )
    said = (
        f"Judged against {rival}, on rows that it had not seen. It {facts.get('verdict') or 'has no verdict'}."
        if facts
        else "Not known."
    )
    if facts and not facts.get("passed"):
        said += " A refused version serves only where a person overrode the gate."
    return Step(
        name="gate", title="Why it was let in", said=said, source=_source(registered), facts=facts, gone=_unrecorded(facts)
    )


def _expectation(one: Mapping[str, Any]) -> str:
    subject = one.get("column") or "the table"
    return f"{subject} {one.get('expected')}: {'holds' if one.get('passed') else 'broken'}"


def _of(registered: Decision | None, *names: str) -> Facts:
    return (
        {}
        if registered is None
        else {name: registered.payload[name] for name in names if registered.payload.get(name) is not None}
    )


def _source(registered: Decision | None) -> str:
    return f"ledger, decision {registered.sequence}" if registered else "ledger"


def _unrecorded(facts: Facts) -> str | None:
    return None if facts else "the ledger has no record of this version's registration"


def _digest(folder: Path) -> str:
    try:
        return tree_digest(folder)
    except (OSError, ValueError) as error:
        return f"unreadable: {error}"
