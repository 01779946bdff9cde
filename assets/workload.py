"""The component: one `defs.yaml` becomes one group of assets, its checks, jobs and schedule."""

import functools
from pathlib import Path
from typing import Any

import dagster as dg

from assets import dataset, deployment, evaluation, features, fitting, quality, registration, watching
from assets.spec import Spec, parse
from data.places import Places


class Workload(dg.Component):
    """A model from versioned data to a monitored endpoint. Its attributes are `assets.spec.Spec`."""

    def __init__(self, spec: Spec, places: Places) -> None:
        self.spec = spec
        self.places = places

    @classmethod
    def get_model_cls(cls) -> type[Spec]:
        """The schema of `attributes`."""
        return Spec

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "Workload":
        """Called by Dagster's loader for `type: assets.Workload`."""
        spec = attributes if isinstance(attributes, Spec) else parse(dict(attributes or {}), Path(context.path) / "defs.yaml")
        return cls(spec, Places.find(Path(context.path)))

    def build_defs(self, context: dg.ComponentLoadContext | None = None) -> dg.Definitions:
        """The lifecycle as one graph: dataset (quality) -> features -> model -> evaluation -> registered_model -> endpoint, and beside it predictions -> monitoring."""
        spec, places = self.spec, self.places
        stages = (dataset, features, fitting, evaluation, registration, deployment)
        assets = [stage.asset(spec, places) for stage in stages]
        selection = dg.AssetSelection.assets(*[asset.key for asset in assets])
        job = functools.partial(dg.define_asset_job, selection=selection, tags={"aiprime/workload": spec.name})
        lifecycle = job(f"{spec.name}_lifecycle", description="Bring everything up to date, from the source to the endpoint.")
        retrain = job(
            f"{spec.name}_retrain",
            description="The same graph, as the loop asks for it: one at a time.",
            tags={"aiprime/workload": spec.name, "aiprime/retrain": spec.name},
        )
        watched = [watching.predictions(spec, places), watching.monitoring(spec, places)]
        monitor = dg.define_asset_job(
            f"{spec.name}_monitor",
            selection=dg.AssetSelection.assets(*[asset.key for asset in watched]),
            description="One turn of the loop: judge the rollout, close the windows that are due, decide.",
            tags={"aiprime/workload": spec.name, "aiprime/monitor": spec.name},
        )
        schedule = dg.ScheduleDefinition(
            name=f"{spec.name}_schedule",
            job=lifecycle,
            cron_schedule=spec.schedule.cron,
            execution_timezone=spec.schedule.timezone,
            default_status=dg.DefaultScheduleStatus.STOPPED,
        )
        return dg.Definitions(
            assets=[*assets, *watched],
            asset_checks=[quality.check(spec, places)],
            jobs=[lifecycle, retrain, monitor],
            schedules=[schedule],
        )
