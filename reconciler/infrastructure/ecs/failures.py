"""What AWS's errors mean for a launch. Pure: errors are read by their form, boto3 isn't needed."""

import re
from collections.abc import Mapping
from typing import Any

from reconciler.errors import Overloaded, ReconcilerError, Transient, Unreachable
from reconciler.infrastructure.base import NotLaunchable, NotStarted

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "BlockedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
_BUSY = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "UpdateInProgressException",
    }
)
# Client errors in form, but nothing that a declaration could mend: several agents at one family.
_BUSY_WORDS = re.compile("too many concurrent attempts|rate exceeded", re.IGNORECASE)
_NO_ROOM = re.compile("reached the limit|no container instances were found|capacity", re.IGNORECASE)
_SERVER_ERRORS = 500

_DECLARED = {
    "NoRegionError": "no AWS region is known: set region_name in aws_credentials",
    "ProfileNotFound": "profile_name in aws_credentials names a profile that this machine lacks",
    "NoCredentialsError": "no AWS credentials are found: set aws_credentials, or give the agent a role",
    "PartialCredentialsError": "the AWS credentials are incomplete: check aws_credentials",
    "InvalidEndpointURLError": "endpoint_url in aws_client_parameters is no address",
    "InvalidConfigError": "the AWS configuration of this machine can't be used",
    "InvalidRetryModeError": "AWS_RETRY_MODE is none of legacy, standard and adaptive",
    "InvalidMaxRetryAttemptsError": "AWS_MAX_ATTEMPTS is no number of attempts",
    "UnauthorizedSSOTokenError": "the AWS single sign-on of this machine has expired",
    "SSOTokenLoadError": "the AWS single sign-on of this machine has expired",
    "TokenRetrievalError": "the AWS single sign-on of this machine has expired",
}
_UNREACHABLE = frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"})
_LOST = frozenset(
    {
        "ReadTimeoutError",
        "ConnectionClosedError",
        "HTTPClientError",
        "ResponseStreamingError",
        "IncompleteReadError",
        "ConnectionError",
        "CredentialRetrievalError",
        "MetadataRetrievalError",
        "ResponseParserError",
    }
)


class Refusal(NotLaunchable):
    """AWS refused a request.

    Attributes:
        code: AWS's name of the error.
        tasks: ARNs of the tasks that exist under the client token (ConflictException).
    """

    def __init__(self, message: str, code: str, tasks: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.tasks = tasks


class Withheld(Refusal, NotStarted):
    """AWS does not give what was asked for, whatever is declared: no permission, no quota."""


def failure(error: Exception, doing: str) -> ReconcilerError:
    """Return the error of ours that an error of the AWS client means.

    Args:
        error: as boto3 raised it.
        doing: what was called, `ecs:RunTask`, as permissions are named too.
    """
    answer = getattr(error, "response", None)
    if isinstance(answer, Mapping):
        return _answered(answer, doing)
    return _of_client(error, type(error).__name__, doing)


def _of_client(error: Exception, kind: str, doing: str) -> ReconcilerError:
    """Return what an error means that the client itself found, before or without an answer."""
    if kind == "SSLError":
        text = f"{doing}: the certificate of AWS's endpoint is not trusted; set verify_cert_path"
        return Withheld(f"{text} in aws_client_parameters", kind)
    if kind == "ParamValidationError":
        return Refusal(f"{doing}: {_without_values(str(error))}", kind)
    if kind in _DECLARED:
        return Refusal(_DECLARED[kind], kind)
    if kind in _UNREACHABLE:
        return Unreachable(f"{doing}: AWS can't be reached ({kind})")
    if kind in _LOST:
        return Transient(f"{doing}: no answer from AWS ({kind})")
    return Transient(f"{doing}: unexpected {kind}")


def _answered(answer: Mapping[str, Any], doing: str) -> ReconcilerError:
    told = answer.get("Error", {})
    code, words = str(told.get("Code", "")), str(told.get("Message", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{doing}: {words or 'refused'} ({code})"
    if code in _BUSY or status >= _SERVER_ERRORS or _BUSY_WORDS.search(words):
        return Overloaded(text)
    if code in _DENIED:
        return Withheld(f"{text}; check aws_credentials and their permissions", code)
    if code == "LimitExceededException" or _NO_ROOM.search(words):
        return Withheld(text, code)
    ids = answer.get("resourceIds") or told.get("resourceIds") or ()
    return Refusal(text, code, tuple(ids))


def _without_values(text: str) -> str:
    """Drop the values that botocore quotes: they may be environment variables."""
    lines = (re.sub(r", value: .*?(, type: |$)", r"\1", line) for line in text.splitlines())
    return " ".join(line.strip() for line in lines if "type: " in line or "arameter" in line)
