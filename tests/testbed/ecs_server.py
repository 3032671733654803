"""Amazon's API by moto, whose ECS tasks run for real: each is a container of a Docker engine.

A program of its own, in the environment that has moto; `tests.testbed.ecs` starts it.
moto runs nothing by itself, and leaves out what is filled in here as ECS documents it: client
tokens, the phases of a task, exit codes, stop codes, tasks that are missing, and log streams.
"""

import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from moto.ecs import models, responses, urls
from moto.logs.models import logs_backends
from moto.server import ThreadedMotoServer

SOCKET, PORT, LABEL, NEVER = sys.argv[1:]
"""Of the engine; to listen on; of the containers; an image whose pull takes for ever."""
_STOP_SECONDS = 2

engine = docker.DockerClient(base_url=f"unix://{SOCKET}")


class Task(models.Task):
    """A task that is a container, named `prefect` or whatever the definition's first one is."""

    __module__ = models.__name__  # moto files its models by it

    def __init__(self, **how: Any) -> None:
        network = how.get("networking_configuration")
        if network:
            network.setdefault("awsvpcConfiguration", {}).setdefault("securityGroups", [])
        self.phase = "PROVISIONING"
        super().__init__(**how)
        self.definition = how["task_definition"]
        self.stopping = threading.Event()
        self.containers[0].exitCode = None
        self.created_at = datetime.now(tz=UTC)
        threading.Thread(target=self.live, daemon=True).start()

    @property
    def status(self) -> str:
        return self.phase

    @status.setter
    def status(self, value: str) -> None:
        """Leave the phase to the container's life."""

    def advance(self) -> None:
        """Let time pass by itself, not by being asked."""

    def live(self) -> None:
        self.phase = "PENDING"
        wanted = self.wanted()
        if wanted["image"] == NEVER:
            self.stopping.wait()
            self.end("UserInitiated", self.stopped_reason)
            return
        try:
            container = engine.containers.create(**wanted)
        except (ImageNotFound, NotFound) as error:
            reason = f"CannotPullContainerError: pull image manifest has been retried: {error.explanation}"
            self.end("TaskFailedToStart", reason)
            return
        if self.stopping.is_set():
            container.remove()
            self.end("UserInitiated", self.stopped_reason)
            return
        container.start()
        self.containers[0].last_status = self.phase = "RUNNING"
        self.started_at = datetime.now(tz=UTC)
        threading.Thread(target=self.stop_when_told, args=[container], daemon=True).start()
        self.copy_output(container)
        self.containers[0].exitCode = container.wait()["StatusCode"]
        with suppress(APIError):  # somebody cleans up already
            container.remove()
        if self.stopping.is_set():
            self.end("UserInitiated", self.stopped_reason)
        else:
            self.end("EssentialContainerExited", "Essential container in task exited")

    def wanted(self) -> dict[str, Any]:
        defined = self.definition.container_definitions[0]
        overrides = self.overrides.get("containerOverrides", [])
        changed = next((one for one in overrides if one["name"] == defined["name"]), {})
        pairs = defined.get("environment", []) + changed.get("environment", [])
        env = {pair["name"]: pair["value"] for pair in pairs}
        return {
            "image": defined["image"],
            "command": changed.get("command") or defined.get("command"),
            "environment": env,
            "network_mode": "host",
            "labels": {LABEL: env.get("PREFECT__FLOW_RUN_ID", "")},
        }

    def copy_output(self, container: Any) -> None:
        defined = self.definition.container_definitions[0]
        options = defined.get("logConfiguration", {}).get("options")
        if options:
            backend = logs_backends[self._account_id][self.region_name]
            group = options["awslogs-group"]
            stream = f"{options['awslogs-stream-prefix']}/{defined['name']}/{self.id}"
            if group not in backend.groups:
                backend.create_log_group(group, {})
            backend.create_log_stream(group, stream)
        for line in container.logs(stream=True, follow=True):
            if options:
                text = line.decode(errors="replace").rstrip()
                event = {"timestamp": int(time.time() * 1000), "message": text}
                backend.put_log_events(group, stream, [event])

    def stop_when_told(self, container: Any) -> None:
        self.stopping.wait()
        with suppress(APIError):  # it ended by itself
            container.stop(timeout=_STOP_SECONDS)

    def end(self, code: str, reason: str) -> None:
        self.stop_code, self.stopped_reason = code, reason
        self.desired_status = "STOPPED"
        self.stopped_at = datetime.now(tz=UTC)
        self.containers[0].last_status = self.phase = "STOPPED"


class Backend(models.EC2ContainerServiceBackend):
    """ECS with tasks that run."""

    __module__ = models.__name__

    def stop_task(self, cluster_str: str, task_str: str, reason: str) -> Task:
        cluster = self._get_cluster(cluster_str)
        for arn, task in self.tasks.get(cluster.name, {}).items():
            if arn.endswith(task_str.rsplit("/", 1)[-1]):
                if not task.stopping.is_set() and task.phase != "STOPPED":
                    task.stopped_reason = reason
                    task.desired_status = "STOPPED"
                    task.stopping.set()
                return task
        raise models.InvalidParameterException("The referenced task was not found.")

    @staticmethod
    def _calculate_task_resource_requirements(definition: Any) -> Any:
        for container in definition.container_definitions:
            container.setdefault("memory", 0)  # Fargate needs none; moto does
        calculate = models.EC2ContainerServiceBackend._calculate_task_resource_requirements
        return calculate(definition)


class Answers(responses.EC2ContainerServiceResponse):
    """What moto leaves out of ECS's answers."""

    tokens: ClassVar[dict[tuple[str, str], Any]] = {}
    lock = threading.Lock()

    def run_task(self) -> Any:
        token = self._get_param("clientToken")
        if not token:
            return super().run_task()
        with self.lock:
            key = (self._get_param("cluster", "default"), token)
            if key not in self.tokens:
                self.tokens[key] = super().run_task()
            return self.tokens[key]

    def list_tasks(self) -> Any:
        wanted = self._get_param("desiredStatus") or "RUNNING"
        found = self.ecs_backend.list_tasks(
            self._get_param("cluster", "default"),
            None,
            None,
            self._get_param("startedBy"),
            None,
            None,
        )
        arns = [task.task_arn for task in found if task.desired_status == wanted]
        return responses.ActionResult({"taskArns": arns})

    def describe_tasks(self) -> Any:
        answer = super().describe_tasks()
        known = {task.task_arn for task in answer.result["tasks"]}
        missing = [one for one in self._get_param("tasks", []) if one not in known]
        answer.result["failures"] = [{"arn": one, "reason": "MISSING"} for one in missing]
        return answer


def main() -> None:
    models.Task = Task
    models.ecs_backends.backend = Backend
    urls.url_paths = {"{0}/$": Answers.dispatch}
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(PORT), verbose=False)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()  # until whoever started this is gone
    server.stop()


if __name__ == "__main__":
    main()
