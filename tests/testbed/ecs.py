"""Amazon ECS on this machine: moto, with each task a container of a Docker engine.

with EcsServer(engine) as aws:
    ... aws.url, aws.environment() ...
"""

import subprocess
from pathlib import Path
from typing import Any, Self

import boto3

from tests.testbed.dockerd import Dockerd
from tests.testbed.environments import environment
from tests.testbed.ports import free_port

REGION = "us-east-1"
LABEL = "reconciler.test-task"
"""Label of the tasks' containers; its value is the flow run's id."""
NEVER = "never:1"
"""An image that takes for ever to pull."""


class EcsServer:
    """See the module's text.

    Attributes:
        url: of all of Amazon's APIs.
    """

    def __init__(self, engine: Dockerd) -> None:
        self._engine = engine
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        port = free_port()
        program = Path(__file__).with_name("ecs_server.py")
        path = self._engine.folder / "moto.log"
        with path.open("w") as log:
            self._process = subprocess.Popen(
                [environment("moto"), program, self._engine.socket, str(port), LABEL, NEVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        if self._process.stdout is None or self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"moto did not start:\n{path.read_text()}")
        self.url = f"http://127.0.0.1:{port}"
        self.client("ecs").create_cluster(clusterName="default")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def client(self, service: str) -> Any:
        """Return a boto3 client of a service."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def environment(self, url: str | None = None) -> dict[str, str]:
        """Return variables that lead Amazon's clients here, or to a proxy before it."""
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
