"""What the gateway counts, for Prometheus: requests by workload and status, and how long they took."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Telemetry:
    """Counters of one gateway process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "aiprime_gateway_requests", "Requests answered.", ["workload", "version", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "aiprime_gateway_seconds",
            "From the request read to its answer.",
            ["workload"],
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, workload: str, version: str, status: int, seconds: float) -> None:
        """One answered request. `workload` must be a known one: a client cannot make up labels."""
        key = (workload, version, status)
        children = self._known.get(key)
        if children is None:
            children = self._requests.labels(workload, version, str(status)), self._seconds.labels(workload)
            self._known[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
