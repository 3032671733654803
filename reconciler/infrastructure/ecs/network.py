"""The network of tasks: all subnets of a VPC."""

from collections.abc import Mapping
from typing import Any

import anyio

from reconciler.blocks.aws import EcsTaskSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.ecs.client import Account
from reconciler.infrastructure.ecs.request import needs_subnets, network_of
from reconciler.runtime.clock import Clock

_FRESH = 300.0
"""Seconds for which an answer is good: a VPC seldom changes, and runs are many."""
_MOST_SUBNETS = 16
"""ECS takes no more for a task."""


class Networks:
    """VPCs that were looked up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str | None], tuple[float, list[str]]] = {}
        self._asking = anyio.Lock()

    async def of(
        self, account: Account, settings: EcsTaskSettings, definition: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the network configuration of a task; None if its network mode takes none.

        Raises:
            NotLaunchable: there is no such VPC, or it has no subnets.
            Transient: AWS does not answer.
        """
        wanted = needs_subnets(settings, definition)
        if wanted is None:
            return None
        subnets = await self._subnets(account, settings.vpc_id) if wanted else []
        return network_of(settings, subnets)

    async def _subnets(self, account: Account, vpc_id: str | None) -> list[str]:
        key, now = (account.key, vpc_id), self._clock.monotonic()
        async with self._asking:  # of many launches at one time, one asks
            known = self._known.get(key)
            if known is None or now - known[0] > _FRESH:
                known = (now, await _look_up(account, vpc_id))
                self._known[key] = known
        return known[1]


async def _look_up(account: Account, vpc_id: str | None) -> list[str]:
    where = f" in {account.region}" if account.region else ""
    if vpc_id is None:
        default = [{"Name": "isDefault", "Values": ["true"]}]
        answer = await account.read("ec2:describe_vpcs", Filters=default)
        missing = f"there is no default VPC{where}: set vpc_id"
    else:
        answer = await account.read("ec2:describe_vpcs", VpcIds=[vpc_id])
        missing = f"the VPC {vpc_id} of vpc_id does not exist{where}"
    if not answer["Vpcs"]:
        raise NotLaunchable(missing)
    found = answer["Vpcs"][0]["VpcId"]
    theirs = [{"Name": "vpc-id", "Values": [found]}]
    subnets = (await account.read("ec2:describe_subnets", Filters=theirs))["Subnets"]
    if not subnets:
        raise NotLaunchable(f"the VPC {found} has no subnets for the task: choose one by vpc_id")
    return [one["SubnetId"] for one in subnets][:_MOST_SUBNETS]
