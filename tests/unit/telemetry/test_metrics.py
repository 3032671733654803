from datetime import UTC, datetime

from reconciler.telemetry.metrics import Metrics


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_two_instances_share_nothing():
    first, second = Metrics(), Metrics()
    first.request("GET", "200", 0.1)
    labels = {"method": "GET", "outcome": "200"}
    assert value(first, "reconciler_api_requests_total", **labels) == 1
    assert value(second, "reconciler_api_requests_total", **labels) is None


def test_only_a_converged_reconciliation_is_a_success():
    metrics, at = Metrics(), datetime(2026, 1, 1, tzinfo=UTC)
    metrics.reconciled("failed", 2.0, at)
    name = "reconciler_reconcile_last_success_timestamp_seconds"
    assert value(metrics, name) == 0
    metrics.reconciled("converged", 2.0, at)
    assert value(metrics, name) == at.timestamp()
    assert value(metrics, "reconciler_reconcile_duration_seconds_sum", result="failed") == 2


def test_a_state_that_nobody_is_in_any_more_disappears():
    metrics = Metrics()
    metrics.resources({"failed": 3, "held": 1}, drifted=2)
    metrics.resources({"in_sync": 4}, drifted=0)
    assert value(metrics, "reconciler_resources", state="failed") is None
    assert value(metrics, "reconciler_resources", state="in_sync") == 4
    assert value(metrics, "reconciler_drifted_resources") == 0


def test_the_agent_counts_slots_launches_and_ends():
    metrics = Metrics()
    metrics.slots(3, None)
    metrics.slots(4, 10)
    metrics.launched("process", 0.7)
    metrics.run_ended("process", "completed")
    assert value(metrics, "reconciler_agent_slots_used") == 4
    assert value(metrics, "reconciler_agent_slots_limit") == 10
    assert (
        value(metrics, "reconciler_agent_launch_latency_seconds_count", infrastructure="process")
        == 1
    )
    assert (
        value(
            metrics, "reconciler_agent_flow_runs_total", infrastructure="process", end="completed"
        )
        == 1
    )


def test_every_metric_is_explained_in_the_text_form():
    text = Metrics().render().decode()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    helped = {
        line.split()[2]
        for line in text.splitlines()
        if line.startswith("# HELP") and len(line.split()) > 3
    }
    assert names == helped
    assert all(name.startswith("reconciler_") for name in names)
