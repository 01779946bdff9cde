"""`aiprime forget`: the listing before, the sentences after, and the receipt's copies beside the backups."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from data.places import Places


def look(places: Places, entity: str, only: str | None) -> dict[str, Any]:
    """What would go, by workload; nothing is changed."""
    from assets import forgetting
    from assets.platform import Platform

    platform = Platform()
    specs = forgetting.workloads_with_entities(places, only)
    alone = only is not None
    found = [forgetting.find(platform, spec, entity, alone=alone) for spec in specs]
    return {"would": [asdict(one) for one in found if one or one.versions.serving]}


def forget(places: Places, entity: str, only: str | None) -> dict[str, Any]:
    """Do it; the receipt, where it lies, and the backups' folders that could not be given a copy."""
    from assets import forgetting
    from assets.forgetting import receipt as receipts
    from assets.platform import Platform
    from orchestration import whole_state
    from orchestration.backup.receipts import spread

    with whole_state.held(places, "forget"):  # no backup is taken of what is half gone
        made = forgetting.forget(Platform(), entity, only)
    missed = [str(one) for one in spread(places.home)]
    return {"receipt": str(receipts.place(places.home, made.id)), **asdict(made), "not_copied_to": missed}


def text(told: dict[str, Any]) -> str:
    """Either of them for a person."""
    if "would" in told:
        if not told["would"]:
            return "nothing is known of it; letters' case counts, and the key must be whole"
        lines = [line for one in told["would"] for line in _would(one)]
        return "\n".join([*lines, "nothing was changed; --yes does it"])
    lines = [f"forgotten; the receipt: {told['receipt']}"]
    for name, one in told["workloads"].items():
        gone = one["erased"]
        lines.append(
            f"  {name}: {gone['predictions']:,} predictions, {gone['labels']:,} labels, {gone['online_values']:,} online values, "
            f"{len(one['found']['outputs'])} outputs of DVC, {len(one['found']['versions']['old'])} old versions"
        )
        if one["rebuilt"]:
            lines.append(f"    {one['rebuilt']}")
        if one["retrain"]:
            lines.append(
                f"    trained on it and still serving: {', '.join(one['retrain'])}; next: aiprime run {name}, then forget again"
            )
        if not one["searched_as_text"]:
            lines.append(
                "    the key cannot be told from other text (short, a number, or our own word): columns and records only"
            )
        lines += [f"    still at {rest['where']}: {rest['why']}" for rest in one["remains"]]
    lines += [f"  copy the receipt to {folder}: restores of older backups need it" for folder in told["not_copied_to"]]
    return "\n".join([*lines, "  backups of before hold it until they are deleted; a restore of one forgets it again"])


def _would(one: dict[str, Any]) -> list[str]:
    of = one["versions"]
    found = {
        "revisions of the dataset": one["datasets"],
        "outputs of DVC (these, and what was made from them)": one["outputs"],
        "files that name it": one["files"] + one["shared"],
        "old versions, which go": of["old"],
        "versions that serve, to be retrained": of["serving"],
        "versions made from data that is gone (not known)": of["unknown"],
    }
    lines = [
        f"{one['workload']}: {one['online']:,} online values, {one['predictions']:,} predictions, {one['labels']:,} labels"
    ]
    for what, named in found.items():
        if named:
            shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
            lines.append(f"  {len(named):,} {what}: {shown}")
    return lines
