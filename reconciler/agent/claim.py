"""Claiming a run: one proposal of PENDING under our own transition id, and its confirmation."""

from enum import Enum

from reconciler.api.client import Api
from reconciler.api.runs import Answer, RunState, Verdict, history, propose, read_run


class Claim(Enum):
    """How a claim ended."""

    OURS = "ours"
    OTHERS = "others"  # somebody else has it, or it is over
    WAIT = "wait"  # no concurrency slot: the server scheduled it for later


async def claim(api: Api, run_id: str, token: str, message: str) -> Claim:
    """Propose PENDING under a launch token.

    A lost answer is asked again by the client. The state's name must be "Pending": 3.x accepts any
    other name over a claim (facts).

    Args:
        api: the API.
        run_id: the run.
        token: our transition id.
        message: names the agent and the commit, for people.
    """
    state = RunState("PENDING", "Pending", transition_id=token, message=message)
    verdict = await propose(api, run_id, state)
    return Claim.OTHERS if verdict is None else judge(verdict, token)


def judge(verdict: Verdict, token: str) -> Claim:
    """Read the answer to a claim.

    Our own earlier claim, its answer lost, comes back as a REJECT with our own state (facts:
    both versions). A full deployment limit on 3.x comes back as SCHEDULED (AwaitingConcurrencySlot).
    """
    if verdict.state.type == "PENDING" and verdict.state.transition_id == token:
        return Claim.OURS
    if verdict.answer is Answer.WAIT or verdict.state.type == "SCHEDULED":
        return Claim.WAIT
    return Claim.OTHERS


async def confirm(api: Api, run_id: str, token: str) -> bool:
    """Tell, directly before a start, whether the claim stands and was a fair one.

    It reads the run's states rather than proposing PENDING again. A proposal would revive a run
    that ended meanwhile, since orchestration lets one leave a final state (2.20.26, 3.8.8: read).
    For the same reason a claim that came late, after another agent had run the whole flow, was
    accepted too. So a fair claim follows a SCHEDULED state; any other gets back what it replaced.
    """
    states = await history(api, run_id)
    run = await read_run(api, run_id)
    if run is None or run.state.type != "PENDING" or run.state.transition_id != token:
        return False
    # A state's timestamp is when its proposal arrived, not when it was accepted: on a busy server a
    # claim can be older than what it replaced (tried). So ours is taken out by its id, not by order.
    others = [state for state in states if state.transition_id != token]
    before = others[-1] if others else None
    if before is None or before.type == "SCHEDULED":
        return True
    await propose(api, run_id, before, force=True)
    return False


async def launch_token(api: Api, run_id: str) -> str | None:
    """Return the transition id of the latest PENDING in a run's history, None if it had none."""
    claims = [state for state in await history(api, run_id) if state.type == "PENDING"]
    return claims[-1].transition_id if claims else None
