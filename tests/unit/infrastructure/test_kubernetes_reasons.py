"""What people are told of a job's end, and of what keeps it from starting."""

import pytest

from reconciler.infrastructure.kubernetes.reasons import (
    Verdict,
    hindrance,
    is_hopeless,
    is_running,
    newest,
    verdict,
)

BACKOFF = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
DEADLINE = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}


def job(*conditions):
    return {"status": {"conditions": list(conditions)}}


def pod(*, made="2026-01-01T00:00:00Z", phase="Failed", conditions=(), state=None, **status):
    statuses = [] if state is None else [{"name": "prefect-job", "image": "etl:1", "state": state}]
    return {
        "metadata": {"creationTimestamp": made},
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": statuses,
            **status,
        },
    }


def ended(code, reason="Error", message=None):
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def waiting(reason, message=""):
    return {"waiting": {"reason": reason, "message": message}}


def test_a_job_without_a_verdict_goes_on():
    assert verdict({}, []) is None
    assert verdict(job({"type": "Complete", "status": "False"}), []) is None
    assert verdict(job({"type": "Suspended", "status": "True"}), [pod(state=ended(1))]) is None


def test_a_job_that_completed():
    complete = {"type": "Complete", "status": "True"}
    assert verdict(job(complete), []) == Verdict(0, "the job completed")


@pytest.mark.parametrize(
    ("outcome", "made", "code", "words"),
    [
        (BACKOFF, pod(state=ended(3)), 3, "exit code 3"),
        (BACKOFF, pod(state=ended(137, "OOMKilled")), 137, "memory was used up"),
        (BACKOFF, pod(state=ended(128, "ContainerCannotRun", "no such file")), 128, "no such file"),
        (DEADLINE, pod(state=ended(143)), 143, "activeDeadlineSeconds"),
        (DEADLINE, None, None, "activeDeadlineSeconds"),
        (BACKOFF, None, None, "the pod failed"),
        (BACKOFF, pod(reason="Evicted", message="low on\n memory"), None, "evicted: low on memory"),
        (BACKOFF, pod(reason="NodeShutdown"), None, "ended by its node"),
        (
            BACKOFF,
            pod(
                state=ended(143),
                conditions=[
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "PreemptionByScheduler",
                        "message": "default-scheduler: preempting",
                    }
                ],
            ),
            143,
            "preempted by one of higher priority: default-scheduler",
        ),
        ({"type": "Failed", "status": "True", "reason": "Odd", "message": "m"}, None, None, "m"),
    ],
    ids=str,
)
def test_a_job_that_failed_says_why(outcome, made, code, words):
    told = verdict(job(outcome), [] if made is None else [made])
    assert told.exit_code == code
    assert words in told.reason


def test_the_newest_pod_tells():
    old, new = pod(state=ended(1)), pod(made="2026-01-02T00:00:00Z", state=ended(2))
    assert newest([new, old]) is new
    assert newest([]) is None
    assert verdict(job(BACKOFF), [new, old]).exit_code == 2


def test_another_container_does_not_speak_for_the_flow():
    made = pod(state=ended(5))
    made["status"]["containerStatuses"].insert(0, {"name": "sidecar", "state": ended(9)})
    assert verdict(job(BACKOFF), [made]).exit_code == 5


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (None, "no pod"),
        (pod(phase="Pending"), "still pending"),
        (
            pod(phase="Pending", state=waiting("ImagePullBackOff", "manifest unknown")),
            "image etl:1 can't be pulled: manifest unknown",
        ),
        (
            pod(
                phase="Pending", state=waiting("CreateContainerConfigError", 'secret "x" not found')
            ),
            'container can\'t be made: secret "x" not found',
        ),
        (
            pod(
                phase="Pending",
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes: Insufficient cpu",
                    }
                ],
            ),
            "no node takes its pod: 0/1 nodes: Insufficient cpu",
        ),
        (pod(phase="Pending", state=waiting("ContainerCreating")), "still pending"),
    ],
    ids=str,
)
def test_what_keeps_a_pod_from_starting_is_told_in_kubernetes_words(made, words):
    assert words in hindrance(made)


def test_an_image_of_an_init_container_counts_too():
    made = pod(phase="Pending")
    made["status"]["initContainerStatuses"] = [
        {"name": "init", "image": "tool:1", "state": waiting("ErrImagePull", "denied")}
    ]
    assert "tool:1 can't be pulled: denied" in hindrance(made)


def test_only_a_name_that_is_none_is_hopeless():
    assert is_hopeless(pod(phase="Pending", state=waiting("InvalidImageName")))
    assert not is_hopeless(pod(phase="Pending", state=waiting("ImagePullBackOff")))


@pytest.mark.parametrize(
    ("phase", "running"), [("Pending", False), ("Running", True), ("Failed", True)]
)
def test_a_pod_runs_once_it_is_pending_no_more(phase, running):
    assert is_running(pod(phase=phase)) == running
    assert not is_running({"metadata": {}})
