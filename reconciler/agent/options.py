"""How an agent is to work."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.settings import ConnectionSettings

DEFAULT_POOL = "default-agent-pool"


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """How an agent is to work.

    Attributes:
        name: of the agent, for people; a boot id is added to it.
        host_dir: folder that all agents of this host and user share.
        pool: the work pool to serve, of the type `prefect-agent`.
        queues: names of the queues to serve; missing ones are created.
        match: prefixes of names of queues to serve.
        declared: gives the queues that the repository declares, at each look; asked where neither
            `queues` nor `match` are given. None means all queues of the pool.
        only: gives the ids of the runs to look after, at each look; all others are left alone. None
            means every run of the queues.
        limit: most runs at a time; None means without limit.
        poll_seconds: longest pause between two looks for due runs; shorter while there is work.
        prefetch_seconds: how far ahead scheduled runs are known, so that they start on time.
        heartbeat_seconds: between two heartbeats.
        grace_seconds: how long a run may take to stop.
        lost_after_seconds: after which a running process of a lost host counts as crashed.
        run_once: take the due runs of one look, wait for their end, and return.
        environment: what tells a flow run where its API is (`connection_environment`).
    """

    name: str
    host_dir: Path
    pool: str = DEFAULT_POOL
    queues: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    declared: Callable[[], tuple[str, ...]] | None = None
    only: Callable[[], Collection[str]] | None = None
    limit: int | None = None
    poll_seconds: float = 2.0
    prefetch_seconds: float = 15.0
    heartbeat_seconds: float = 10.0
    grace_seconds: float = 30.0
    lost_after_seconds: float = 3600.0
    run_once: bool = False
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def looks_after(self, run_id: str) -> bool:
        """Tell whether a flow run is one of those to look after."""
        return self.only is None or run_id in self.only()


def connection_environment(connection: ConnectionSettings) -> dict[str, str]:
    """Return the Prefect settings by which a flow run reaches the API that we use (DESIGN 7.9).

    It holds credentials. `PREFECT_HOME` and the like are not in it.
    """
    found: dict[str, str] = {}
    if connection.api_url:
        found["PREFECT_API_URL"] = connection.api_url
    if connection.api_key:
        found["PREFECT_API_KEY"] = connection.api_key.get_secret_value()
    if connection.auth_string:
        found["PREFECT_API_AUTH_STRING"] = connection.auth_string.get_secret_value()
    if connection.custom_headers:
        headers = {k: v.get_secret_value() for k, v in connection.custom_headers.items()}
        found["PREFECT_CLIENT_CUSTOM_HEADERS"] = json.dumps(headers)
    if connection.tls_insecure:
        found["PREFECT_API_TLS_INSECURE_SKIP_VERIFY"] = "true"
    if connection.ca_file:
        found["PREFECT_API_SSL_CERT_FILE"] = str(connection.ca_file)
    return found
