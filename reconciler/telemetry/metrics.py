"""Every metric of the program, in one place, on a registry of its own."""

from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from reconciler import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Of `Metrics.render`."""

_RECONCILE_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_LAUNCH_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """What is counted. Made once by the wiring and handed down.

    Attributes:
        registry: holds the metrics of this instance only.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        Info("reconciler_build", "Version of this program.", registry=registry).info(
            {"version": __version__}
        )
        self._reconcile_seconds = Histogram(
            "reconciler_reconcile_duration_seconds",
            "Duration of a reconciliation by result: converged, partial, failed.",
            ["result"],
            buckets=_RECONCILE_BUCKETS,
            registry=registry,
        )
        self._last_success = Gauge(
            "reconciler_reconcile_last_success_timestamp_seconds",
            "When a reconciliation converged last, in Unix time.",
            registry=registry,
        )
        self._resources = Gauge(
            "reconciler_resources",
            "Declared and owned resources by state: in_sync, drifted, out_of_sync, failed, held.",
            ["state"],
            registry=registry,
        )
        self._drift = Gauge(
            "reconciler_drifted_resources",
            "Resources that were changed behind git's back, as of the last look.",
            registry=registry,
        )
        self._requests = Counter(
            "reconciler_api_requests_total",
            "Requests to the Prefect API, repeats included, by method and outcome"
            " (the HTTP status, `lost` or `no connection`).",
            ["method", "outcome"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "reconciler_api_request_duration_seconds",
            "Duration of one attempt of a request to the Prefect API.",
            ["method"],
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._slots_used = Gauge(
            "reconciler_agent_slots_used", "Flow runs that hold a slot now.", registry=registry
        )
        self._slots_limit = Gauge(
            "reconciler_agent_slots_limit",
            "Most flow runs at a time; 0: no limit.",
            registry=registry,
        )
        self._launch_seconds = Histogram(
            "reconciler_agent_launch_latency_seconds",
            "Time from when a flow run was due to the start of its infrastructure.",
            ["infrastructure"],
            buckets=_LAUNCH_BUCKETS,
            registry=registry,
        )
        self._runs = Counter(
            "reconciler_agent_flow_runs_total",
            "Flow runs that ended under this agent, by infrastructure and end.",
            ["infrastructure", "end"],
            registry=registry,
        )

    def reconciled(self, result: str, seconds: float, at: datetime) -> None:
        """Count a reconciliation: `converged`, `partial` or `failed`."""
        self._reconcile_seconds.labels(result).observe(seconds)
        if result == "converged":
            self._last_success.set(at.timestamp())

    def resources(self, by_state: Mapping[str, int], drifted: int) -> None:
        """Show how many resources are in which state; states not named count as 0."""
        self._resources.clear()
        for state, count in by_state.items():
            self._resources.labels(state).set(count)
        self._drift.set(drifted)

    def request(self, method: str, outcome: str, seconds: float) -> None:
        """Count one attempt of a request; the observer that `api.connect` takes."""
        self._requests.labels(method, outcome).inc()
        self._request_seconds.labels(method).observe(seconds)

    def slots(self, used: int, limit: int | None) -> None:
        """Show the agent's slots."""
        self._slots_used.set(used)
        self._slots_limit.set(limit or 0)

    def launched(self, infrastructure: str, latency: float) -> None:
        """Count a launch, `latency` seconds after the run was due."""
        self._launch_seconds.labels(infrastructure).observe(latency)

    def run_ended(self, infrastructure: str, end: str) -> None:
        """Count the end of a flow run: `completed`, `failed`, `crashed`, `cancelled`, ...."""
        self._runs.labels(infrastructure, end).inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text form."""
        return generate_latest(self.registry)
