"""The endpoint: the version that passed the gate, on its way to serve; a refused one leaves the champion serving."""

import logging
from typing import Any

import dagster as dg

from assets import gate, present, rollout, stage_asset
from assets.platform import Platform
from assets.registration import register
from assets.spec import Spec
from data.errors import UserError
from data.places import Places
from training.signature import Signature

log = logging.getLogger("aiprime.deployment")


def asset(spec: Spec, places: Places) -> dg.AssetsDefinition:
    """`WORKLOAD/endpoint`."""

    @stage_asset.asset(
        spec,
        places,
        "endpoint",
        "deployment.py",
        after=["registered_model"],
        kinds={"kserve"},
        description="The champion behind one stable URL.",
    )
    def endpoint(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        shown = stage_asset.act(context, spec, places, lambda: release(spec, platform))
        return dg.MaterializeResult(data_version=dg.DataVersion(str(shown["version"])), metadata=shown)

    return endpoint


def release(spec: Spec, platform: Platform) -> dict[str, Any]:
    """Let the registered version on its way where the gate passed it, and make serving equal to the ledger.

    It is the champion at once where there is none, or nothing to try it on; else the champion serves on and the version is exposed at
    the first step of its rollout. UserError where the first version was refused and there is nothing to serve.
    """
    ledger = platform.ledger
    champion = ledger.champion(spec.name)
    judged = gate.judge(spec, platform)
    registered = register(spec, platform, judged)
    publish(spec, platform, judged, champion.version if champion else None)
    became = "refused by the gate"
    if judged.passed:
        became = rollout.offer(spec, platform, registered, judged.sentence)
    elif champion is None:
        raise UserError(
            f"{spec.name}: version {registered.version} was {judged.sentence}",
            next_step="there is no champion to serve: improve the data or the model, or the rules under `promote:`, and run again",
        )
    else:
        platform.deployment().serve(spec.name)
    now = ledger.champion(spec.name)
    url = f"{platform.places.service('gateway') or '(aiprime up starts the gateway)'}/v1/models/{spec.name}:predict"
    return {
        "version": now.version if now else "",
        "champion since": now.at if now else "",
        "newest version": registered.version,
        "verdict of the newest": judged.sentence,
        "rollout of the newest": became,
        "endpoint": dg.MetadataValue.url(url),
    }


def publish(spec: Spec, platform: Platform, judged: gate.Judged, champion: str | None) -> None:
    """Bring the online store to the newest feature rows; not where a refused candidate's rows lack what the champion reads."""
    from data import features, versions

    places = platform.places
    if not judged.passed and champion is not None:
        offered = Signature.read(places.store(spec.name) / "model").stored
        if lacking := set(Signature.read(places.models(spec.name, champion)).stored) - set(offered):
            log.warning("%s: the online store stays as it is: the champion reads %s", spec.name, ", ".join(sorted(lacking)))
            return
    versions.verify(places.root, spec.name, "features")
    features.publish(spec.name, present.folder(spec, places), places.home)
