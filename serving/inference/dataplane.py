"""KServe's DataPlane, whose readiness tells the truth."""

from __future__ import annotations

from typing import Any

from kserve.errors import ModelNotReady  # noqa: TID253  (this module exists only in the server's process)
from kserve.protocol.dataplane import DataPlane  # noqa: TID253

from serving.inference.drain import Drain


class ReadyDataPlane(DataPlane):
    """Ready means: every model answers, and the server is not leaving. A model that is not ready is never loaded by a request."""

    def __init__(self, model_registry: Any, drain: Drain) -> None:
        super().__init__(model_registry)
        self._drain = drain

    def metadata(self) -> dict[str, Any]:
        """KServe's, with the extensions that are really offered."""
        return super().metadata() | {"extensions": ["binary_tensor_data"]}

    async def ready(self) -> bool:
        """For probes and for whoever sends traffic."""
        return not self._drain.leaving and all(model.ready for model in self._model_registry.get_models().values())

    async def model_ready(self, model_name: str, disable_predictor_health_check: bool = False) -> bool:
        """The same for one model; an inference request (which disables the check) is answered while the server is leaving."""
        known = await super().model_ready(model_name, True)
        return known and (disable_predictor_health_check or not self._drain.leaving)

    async def get_model(self, name: str) -> Any:
        """The model; ModelNotReady where it is not."""
        model = self.get_model_from_registry(name)
        if not model.ready:
            raise ModelNotReady(name)
        return model
