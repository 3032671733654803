"""The AWS client: made from a credentials block, called in threads, its errors translated."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio import to_thread

from reconciler.blocks.aws import AwsClientParameters, AwsCredentialsSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.ecs.failures import failure

MISSING = "ecs-task needs the extra: pip install 'prefect-reconciler[aws]'"
_THREADS = 10
"""Calls at one time; botocore keeps that many connections open."""
_CONNECT_SECONDS = 10
_ACCOUNTS = 32
"""Credentials whose clients are kept; tokens that are renewed each hour would pile up."""


class Session(Protocol):
    """One set of credentials.

    Attributes:
        region: where it works by default; None if nothing says so.
    """

    region: str | None

    def client(self, service: str, region: str | None) -> Any:
        """Make the client of a service; its methods are the service's operations."""
        ...


Connect = Callable[[AwsCredentialsSettings], Session]


class Account:
    """Calls under one set of credentials in one region.

    Attributes:
        key: tells it from others; a digest, so that it shows no secret.
        region: the region, None if nothing names it.
    """

    def __init__(self, key: str, session: Session, limiter: anyio.CapacityLimiter) -> None:
        self.key = key
        self.region = session.region
        self._session = session
        self._limiter = limiter
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._making = anyio.Lock()

    async def read(self, operation: str, *, region: str | None = None, **values: Any) -> Any:
        """Call an operation that changes nothing; the wait for it may be cancelled."""
        return await self._call(operation, region, values, abandon=True)

    async def write(self, operation: str, **values: Any) -> Any:
        """Call an operation; once begun, it is waited for even if we are cancelled."""
        return await self._call(operation, None, values, abandon=False)

    async def _call(
        self, operation: str, region: str | None, values: dict[str, Any], *, abandon: bool
    ) -> Any:
        """Call `service:operation` and return AWS's answer.

        Raises:
            NotLaunchable: `failures.failure` says which kind.
            Transient: no answer, or none that counts.
        """
        service, _, method = operation.partition(":")
        try:
            client = await self._client(service, region or self.region)
            return await to_thread.run_sync(
                lambda: getattr(client, method)(**values),
                abandon_on_cancel=abandon,
                limiter=self._limiter,
            )
        except NotLaunchable:
            raise
        except Exception as error:  # noqa: BLE001 - botocore's tree isn't imported
            raise failure(error, f"{service}:{_pascal(method)}") from None

    async def _client(self, service: str, region: str | None) -> Any:
        async with self._making:  # making clients is not safe in several threads (boto3)
            if (service, region) not in self._clients:
                self._clients[service, region] = await to_thread.run_sync(
                    self._session.client, service, region, limiter=self._limiter
                )
            return self._clients[service, region]


class Accounts:
    """One `Account` for each set of credentials in use."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._accounts: dict[str, Account] = {}
        self._limiter: anyio.CapacityLimiter | None = None

    async def of(self, credentials: AwsCredentialsSettings, region: str | None = None) -> Account:
        """Return the account of a credentials block.

        Args:
            credentials: the block.
            region: where the task is known to be; wins over the block's.

        Raises:
            NotLaunchable: the credentials can't be used, or boto3 is missing.
        """
        account = await self._of(credentials)
        if region is None or account.region == region:
            return account
        return await self._of(credentials.model_copy(update={"region_name": region}))

    async def _of(self, credentials: AwsCredentialsSettings) -> Account:
        key = _digest(credentials)
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_THREADS)
        if key not in self._accounts:
            try:
                session = await to_thread.run_sync(self._connect, credentials)
            except NotLaunchable:
                raise
            except Exception as error:  # noqa: BLE001 - botocore's tree isn't imported
                raise failure(error, "the AWS client") from None
            self._accounts.setdefault(key, Account(key, session, self._limiter))
        account = self._accounts[key] = self._accounts.pop(key)  # the last used is the last
        while len(self._accounts) > _ACCOUNTS:
            del self._accounts[next(iter(self._accounts))]
        return account


class BotoSession:
    """boto3's session for a credentials block.

    What the block leaves out, boto3 looks up itself: variables, profiles, roles, and
    `AWS_MAX_ATTEMPTS` and `AWS_RETRY_MODE`, which therefore must not be set here.
    """

    def __init__(self, credentials: AwsCredentialsSettings, ca_file: Path | None) -> None:
        """Make the session.

        Raises:
            NotLaunchable: boto3 isn't installed.
        """
        try:
            import boto3  # noqa: PLC0415 - an extra
        except ImportError:
            raise NotLaunchable(MISSING) from None
        secret = credentials.aws_secret_access_key
        self._session = boto3.Session(
            aws_access_key_id=credentials.aws_access_key_id,
            aws_secret_access_key=None if secret is None else secret.get_secret_value(),
            aws_session_token=credentials.aws_session_token,
            profile_name=credentials.profile_name,
            region_name=credentials.region_name,
        )
        self._options = client_options(credentials.aws_client_parameters, ca_file)
        self.region: str | None = self._session.region_name

    def client(self, service: str, region: str | None) -> Any:
        """Make the client of a service.

        Raises:
            NotLaunchable: `aws_client_parameters` has what botocore does not take.
        """
        from botocore.config import Config  # noqa: PLC0415 - an extra

        options = dict(self._options)
        config = {"connect_timeout": _CONNECT_SECONDS, **(options.pop("config", None) or {})}
        if service != "ecs":
            options.pop("api_version", None)  # a date of the ECS API, not of others
        try:
            made = Config(**config)
            return self._session.client(service, region_name=region, config=made, **options)
        except (TypeError, ValueError) as error:  # an option that botocore lacks, an odd address
            raise NotLaunchable(f"aws_client_parameters can't be used: {error}") from None


def client_options(parameters: AwsClientParameters, ca_file: Path | None) -> dict[str, Any]:
    """Return the arguments of boto3's `client` that a credentials block asks for. Pure.

    Args:
        parameters: of the block.
        ca_file: authorities to trust where the block names none.
    """
    verify = parameters.verify
    if verify is None or verify is True:
        verify = (
            parameters.verify_cert_path or (None if ca_file is None else str(ca_file)) or verify
        )
    options = {
        "api_version": parameters.api_version,
        "endpoint_url": parameters.endpoint_url,
        "verify": verify,
        "config": parameters.config,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {**given, "use_ssl": parameters.use_ssl}


def _digest(credentials: AwsCredentialsSettings) -> str:
    secret = credentials.aws_secret_access_key
    shown = credentials.model_dump(mode="json")
    hidden = None if secret is None else secret.get_secret_value()
    return hashlib.sha256(json.dumps([shown, hidden], sort_keys=True).encode()).hexdigest()


def _pascal(method: str) -> str:
    return "".join(part.capitalize() for part in method.split("_"))
