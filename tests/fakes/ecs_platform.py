# ruff: noqa: N803 - arguments have the names of the services
"""AWS in memory, as far as an ECS launcher sees it: ECS, EC2's networks, CloudWatch's logs.

Requests are checked by botocore's own model of each service; answers and errors have its form.
"""

from collections import Counter, defaultdict
from copy import deepcopy
from functools import cache

import botocore.session
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters

REGION = "eu-west-1"
ACCOUNT = "123456789012"
_PASCAL = {"describe_vpcs": "DescribeVpcs"}


def error(code, message="told so", status=400, **more):
    answer = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(answer, "Operation")


@cache
def _model(service):
    return botocore.session.get_session().get_service_model(service)


def _check(service, method, values):
    name = _PASCAL.get(method) or "".join(part.capitalize() for part in method.split("_"))
    validate_parameters(values, _model(service).operation_model(name).input_shape)


class Aws:
    """One account.

    Attributes:
        calls: (operation, arguments) of all calls.
        before: errors to raise instead of carrying an operation out, first come first served.
        after: errors to raise though it was carried out: the answer is lost.
        no_room: failures that RunTask tells instead of running tasks.
        stubborn: tasks that were told to stop go on.
        list_lags: ListTasks does not see new tasks yet.
        denied: operations that the credentials aren't allowed.
    """

    def __init__(self, region=REGION):
        self.region = region
        self.calls = []
        self.before, self.after = defaultdict(list), defaultdict(list)
        self.clusters = {"default": "ACTIVE", "work": "ACTIVE"}
        self.families = defaultdict(list)
        self.tasks = {}
        self.by_token = {}
        self.vpcs = {"vpc-1": {"default": True, "subnets": ["subnet-a", "subnet-b"]}}
        self.streams = defaultdict(list)
        self.no_room = []
        self.stubborn = self.list_lags = False
        self.denied = set()
        self.connected = []

    # -- what a launcher is given

    def connect(self, credentials):
        self.connected.append(credentials)
        return _Session(self, credentials.region_name or self.region)

    def call(self, service, method, values):
        _check(service, method, values)
        self.calls.append((method, deepcopy(values)))
        if method in self.denied:
            raise error("AccessDeniedException", "User arn:x is not authorized to do this")
        if self.before[method]:
            raise self.before[method].pop(0)
        answer = getattr(self, f"_{method}")(**values)
        if self.after[method]:
            raise self.after[method].pop(0)
        return deepcopy(answer)

    # -- what a test sees and does

    @property
    def counts(self):
        return Counter(method for method, _ in self.calls)

    def arguments(self, method):
        return [values for name, values in self.calls if name == method]

    def task(self, pid):
        return self.tasks[pid.rpartition("::")[2]]

    def set_running(self, task):
        task["lastStatus"], task["startedAt"] = "RUNNING", "then"

    def set_ended(self, task, code=0, reason="Essential container in task exited", **more):
        task.update(lastStatus="STOPPED", desiredStatus="STOPPED", stoppedReason=reason)
        task.setdefault("stopCode", "EssentialContainerExited")
        task.update(more)
        if code is not None:
            task["containers"][0]["exitCode"] = code

    def log(self, task, *lines, prefix="prefect", group="prefect", at=None):
        name = f"{prefix}/prefect/{task['taskArn'].rpartition('/')[2]}"
        events = self.streams[group, name]
        for line in lines:
            number = sum(len(one) for one in self.streams.values())
            events.append(
                {
                    "timestamp": at or 1000 + number,
                    "message": line,
                    "eventId": f"e{number}",
                    "s": name,
                }
            )

    @property
    def active(self):
        return [d for f in self.families.values() for d in f if d["status"] == "ACTIVE"]

    # -- ECS

    def _register_task_definition(self, family, tags=(), **given):
        revisions = self.families[family]
        made = {"family": family, **deepcopy(given), "revision": len(revisions) + 1}
        made["status"], made["tags_"] = "ACTIVE", list(tags)
        made["taskDefinitionArn"] = (
            f"arn:aws:ecs:{self.region}:{ACCOUNT}:task-definition/{family}:{made['revision']}"
        )
        made["compatibilities"] = ["EC2", "FARGATE"]
        made.setdefault("volumes", [])
        made.setdefault("placementConstraints", [])
        for container in made["containerDefinitions"]:
            for name in ("mountPoints", "portMappings", "volumesFrom", "environment"):
                container.setdefault(name, [])
            container.setdefault("cpu", 0)
            container.setdefault("essential", True)
            container["environment"].reverse()  # ECS keeps no order
        revisions.append(made)
        return {"taskDefinition": _told(made), "tags": list(tags)}

    def _definition(self, name):
        wanted = name.rpartition("/")[2]
        family, _, revision = wanted.partition(":")
        found = [
            one
            for one in self.families.get(family, ())
            if str(one["revision"]) == revision or (not revision and one["status"] == "ACTIVE")
        ]
        if not found:
            raise error("ClientException", "Unable to describe task definition.")
        return found[-1]

    def _describe_task_definition(self, taskDefinition, include=()):
        found = self._definition(taskDefinition)
        return {"taskDefinition": _told(found), "tags": found["tags_"] if include else []}

    def _deregister_task_definition(self, taskDefinition):
        found = self._definition(taskDefinition)
        found["status"] = "INACTIVE"
        return {"taskDefinition": _told(found)}

    def _cluster(self, cluster):
        name = (cluster or "default").rpartition("/")[2]
        if name not in self.clusters:
            raise error("ClusterNotFoundException", "Cluster not found.")
        return name

    def _run_task(self, clientToken, **given):
        cluster = self._cluster(given.get("cluster"))
        if "launchType" in given and "capacityProviderStrategy" in given:
            raise error("InvalidParameterException", "launchType and a strategy exclude each other")
        if (cluster, clientToken) in self.by_token:
            arn, first = self.by_token[cluster, clientToken]
            if first != given:
                raise error("ConflictException", "in use", resourceIds=[arn])
            return {"tasks": [self.tasks[arn]], "failures": []}
        definition = self._definition(given["taskDefinition"])
        if definition["status"] != "ACTIVE":
            raise error("ClientException", "TaskDefinition is inactive")
        if definition.get("networkMode") == "awsvpc" and "networkConfiguration" not in given:
            raise error("InvalidParameterException", "Network Configuration must be provided.")
        if self.no_room:
            return {"tasks": [], "failures": self.no_room}
        return {"tasks": [self._new_task(cluster, clientToken, given, definition)], "failures": []}

    def _new_task(self, cluster, token, given, definition):
        arn = f"arn:aws:ecs:{self.region}:{ACCOUNT}:task/{cluster}/{len(self.tasks):032x}"
        task = {
            "taskArn": arn,
            "clusterArn": f"arn:aws:ecs:{self.region}:{ACCOUNT}:cluster/{cluster}",
            "taskDefinitionArn": definition["taskDefinitionArn"],
            "startedBy": given.get("startedBy"),
            "lastStatus": "PROVISIONING",
            "desiredStatus": "RUNNING",
            "tags": given.get("tags", []),
            "containers": [
                {"name": one["name"], "lastStatus": "PENDING"}
                for one in definition["containerDefinitions"]
            ],
        }
        self.tasks[arn] = task
        self.by_token[cluster, token] = (arn, deepcopy(given))
        return task

    def _list_tasks(self, startedBy, desiredStatus="RUNNING", cluster=None):
        name = self._cluster(cluster)
        found = [
            arn
            for arn, task in self.tasks.items()
            if task["startedBy"] == startedBy
            and task["desiredStatus"] == desiredStatus
            and f"/{name}/" in arn
        ]
        return {"taskArns": [] if self.list_lags else found}

    def _describe_tasks(self, tasks, cluster=None):
        name = self._cluster(cluster)
        if len(tasks) > 100:
            raise error("InvalidParameterException", "too many tasks")
        known = [arn for arn in tasks if arn in self.tasks and f"/{name}/" in arn]
        missing = [{"arn": arn, "reason": "MISSING"} for arn in tasks if arn not in known]
        return {"tasks": [self.tasks[arn] for arn in known], "failures": missing}

    def _stop_task(self, task, reason="", cluster=None):
        self._cluster(cluster)
        if task not in self.tasks:
            raise error("InvalidParameterException", "The referenced task was not found.")
        found = self.tasks[task]
        if found["desiredStatus"] == "RUNNING":
            found["desiredStatus"] = "STOPPED"
            found["stopCode"], found["stoppedReason"] = "UserInitiated", reason
            if not self.stubborn:
                self.set_ended(found, 143 if found.get("startedAt") else None, reason)
        return {"task": found}

    def _describe_clusters(self, clusters):
        names = [one.rpartition("/")[2] for one in clusters]
        found = [
            {"clusterName": one, "status": self.clusters[one]}
            for one in names
            if one in self.clusters
        ]
        return {"clusters": found, "failures": []}

    # -- EC2

    def _describe_vpcs(self, VpcIds=(), Filters=()):
        missing = [one for one in VpcIds if one not in self.vpcs]
        if missing:
            raise error("InvalidVpcID.NotFound", f"The vpc ID '{missing[0]}' does not exist")
        wanted = VpcIds or [name for name, vpc in self.vpcs.items() if vpc["default"]]
        return {"Vpcs": [{"VpcId": one} for one in wanted]}

    def _describe_subnets(self, Filters):
        [vpc] = Filters[0]["Values"]
        return {"Subnets": [{"SubnetId": one} for one in self.vpcs[vpc]["subnets"]]}

    # -- CloudWatch

    def _filter_log_events(self, logGroupName, logStreamNames, startTime=0, nextToken=None):
        if len(logStreamNames) > 100:
            raise error("InvalidParameterException", "too many streams")
        for name in logStreamNames:
            if (logGroupName, name) not in self.streams:
                raise error("ResourceNotFoundException", "The specified log stream does not exist.")
        found = sorted(
            (
                {**event, "logStreamName": name}
                for name in logStreamNames
                for event in self.streams[logGroupName, name]
                if event["timestamp"] >= startTime
            ),
            key=lambda event: event["timestamp"],
        )
        start = int(nextToken or 0)
        more = {"nextToken": str(start + 3)} if len(found) > start + 3 else {}
        return {"events": found[start : start + 3], **more}

    def _get_log_events(self, logGroupName, logStreamName, limit, startFromHead):
        if (logGroupName, logStreamName) not in self.streams:
            raise error("ResourceNotFoundException", "The specified log stream does not exist.")
        return {"events": self.streams[logGroupName, logStreamName][-limit:]}


def _told(definition):
    return {name: value for name, value in definition.items() if name != "tags_"}


class _Session:
    def __init__(self, aws, region):
        self.region = region
        self._aws = aws

    def client(self, service, region):
        return _Client(self._aws, service)


class _Client:
    def __init__(self, aws, service):
        self._aws, self._service = aws, service

    def __getattr__(self, method):
        return lambda **values: self._aws.call(self._service, method, values)
