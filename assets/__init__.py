"""The lifecycle, one stage per file. `assets.Workload` is the Dagster component; it is imported only when it is asked for,
so that `python -m assets.stages` does not load Dagster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assets.workload import Workload

__all__ = ["Workload"]


def __getattr__(name: str) -> Any:
    if name == "Workload":
        from assets.workload import Workload

        return Workload
    raise AttributeError(f"module 'assets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
