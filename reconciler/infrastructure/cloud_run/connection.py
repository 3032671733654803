"""Google's clients and credentials, made from a block and the settings of the platform."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reconciler.blocks.gcp import GcpCredentialsSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.settings import PlatformSettings

MISSING = "Cloud Run jobs need the extra: pip install 'prefect-reconciler[gcp]'"

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_RUN = "https://run.googleapis.com"


@dataclass(slots=True)
class Clients:
    """What is made once for a set of credentials."""

    session: Any
    jobs: Any
    executions: Any
    tasks: Any
    project: str | None


def connect(credentials: GcpCredentialsSettings, platforms: PlatformSettings) -> Clients:
    """Make the clients.

    Raises:
        NotLaunchable: the extra is missing, or the credentials can't be used.
    """
    try:
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415 - an extra
        from google.cloud import run_v2  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotLaunchable(MISSING) from None
    known, project = _credentials(credentials)
    address = urlsplit(platforms.cloud_run_endpoint or _RUN)

    def trusting(session: Any) -> Any:
        if platforms.ca_file is not None:
            # Also the inner session that asks for tokens; Google gives no other way in.
            inner = session._auth_request.session  # noqa: SLF001
            session.verify = inner.verify = str(platforms.ca_file)
        return session

    def client(service: Any) -> Any:
        kind: Any = service.get_transport_class("rest")
        made = kind(host=address.netloc, url_scheme=address.scheme, credentials=known)
        trusting(made._session)  # noqa: SLF001 - the same
        return service(transport=made)

    return Clients(
        session=trusting(AuthorizedSession(known)),  # type: ignore[no-untyped-call]
        jobs=client(run_v2.JobsClient),
        executions=client(run_v2.ExecutionsClient),
        tasks=client(run_v2.TasksClient),
        project=project,
    )


def _credentials(block: GcpCredentialsSettings) -> tuple[Any, str | None]:
    """Return the credentials and the project that they are of.

    Raises:
        NotLaunchable: they can't be read, or there are none.
    """
    import google.auth  # noqa: PLC0415 - an extra
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - an extra
    from google.oauth2.service_account import Credentials  # noqa: PLC0415 - an extra

    where = "credentials"
    try:
        if block.service_account_info is not None:
            where = "credentials.service_account_info"
            info = dict(block.service_account_info.get_secret_value())
            made: Any = Credentials.from_service_account_info(info, scopes=_SCOPES)  # type: ignore[no-untyped-call]
            return made, made.project_id
        if block.service_account_file is not None:
            where = "credentials.service_account_file"
            path = Path(block.service_account_file).expanduser()
            made = Credentials.from_service_account_file(str(path), scopes=_SCOPES)  # type: ignore[no-untyped-call]
            return made, made.project_id
        return google.auth.default(scopes=_SCOPES)
    except OSError as error:
        raise NotLaunchable(f"{where} can't be read: {error.strerror}") from None
    except (GoogleAuthError, ValueError, KeyError, TypeError) as error:
        # What it stumbles over may be the key: its kind is told, its text is not.
        raise NotLaunchable(f"{where} can't be used: {type(error).__name__}") from None
