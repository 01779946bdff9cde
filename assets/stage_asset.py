"""What the assets of DVC's stages share: key, group, links, versions, and the one way of bringing a stage up to date."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg

from assets import cost, lease
from assets.spec import Spec
from assets.stages import up_to_date
from data import versions
from data.errors import UserError
from data.places import Places

HERE = Path(__file__).parent
T = TypeVar("T")


def key(spec: Spec, stage: str) -> dg.AssetKey:
    """`WORKLOAD/STAGE`."""
    return dg.AssetKey([spec.name, stage])


def asset(
    spec: Spec,
    places: Places,
    name: str,
    file: str,
    *,
    after: Sequence[str] = (),
    kinds: set[str],
    description: str,
    stages: Sequence[str] = (),
) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
    """`dg.asset` for one stage of a workload, with what the UI shows before anything ran.

    `stages` are DVC's stages behind the asset; their recipe is the asset's code version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code links are in beta at this version; a test holds what we use
        code = dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(file_path=str(HERE / file), line_number=1, label="stage"),
                dg.LocalFileCodeReference(file_path=str(places.defs(spec.name)), line_number=1, label="workload"),
            ]
        )
    return dg.asset(
        key=key(spec, name),
        deps=[key(spec, upstream) for upstream in after],
        group_name=spec.name,
        kinds=kinds,
        description=description,
        code_version="-".join(versions.recipe(places.root, stage, spec.name)[:16] for stage in stages) or None,
        metadata={"dagster/code_references": code},
        tags={"aiprime/workload": spec.name},
    )


def bring(context: Any, spec: Spec, places: Places, *stages: str) -> tuple[str, dict[str, Any]]:
    """Bring stages up to date under the workload's lease: the last one's content hash, and what a person wants to know of it."""
    started = time.perf_counter()
    ran = False
    for stage in stages:
        done = act(context, spec, places, lambda stage=stage: up_to_date(stage, spec.name, places))
        ran = ran or (done.ran and stage != "source")
    version = versions.locked(places.root, spec.name)[stages[-1]]
    return version, {"ran": ran, "seconds": round(time.perf_counter() - started, 2), "content_hash": version}


def act(context: Any, spec: Spec, places: Places, call: Callable[[], T]) -> T:
    """Call under the workload's lease; what a person must mend becomes a Dagster failure without our traceback, and is not retried."""
    first = first_try(context)
    try:
        lease.hold(places.home, spec.name, context.run.run_id)
        cost.go_on(places, spec.name, first)
        return call()
    except UserError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    finally:
        cost.count(places, spec.name, first)


def first_try(context: Any) -> str:
    """The id of the run's first try: Dagster tries a run again as another run."""
    return context.run.root_run_id or context.run.run_id


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG shown in the UI."""
    from base64 import b64encode

    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{b64encode(png).decode()})")


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """Rows as a table in the UI; every row has the same keys."""
    if not rows:
        return dg.MetadataValue.md("(none)")
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in head) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str("" if value is None else value).replace("|", "\\|").replace("\n", " ")[:80]
