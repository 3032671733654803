"""Claiming a run: one proposal of PENDING under our own transition id, and whether it holds."""

from collections.abc import Sequence
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


async def fair(api: Api, run_id: str, token: str) -> bool:
    """Tell whether our claim was a fair one; an unfair one is given back at once.

    Orchestration lets a claim that comes late leave a final state (2.20.26, 3.8.8: read), and a
    server whose proposals overlap accepts two claims of one waiting run (prefect#8880). So a fair
    claim follows a SCHEDULED state; any other gives back what it replaced, before anything is made
    or recorded under it. Of two overlapping claims the earlier one, given back, then stands in the
    history before and after its rival: it is fair by what preceded all claims, since that one
    withdrew.
    """
    states = await history(api, run_id)
    # A state's timestamp is when its proposal arrived, not when it was accepted: on a busy server a
    # claim can be older than what it replaced (tried). So ours is taken out by its id, not by order.
    others = [state for state in states if state.transition_id != token]
    if _regained(states, token):
        others = [state for state in others if state.type != "PENDING"]
    before = others[-1] if others else None
    if before is None or before.type == "SCHEDULED":
        return True
    if await holds(api, run_id, token):
        await propose(api, run_id, before, force=True)
    return False


def _regained(states: Sequence[RunState], token: str) -> bool:
    """Tell whether a claim came back after another one, rather than twice by a repeated request."""
    claims = [state.transition_id for state in states if state.type == "PENDING"]
    if token not in claims:
        return False
    after = claims[claims.index(token) :]
    rivals = [n for n, claim in enumerate(after) if claim != token]
    return bool(rivals) and token in after[rivals[0] :]


async def holds(api: Api, run_id: str, token: str) -> bool:
    """Tell whether a claim stands.

    It reads the run rather than proposing PENDING again: that would revive a run which ended
    meanwhile, since orchestration lets one leave a final state.
    """
    run = await read_run(api, run_id)
    return run is not None and run.state.type == "PENDING" and run.state.transition_id == token


async def launch_token(api: Api, run_id: str) -> str | None:
    """Return the transition id of the latest PENDING in a run's history, None if it had none."""
    claims = [state for state in await history(api, run_id) if state.type == "PENDING"]
    return claims[-1].transition_id if claims else None
