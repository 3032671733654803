"""What the ECS launcher makes of AWS's words: reasons of ends, errors; and the real client's options."""

import sys

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
)

from reconciler.blocks.aws import AwsCredentialsSettings
from reconciler.errors import Overloaded, Transient, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted
from reconciler.infrastructure.ecs.client import MISSING, BotoSession
from reconciler.infrastructure.ecs.failures import Refusal, failure
from reconciler.infrastructure.ecs.reasons import exit_code, explain, late, refused
from tests.fakes.ecs_platform import error

PULL = (
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve "
    "ref docker.io/library/none:1: docker.io/library/none:1: not found"
)


def task(code=None, stop_code=None, reason="", container="", others=()):
    flow = {"name": "prefect", "reason": container}
    if code is not None:
        flow["exitCode"] = code
    return {"stopCode": stop_code, "stoppedReason": reason, "containers": [flow, *others]}


@pytest.mark.parametrize(
    ("stopped", "words"),
    [
        (task(0, "EssentialContainerExited"), "the container ended normally"),
        (task(3, "EssentialContainerExited"), "the container ended with exit code 3"),
        (task(137), "killed (exit code 137): out of memory, or stopped"),
        (task(143), "asked to stop (exit code 143)"),
        (
            task(
                137,
                "EssentialContainerExited",
                "Essential container in task exited",
                "OutOfMemoryError: Container killed due to memory usage",
            ),
            "the flow ran out of memory: raise memory: Container killed due to memory usage",
        ),
        (task(None, "TaskFailedToStart", PULL), "the image can't be pulled: pull image manifest"),
        (task(None, None, PULL), "docker.io/library/none:1: not found"),
        (
            task(None, "TaskFailedToStart", "Task failed to start", PULL),
            "the image can't be pulled: pull image manifest",
        ),
        (
            task(None, "TaskFailedToStart", "ResourceInitializationError: unable to pull secrets"),
            "the task's network, secrets or logs can't be set up: unable to pull secrets",
        ),
        (
            task(143, "SpotInterruption", "Your Spot Task was interrupted."),
            "AWS took the Spot capacity back (Your Spot Task was interrupted.)",
        ),
        (
            task(137, "UserInitiated", "Task stopped by user"),
            "somebody stopped the task (Task stopped by user)",
        ),
        (task(None, "InfrastructureHealth"), "the machine that the task ran on failed"),
        (
            task(143, "EssentialContainerExited", others=[{"name": "proxy", "exitCode": 1}]),
            "the container proxy ended with exit code 1, and the task with it",
        ),
        (
            task(3, "EssentialContainerExited", others=[{"name": "proxy", "exitCode": 1}]),
            "the container ended with exit code 3",
        ),
        (
            task(143, others=[{"name": "proxy", "exitCode": 0}, {"name": "b", "exitCode": 137}]),
            "asked to stop (exit code 143)",
        ),
        (
            task(None, "TaskFailedToStart", others=[{"name": "proxy", "reason": PULL}]),
            "the image can't be pulled",
        ),
        (task(None, None, "Something new."), "Something new"),
        (task(None, "TaskFailedToStart"), "the task failed to start"),
        (task(), "ECS does not say why"),
        ({}, "ECS does not say why"),
    ],
)
def test_the_reason_of_an_end(stopped, words):
    assert words in explain(stopped)


def test_the_exit_code_is_that_of_the_flows_container():
    assert exit_code(task(4, others=[{"name": "proxy", "exitCode": 1}])) == 4
    assert exit_code(task(others=[{"name": "proxy", "exitCode": 1}])) is None


def test_a_late_start_says_what_held_it_up():
    assert late({"lastStatus": "PENDING", "stoppedReason": PULL}, 120).endswith("not found")
    assert "within 120 s" in late({"lastStatus": "PROVISIONING"}, 120)


def test_why_there_was_no_room():
    failures = [
        {"reason": "RESOURCE:CPU"},
        {"reason": "RESOURCE:CPU"},
        {"reason": "Capacity is unavailable at this time.", "detail": "zone a"},
    ]
    assert refused(failures).endswith(
        "no container instance has enough CPU left; Capacity is unavailable at this time (zone a)"
    )


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (error("InvalidParameterException", "no such size"), Refusal, "no such size"),
        (error("AccessDeniedException", "User x"), NotStarted, "check aws_credentials"),
        (error("ExpiredTokenException", "expired"), NotStarted, "check aws_credentials"),
        (error("LimitExceededException", "too many"), NotStarted, "too many"),
        (
            error(
                "InvalidParameterException", "No Container Instances were found in your cluster."
            ),
            NotStarted,
            "No Container Instances",
        ),
        (
            error("ClientException", "You've reached the limit on the number of vCPUs"),
            NotStarted,
            "reached the limit",
        ),
        (error("ThrottlingException", "Rate exceeded"), Overloaded, "Rate exceeded"),
        (error("Unheard", "oh", 503), Overloaded, "oh"),
        (EndpointConnectionError(endpoint_url="https://x"), Unreachable, "can't be reached"),
        (ReadTimeoutError(endpoint_url="https://x"), Transient, "no answer"),
        (NoCredentialsError(), NotLaunchable, "aws_credentials"),
        (NoRegionError(), NotLaunchable, "region_name"),
        (ProfileNotFound(profile="p"), NotLaunchable, "profile_name"),
        (SSLError(endpoint_url="https://x", error="e"), NotStarted, "verify_cert_path"),
        (RuntimeError("secret"), Transient, "unexpected RuntimeError"),
    ],
)
def test_what_an_error_means(raised, kind, words):
    made = failure(raised, "ecs:RunTask")
    assert isinstance(made, kind)
    assert words in made.message
    assert kind is not Refusal or not isinstance(made, NotStarted)


def test_values_that_botocore_quotes_are_dropped():
    report = (
        "Invalid type for parameter overrides.cpu, value: pnu_1, type: <class 'int'>, valid types: x\n"
        'Unknown parameter in input: "cups", must be one of: cluster, count'
    )
    made = failure(ParamValidationError(report=report), "ecs:RunTask")
    assert "pnu_1" not in made.message
    assert "overrides.cpu" in made.message
    assert "cups" in made.message


def credentials(**parameters):
    return AwsCredentialsSettings(
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        region_name="eu-west-1",
        aws_client_parameters=parameters,
    )


def test_the_attempts_and_retry_mode_of_the_environment_are_kept(monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    client = BotoSession(credentials(), None).client("ecs", "eu-west-1")
    assert client.meta.config.retries == {"total_max_attempts": 7, "mode": "adaptive"}


def test_the_client_has_what_the_block_says(tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    given = {"endpoint_url": "http://127.0.0.1:1", "config": {"read_timeout": 9}}
    session = BotoSession(credentials(**given), ca)
    client = session.client("ecs", "eu-central-1")
    assert session.region == "eu-west-1"
    assert client.meta.endpoint_url == "http://127.0.0.1:1"
    assert client.meta.region_name == "eu-central-1"
    assert client.meta.config.read_timeout == 9
    assert client._endpoint.http_session._verify == str(ca)


def test_the_version_of_the_ecs_api_is_not_asked_of_other_services():
    session = BotoSession(credentials(api_version="2014-11-13"), None)
    assert session.client("ecs", None).meta.service_model.api_version == "2014-11-13"
    assert session.client("logs", None).meta.service_model.api_version != "2014-11-13"


@pytest.mark.parametrize("parameters", [{"config": {"none": 1}}, {"endpoint_url": "nowhere"}])
def test_options_that_botocore_lacks_are_said(parameters):
    with pytest.raises(NotLaunchable, match="aws_client_parameters can't be used"):
        BotoSession(credentials(**parameters), None).client("ecs", None)


def test_a_missing_extra_is_said_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(NotLaunchable) as told:
        BotoSession(credentials(), None)
    assert told.value.message == MISSING


class Body:
    """The body of an HTTP answer, as botocore reads it."""

    def __init__(self, content):
        self._content = content

    def stream(self, **how):
        yield self._content


def test_the_real_client_tells_the_tasks_that_a_client_token_has():
    client = BotoSession(credentials(), None).client("ecs", "eu-west-1")
    body = b'{"__type": "ConflictException", "message": "in use", "resourceIds": ["arn:task"]}'
    sent = []

    def answer(request, **how):
        sent.append(request.url)
        return AWSResponse(request.url, 400, {}, Body(body))

    client.meta.events.register("before-send.ecs", answer)
    with pytest.raises(ClientError) as told:
        client.run_task(taskDefinition="d", clientToken="t")
    made = failure(told.value, "ecs:RunTask")
    assert (made.code, made.tasks) == ("ConflictException", ("arn:task",))
    assert sent == ["https://ecs.eu-west-1.amazonaws.com/"]
