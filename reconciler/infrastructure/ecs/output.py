"""The output of tasks, from CloudWatch: in batches for all that are streamed, and the tail of one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.infrastructure.base.logs import Logs
from reconciler.infrastructure.ecs.client import Account
from reconciler.infrastructure.ecs.definition import CONTAINER, flow_container
from reconciler.infrastructure.ecs.failures import Refusal

_STREAMS = 100
"""Streams that one FilterLogEvents takes."""
_PAGES = 20
"""Pages of one look, 10,000 lines each: a flow that prints more may not hold up all the others."""
_LATE = 60_000
"""Milliseconds by which a line may come later than another stream's younger line."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A log stream.

    Attributes:
        account: whose.
        region: of the log group.
        group: name of the log group.
        name: of the stream.
    """

    account: Account
    region: str | None
    group: str
    name: str


@dataclass(slots=True)
class _Followed:
    run_id: str
    stream: Stream
    since: int
    seen: set[str] = field(default_factory=set)


def stream_of(account: Account, definition: Mapping[str, Any], task_arn: str) -> Stream | None:
    """Return the stream that the awslogs driver writes for a task; None if it writes none."""
    logs = flow_container(definition).get("logConfiguration", {})
    options = logs.get("options", {})
    group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
    if logs.get("logDriver") != "awslogs" or not group or not prefix:
        return None
    name = f"{prefix}/{CONTAINER}/{task_arn.rpartition('/')[2]}"
    return Stream(account, options.get("awslogs-region") or None, group, name)


class CloudWatch:
    """Follows log streams; the number of calls grows with log groups, not with runs."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._followed: dict[str, _Followed] = {}

    def follow(self, token: str, run_id: str, stream: Stream, since: int) -> None:
        """Stream what is written to a log from `since`, in milliseconds since 1970."""
        self._followed.setdefault(token, _Followed(run_id, stream, since))

    def follows(self, token: str) -> bool:
        """Tell whether a launch's log is streamed."""
        return token in self._followed

    def forget(self, token: str) -> None:
        """Stream a launch's log no more."""
        self._followed.pop(token, None)

    async def pass_on(self, tokens: Iterable[str]) -> None:
        """Read what is new in the logs of launches, and pass it on.

        Raises:
            NotLaunchable: CloudWatch refuses.
            Transient: it does not answer.
        """
        groups: dict[tuple[str, str | None, str], list[_Followed]] = {}
        for one in (self._followed[token] for token in tokens if token in self._followed):
            stream = one.stream
            groups.setdefault((stream.account.key, stream.region, stream.group), []).append(one)
        for followed in groups.values():
            for start in range(0, len(followed), _STREAMS):
                await self._batch(followed[start : start + _STREAMS])

    async def tail(self, stream: Stream, lines: int) -> tuple[str, ...]:
        """Return the last lines of a stream, oldest first; none where there is no such stream.

        Raises:
            NotLaunchable: CloudWatch refuses.
            Transient: it does not answer.
        """
        try:
            answer = await stream.account.read(
                "logs:get_log_events",
                region=stream.region,
                logGroupName=stream.group,
                logStreamName=stream.name,
                limit=lines,
                startFromHead=False,
            )
        except Refusal as error:
            if error.code == "ResourceNotFoundException":
                return ()
            raise
        return tuple(str(event["message"]).rstrip("\n") for event in answer["events"])

    async def _batch(self, followed: list[_Followed]) -> None:
        """Read several streams in one call. One that isn't there yet spoils it: halve the batch."""
        try:
            await self._read(followed)
        except Refusal as error:
            if error.code != "ResourceNotFoundException":
                raise
            if len(followed) > 1:
                middle = len(followed) // 2
                await self._batch(followed[:middle])
                await self._batch(followed[middle:])

    async def _read(self, followed: list[_Followed]) -> None:
        by_name = {one.stream.name: one for one in followed}
        stream = followed[0].stream
        question: dict[str, Any] = {
            "logGroupName": stream.group,
            "logStreamNames": list(by_name),
            "startTime": min(one.since for one in followed),
        }
        youngest = 0
        for _ in range(_PAGES):
            answer = await stream.account.read(
                "logs:filter_log_events", region=stream.region, **question
            )
            youngest = max([youngest, *self._take(by_name, answer["events"])])
            if not answer.get("nextToken"):
                youngest -= _LATE
                break
            question["nextToken"] = answer["nextToken"]
        # Events come in the order of time over all streams. A silent one must not keep the next
        # look from getting further than this one.
        for one in followed:
            _advance(one, youngest)

    def _take(self, by_name: Mapping[str, _Followed], events: list[dict[str, Any]]) -> list[int]:
        """Pass new events on; return the times of all."""
        fresh: dict[str, list[str]] = {}
        for event in events:
            one = by_name.get(event["logStreamName"])
            time, identity = int(event["timestamp"]), str(event["eventId"])
            if one is None or time < one.since or identity in one.seen:
                continue
            _advance(one, time)
            one.seen.add(identity)
            fresh.setdefault(one.run_id, []).append(str(event["message"]).rstrip("\n"))
        for run_id, lines in fresh.items():
            self._logs.add(run_id, lines, stream=True)
        return [int(event["timestamp"]) for event in events]


def _advance(one: _Followed, time: int) -> None:
    """Move on in a stream; within one stream lines come in order."""
    if time > one.since:
        one.since = time
        one.seen.clear()
