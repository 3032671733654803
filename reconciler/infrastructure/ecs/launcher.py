"""Launches flow runs as tasks of Amazon ECS."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from reconciler.blocks.aws import EcsTaskSettings
from reconciler.blocks.base import InfrastructureSettings
from reconciler.errors import Transient, Unreachable
from reconciler.infrastructure.base import Ends, NotLaunchable, NotStarted, Surroundings
from reconciler.infrastructure.base.logs import Logs
from reconciler.infrastructure.ecs import checks, tasks
from reconciler.infrastructure.ecs.client import Account, Accounts, BotoSession, Connect
from reconciler.infrastructure.ecs.definition import settings_of
from reconciler.infrastructure.ecs.definitions import Definitions
from reconciler.infrastructure.ecs.failures import Refusal
from reconciler.infrastructure.ecs.network import Networks
from reconciler.infrastructure.ecs.request import cluster_of, parse_pid, pid_of, run_task
from reconciler.infrastructure.ecs.watcher import Watched, Watcher
from reconciler.model.launch import Ended, Found, Handle, LaunchSpec, Sought
from reconciler.runtime.supervision import race

_STOP_SECONDS = 300.0
"""How long after its grace a task may take to be gone: SIGKILL comes after `stopTimeout` of the
container, 120 s at most, and ECS then takes its network apart."""
_STOPPED_BY_US = "Stopped by the agent of the flow run."


@dataclass(slots=True)
class _Prepared:
    """A launch that `create` prepared.

    Attributes:
        spec: what was asked for.
        account: where it goes.
        request: the arguments of RunTask.
        pid: the `infrastructure_pid`, once it was started.
    """

    spec: LaunchSpec
    account: Account
    request: Mapping[str, Any] = field(repr=False)
    pid: str | None = None


class EcsLauncher:
    """Launches flow runs as tasks of Amazon ECS.

    ECS can't make a task without starting it. So `create` prepares: it registers the task
    definition, looks the network up and makes the request; its handle has no pid. `start` sends
    RunTask with the launch token as `clientToken`, which ECS answers with the same task however
    often it is asked (for an hour after the task's end, 24 h at most), and as `startedBy`.
    'Never started' is: no task, running or stopped, was started by the token.
    """

    slug: ClassVar[str] = "ecs-task"
    local: ClassVar[bool] = False
    host_bound = False
    settings: ClassVar[type[InfrastructureSettings]] = EcsTaskSettings

    def __init__(self, surroundings: Surroundings, connect: Connect | None = None) -> None:
        """Make the launcher.

        Args:
            surroundings: of the agent.
            connect: makes the session of a credentials block; None for boto3's.
        """
        self._around = surroundings
        ca_file = surroundings.platforms.ca_file
        self._accounts = Accounts(connect or (lambda block: BotoSession(block, ca_file)))
        runs = surroundings.state_dir / "runs"
        self._logs = Logs(runs, surroundings.output)
        self._ends = Ends()
        self._definitions = Definitions(surroundings.clock, surroundings.images)
        self._networks = Networks(surroundings.clock)
        self._watcher = Watcher(surroundings.clock, self._ends, self._definitions, self._logs, runs)
        self._prepared: dict[str, _Prepared] = {}
        self._settings: dict[str, EcsTaskSettings] = {}

    def owns(self, pid: str) -> bool:
        """Tell whether a pid is of a task, `<cluster>::<task ARN>` as Prefect writes it."""
        return parse_pid(pid) is not None

    async def find(self, sought: Sought) -> Found | None:
        """Look a launch up: by its recorded task, else by `startedBy`.

        Where the credentials aren't allowed to look, None: it can't be known. Only with a recorded
        task that is an error that passes, since that task may be running.
        """
        if isinstance(sought.settings, EcsTaskSettings):
            self._settings[sought.token] = sought.settings
        try:
            recorded = await self._recorded(sought)
            if recorded is not None:
                return recorded
            return await self._by_token(sought)
        except NotLaunchable as error:
            if sought.pid is not None:
                raise Transient(error.message) from None
            return None

    async def create(self, spec: LaunchSpec) -> Handle:
        """Prepare all that can be without starting; nothing runs yet, and there is no pid.

        Raises:
            NotLaunchable: the settings are wrong; the message names the field.
            NotStarted: AWS can't be reached or refuses.
            Transient: AWS is busy.
        """
        settings = settings_of(spec)
        self._settings[spec.token] = settings
        try:
            account = await self._accounts.of(settings.aws_credentials)
            request = await self._request(account, spec)
        except Unreachable as error:
            raise NotStarted(error.message) from None
        known = self._prepared.get(spec.token)
        pid = None if known is None else known.pid
        self._prepared[spec.token] = _Prepared(spec, account, request, pid)
        return Handle(spec.token, spec.flow_run_id, pid)

    async def start(self, handle: Handle) -> Handle:
        """Run the task; asked again, ECS gives the same one.

        Raises:
            NotLaunchable: it was prepared by an agent that is gone, or ECS refuses the request.
            NotStarted: there is no room for it, or no permission.
            Transient: nobody knows whether it runs.
        """
        prepared = self._prepared.get(handle.token)
        if prepared is None:
            raise NotLaunchable("the task was prepared by an agent that is gone")
        if prepared.pid is None:
            try:
                arn, cluster = await tasks.run(prepared.account, prepared.request)
            except Refusal as error:
                if not tasks.definition_gone(error):
                    raise
                # Another agent deregistered it as unused.
                self._definitions.forget(str(prepared.request["taskDefinition"]))
                prepared.request = await self._request(prepared.account, prepared.spec)
                arn, cluster = await tasks.run(prepared.account, prepared.request)
            prepared.pid = pid_of(cluster_of(settings_of(prepared.spec)), arn, cluster)
        return replace(handle, pid=prepared.pid)

    async def ended(self, handle: Handle) -> Ended:
        """Wait until the watcher sees the task stopped, or stops it for starting too late."""
        handle = self._with_pid(handle)
        if handle.pid is None:
            return Ended(None, "the task was never started")
        self._watcher.add(await self._watched(handle))
        return await self._ends.wait(handle.token)

    async def stop(self, handle: Handle, grace: float) -> None:
        """Stop the task and wait until it is gone.

        ECS has no grace of its own for each stop: it kills `stopTimeout` seconds (of the container's
        definition, 30 by default) after SIGTERM, whatever `grace` is.

        Raises:
            Transient: AWS does not answer, or the task does not go.
        """
        handle = self._with_pid(handle)
        if handle.pid is None:
            found = await self.find(Sought(handle.token, handle.flow_run_id))
            if found is None or found.handle.pid is None:
                return
            handle = found.handle
        if self._watcher.told(handle.token):
            return  # it has ended
        watched = await self._watched(handle)
        if await tasks.stop(watched.place, _STOPPED_BY_US):
            self._watcher.add(watched)
            await self._gone(watched, grace)

    async def discard(self, handle: Handle) -> None:
        """Forget a launch. ECS forgets the stopped task itself; the definition is kept for others.

        That a launch was never started stays known: no task has its token.
        """
        self._watcher.forget(handle.token)
        self._ends.forget(handle.token)
        self._definitions.release(handle.token)
        self._prepared.pop(handle.token, None)
        self._settings.pop(handle.token, None)

    async def logs(self, sought: Sought, lines: int) -> tuple[str, ...]:
        """Return the last lines of a launch's output: CloudWatch's, else those kept."""
        live: tuple[str, ...] = ()
        with suppress(NotLaunchable, Transient):
            watched = self._watcher.of_run(sought.flow_run_id) or await self._seen(sought)
            stream = None if watched is None else await self._watcher.log_of(watched)
            live = () if stream is None else await self._watcher.output.tail(stream, lines)
        return live or self._logs.tail(sought.flow_run_id, lines)

    async def watch(self) -> None:
        """Watch all tasks; from time to time deregister definitions that nobody uses."""
        await race(self._watcher.keep_looking, self._definitions.keep_sweeping)

    async def close(self) -> None:
        """Nothing is held open."""

    async def preflight(self, settings: InfrastructureSettings, api_url: str) -> tuple[str, ...]:
        """Say what is wrong with the settings, and what AWS lacks."""
        assert isinstance(settings, EcsTaskSettings)  # noqa: S101 - for the type checker
        problems = checks.offline(settings, api_url, self._around.images)
        try:
            account = await self._accounts.of(settings.aws_credentials)
        except (NotLaunchable, Transient) as error:
            return (*problems, error.message)
        found = await checks.online(account, settings, self._networks)
        return (*problems, *(one for one in found if one not in problems))

    async def _request(self, account: Account, spec: LaunchSpec) -> dict[str, Any]:
        registered = await self._definitions.resolve(account, spec)
        settings = settings_of(spec)
        network = await self._networks.of(account, settings, registered.definition)
        return run_task(spec, registered.arn, registered.definition, network)

    async def _recorded(self, sought: Sought) -> Found | None:
        """Look at the recorded task. It may be of an earlier attempt of the run, another launch."""
        if sought.pid is None or parse_pid(sought.pid) is None:
            return None
        handle = Handle(sought.token, sought.flow_run_id, sought.pid)
        place = (await self._watched(handle)).place
        found = await tasks.describe(place.account, place.cluster, [place.arn])
        task = found.get(place.arn)
        if task is None or task.get("startedBy") != sought.token:
            return None
        return Found(handle, started=True, alive=not tasks.stopped(task))

    async def _by_token(self, sought: Sought) -> Found | None:
        settings = self._settings.get(sought.token)
        parsed = None if sought.pid is None else parse_pid(sought.pid)
        if settings is None and parsed is None:
            return None
        cluster = cluster_of(settings) if settings is not None else None
        if settings is None and parsed is not None:
            cluster = parsed[0]
        region = parsed[2] if settings is None and parsed is not None else None
        account = await self._account(settings, region)
        task = await tasks.find(account, cluster, sought.token)
        if task is None:
            never = Handle(sought.token, sought.flow_run_id, None)
            return Found(never, started=False, alive=False)
        arn = task["taskArn"]
        pid = pid_of(cluster, arn, task.get("clusterArn") or tasks.cluster_arn(arn))
        handle = Handle(sought.token, sought.flow_run_id, pid)
        return Found(handle, started=True, alive=not tasks.stopped(task))

    async def _seen(self, sought: Sought) -> Watched | None:
        """Look a launch up that nobody watches here."""
        found = await self.find(sought)
        if found is None or found.handle.pid is None:
            return None
        return await self._watched(found.handle)

    async def _account(self, settings: EcsTaskSettings | None, region: str | None) -> Account:
        chosen = EcsTaskSettings() if settings is None else settings
        return await self._accounts.of(chosen.aws_credentials, region)

    async def _watched(self, handle: Handle) -> Watched:
        """Return what to watch for a started launch, by its pid: the block may have changed."""
        parsed = parse_pid(handle.pid or "")
        if parsed is None:
            raise NotLaunchable("the infrastructure_pid is not that of an ECS task")
        cluster, arn, region = parsed
        settings = self._settings.get(handle.token) or EcsTaskSettings()
        return Watched(
            token=handle.token,
            run_id=handle.flow_run_id,
            place=tasks.Place(await self._account(settings, region), cluster, arn),
            interval=settings.task_watch_poll_interval,
            start_within=settings.task_start_timeout_seconds,
            since=self._around.clock.monotonic(),
            stream=bool(settings.stream_output),
        )

    async def _gone(self, watched: Watched, grace: float) -> None:
        """Wait for the end of a stopped task; look ourselves where nobody watches (any more)."""
        clock = self._around.clock
        until = clock.monotonic() + grace + _STOP_SECONDS
        while not self._watcher.over(watched.token):
            if clock.monotonic() > until:
                raise Transient("the ECS task was told to stop, and has not stopped yet")
            if not self._watcher.running:
                await self._watcher.look()
            await clock.sleep(max(0.5, min(watched.interval, 5.0)))

    def _with_pid(self, handle: Handle) -> Handle:
        prepared = self._prepared.get(handle.token)
        if handle.pid is not None or prepared is None:
            return handle
        return replace(handle, pid=prepared.pid)
