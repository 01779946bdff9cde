"""What the gateway counts, for Prometheus: requests, the tries at model servers behind them, shadow copies, and the log's commits."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_COMMIT_S = (0.0001, 0.0002, 0.0005, *_BUCKETS_S[:11])
_GROUPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Telemetry:
    """Counters of one gateway process. Workloads and versions must be known ones: a client cannot make up labels."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "aiprime_gateway_requests", "Requests answered.", ["workload", "version", "status"], registry=registry
        )
        self._seconds = Histogram(
            "aiprime_gateway_seconds",
            "From the request read to its answer.",
            ["workload"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._tries = Counter(
            "aiprime_gateway_tries",
            "Requests to model servers, by the role of the version; status 0: no answer.",
            ["workload", "version", "role", "status"],
            registry=registry,
        )
        self._dropped = Counter(
            "aiprime_gateway_shadow_dropped", "Shadow copies that were not sent.", ["workload"], registry=registry
        )
        self._group = Histogram(
            "aiprime_gateway_log_group_size", "Predictions in one commit.", buckets=_GROUPS, registry=registry
        )
        self._commit = Histogram(
            "aiprime_gateway_log_commit_seconds", "A commit of the log.", buckets=_COMMIT_S, registry=registry
        )
        self._unknown = Counter(
            "aiprime_gateway_labels_of_unknown_entities",
            "Labels of entities that had no stored values when they came.",
            ["workload"],
            registry=registry,
        )
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._known_tries: dict[tuple[str, str, str, int], Counter] = {}

    def count(self, workload: str, version: str, status: int, seconds: float) -> None:
        """One answered request."""
        key = (workload, version, status)
        children = self._known.get(key)
        if children is None:
            children = self._requests.labels(workload, version, str(status)), self._seconds.labels(workload)
            self._known[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def tried(self, workload: str, version: str, role: str, status: int) -> None:
        """One request to a model server."""
        key = (workload, version, role, status)
        child = self._known_tries.get(key)
        if child is None:
            child = self._known_tries[key] = self._tries.labels(workload, version, role, str(status))
        child.inc()

    def dropped(self, workload: str) -> None:
        """One shadow copy that was not sent, or whose answer was not kept."""
        self._dropped.labels(workload).inc()

    def labelled_unknown(self, workload: str, labels: int) -> None:
        """Labels of entities that are not known."""
        self._unknown.labels(workload).inc(labels)

    def committed(self, predictions: int, seconds: float) -> None:
        """One commit of the log."""
        self._group.observe(predictions)
        self._commit.observe(seconds)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
