"""Triggers and actions of automations: one normal form for both sides, references by key.

Source: the answers of Prefect 2.20.26 and 3.8.8 (tried). They add `id` to every trigger, fill what is
left out, and swallow keys that they don't know; `expect`, `after` and `for_each` are sets.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.model.keys import Key
from reconciler.model.near import did_you_mean
from reconciler.model.values import Masked, Ref, Secret, UnknownRef, Value

ACTIONS_FIELDS = ("actions", "actions_on_trigger", "actions_on_resolve")
EXAMPLE = "for example {posture: Reactive, expect: [prefect.flow-run.Failed]}"
POSTURES = ("Reactive", "Proactive")
_SETS = ("after", "expect", "for_each")
_EVENT: Mapping[str, Value] = {
    "match": {},
    "match_related": {},
    "after": [],
    "expect": [],
    "for_each": [],
    "threshold": 1,
    "within": 0.0,
}
TRIGGERS: Mapping[str, tuple[str, ...]] = {
    "event": ("posture", *_EVENT),
    "compound": ("triggers", "within", "require"),
    "sequence": ("triggers", "within"),
}
"""The keys of each type of trigger, `type` apart."""
_DEADLINE = 10.0
"""Seconds that a proactive trigger has at least."""
LINKS: Mapping[str, tuple[str, str, int]] = {
    "deployment": ("deployment_id", "deployment", 2),
    "block": ("block_document_id", "block", 2),
    "work_pool": ("work_pool_id", "work-pool", 1),
    "work_queue": ("work_queue_id", "work-queue", 2),
    "automation": ("automation_id", "automation", 1),
}
"""By the word of a manifest: the API's name, the kind of key, the number of its parts."""


def _about(word: str) -> dict[str, Value]:
    return {"source": "selected", word: None}


ACTIONS: Mapping[str, Mapping[str, Value]] = {
    "do-nothing": {},
    "cancel-flow-run": {},
    "suspend-flow-run": {},
    "resume-flow-run": {},
    "delete-flow-run": {},
    "change-flow-run-state": {"state": None, "name": None, "message": None, "force": False},
    "run-deployment": {
        **_about("deployment"),
        "parameters": None,
        "job_variables": None,
        "schedule_after": 0.0,
    },
    "pause-deployment": _about("deployment"),
    "resume-deployment": _about("deployment"),
    "pause-work-pool": _about("work_pool"),
    "resume-work-pool": _about("work_pool"),
    "pause-work-queue": _about("work_queue"),
    "resume-work-queue": _about("work_queue"),
    "pause-automation": _about("automation"),
    "resume-automation": _about("automation"),
    "send-notification": {
        "block": None,
        "subject": "Prefect automated notification",
        "body": None,
    },
    "call-webhook": {"block": None, "payload": ""},
}
"""The keys of each type of action with their defaults, `type` apart."""
_ONLY_3: Mapping[str, tuple[str, ...]] = {
    "resume-flow-run": (),
    "delete-flow-run": (),
    "run-deployment": ("schedule_after",),
    "change-flow-run-state": ("force",),
}
"""Actions that Prefect 2.20 lacks, or the keys that it lacks of one that it has."""


def normal_trigger(trigger: Value) -> Value:
    """Bring a trigger into the form in which both sides are compared."""
    if not isinstance(trigger, Mapping):
        return trigger
    made: dict[str, Value] = {key: value for key, value in trigger.items() if key != "id"}
    if made.get("type", "event") == "event":
        made = {"type": "event", **_EVENT, **made}
        if made.get("posture") == "Proactive" and not made["within"]:
            made["within"] = _DEADLINE
        for name in _SETS:
            value = made[name]
            made[name] = sorted(map(str, value)) if isinstance(value, list) else value
    elif made.get("within") is None:
        made.pop("within", None)
    inner = made.get("triggers")
    if isinstance(inner, list):
        made["triggers"] = [normal_trigger(one) for one in inner]
    if "within" in made:
        made["within"] = _seconds(made["within"])
    return made


def normal_action(action: Value) -> Value:
    """Bring an action into the form in which both sides are compared: without its defaults."""
    if not isinstance(action, Mapping):
        return action
    defaults = ACTIONS.get(str(action.get("type")), {})
    return {
        key: _seconds(value) if key == "schedule_after" else value
        for key, value in action.items()
        if isinstance(value, Secret | Masked) or value not in (None, defaults.get(key))
    }


def linked(action: Mapping[str, Value]) -> dict[str, Value]:
    """Return an action as written, with a reference in place of each name."""
    made: dict[str, Value] = {}
    for key, value in action.items():
        link = LINKS.get(key)
        if link is None:
            made[key] = value
        else:
            made[link[0]] = Ref(Key(link[1], tuple(str(value).split("/"))))
    return made


def live_action(
    action: Mapping[str, Any], ref: Callable[[str], Ref | UnknownRef | None]
) -> dict[str, Value]:
    """Return an action as the API answers it, with a reference in place of each id."""
    ids = {link[0] for link in LINKS.values()}
    return {
        key: ref(value) if key in ids and isinstance(value, str) else value
        for key, value in action.items()
        if value is not None
    }


def written_action(action: Mapping[str, Value]) -> dict[str, Value]:
    """Return an action as a manifest says it; what has no name is left out."""
    words = {link[0]: word for word, link in LINKS.items()}
    return {
        words.get(key, key): "/".join(value.key.parts) if isinstance(value, Ref) else value
        for key, value in action.items()
        if not isinstance(value, UnknownRef)
    }


def written_trigger(trigger: Value) -> Value:
    """Return a trigger in normal form as a manifest says it: without defaults."""
    if not isinstance(trigger, Mapping):
        return trigger
    proactive = trigger.get("posture") == "Proactive"
    usual = {"type": "event", **_EVENT, "within": _DEADLINE if proactive else 0.0}
    plain = trigger.get("type", "event") == "event"
    made = {k: v for k, v in trigger.items() if not plain or k not in usual or v != usual[k]}
    within = made.get("within")
    if isinstance(within, float) and within.is_integer():
        made["within"] = int(within)
    inner = made.get("triggers")
    if isinstance(inner, list):
        made["triggers"] = [written_trigger(one) for one in inner]
    return made


Path = tuple[str | int, ...]
Complaint = tuple[Path, str, str | None]
"""Where, what is wrong, what to do."""


def trigger_problems(trigger: Value, at: Path) -> Iterator[Complaint]:
    """Yield what is wrong with a trigger as far as it shows offline."""
    if not isinstance(trigger, Mapping):
        yield at, "a trigger must be a mapping", EXAMPLE
        return
    kind = trigger.get("type", "event")
    if not isinstance(kind, str) or kind not in TRIGGERS:
        yield (*at, "type"), f"a trigger is one of {', '.join(TRIGGERS)}", EXAMPLE
        return
    yield from _unknown_keys(trigger, TRIGGERS[kind], at, f"{kind} trigger")
    yield from _no_seconds(trigger, "within", at)
    if kind == "event":
        posture = trigger.get("posture")
        if not isinstance(posture, str) or posture not in POSTURES:
            where = (*at, "posture") if "posture" in trigger else at
            yield where, f"an event trigger needs a posture: {' or '.join(POSTURES)}", EXAMPLE
        return
    inner = trigger.get("triggers")
    if not isinstance(inner, list) or not inner:
        yield at, f"a {kind} trigger needs triggers, a list", f"each like {EXAMPLE}"
        return
    for index, one in enumerate(inner):
        yield from trigger_problems(one, (*at, "triggers", index))
    if kind == "compound":
        yield from _bad_require(trigger.get("require"), len(inner), at)


def _bad_require(require: Value, most: int, at: Path) -> Iterator[Complaint]:
    word = isinstance(require, str) and require in ("any", "all")
    number = isinstance(require, int) and not isinstance(require, bool) and 1 <= require <= most
    if not word and not number:
        hint = f"any, all, or a number from 1 to {most}, as many as it has triggers"
        yield (*at, "require"), "a compound trigger needs require", hint


def action_problems(actions: Value, at: Path) -> Iterator[Complaint]:
    """Yield what is wrong with a list of actions as far as it shows offline."""
    for index, action in enumerate(actions if isinstance(actions, list) else ()):
        here = (*at, index)
        if not isinstance(action, Mapping) or not isinstance(action.get("type"), str):
            yield here, "an action is a mapping with a type", "for example {type: do-nothing}"
            continue
        yield from _bad_links(action, here)
        known = ACTIONS.get(action["type"])
        if known is not None:  # a newer server may have more of them
            ids = [LINKS[word][0] for word in LINKS]
            plain = {key: value for key, value in action.items() if key not in ids}
            yield from _unknown_keys(plain, tuple(known), here, f"{action['type']} action")
            yield from _no_seconds(action, "schedule_after", here)


def misfits_of_2_20(actions: Value) -> Iterator[str]:
    """Yield what Prefect 2.20 can't hold of a list of actions in normal form."""
    for action in actions if isinstance(actions, list) else ():
        kind = str(action.get("type")) if isinstance(action, Mapping) else ""
        if kind in _ONLY_3 and not _ONLY_3[kind]:
            yield f"the action {kind}"
        yield from (f"{key} of the action {kind}" for key in _ONLY_3.get(kind, ()) if key in action)


def gives_no_time(trigger: Value) -> bool:
    """Tell whether a compound or sequence trigger, or one inside it, gives no time: 3.8.8 wants one."""
    if not isinstance(trigger, Mapping) or trigger.get("type", "event") == "event":
        return False
    inner = trigger.get("triggers")
    return "within" not in trigger or any(
        map(gives_no_time, inner if isinstance(inner, list) else ())
    )


def _bad_links(action: Mapping[str, Value], here: Path) -> Iterator[Complaint]:
    for word, (name, kind, parts) in LINKS.items():
        if name in action:
            hint = f"write {word}: {'<…>/<name>' if parts > 1 else '<name>'}"
            yield (*here, name), f"{name} is of one server only", hint
        value = action.get(word)
        if word in action and (not isinstance(value, str) or len(value.split("/")) != parts):
            yield (*here, word), f"{word} must name a {kind}", f"{parts} words, with slashes"


def _unknown_keys(
    found: Mapping[str, Value], known: tuple[str, ...], at: Path, what: str
) -> Iterator[Complaint]:
    for key in found:
        if key != "type" and key not in known:
            hint = did_you_mean(str(key), known, what=f"keys of a {what}")
            yield (*at, key), f"{_a(what)} has no key {key!r}; Prefect would pass over it", hint


def _a(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _no_seconds(found: Mapping[str, Value], key: str, at: Path) -> Iterator[Complaint]:
    value = found.get(key)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        yield (*at, key), f"{key} must be a number of seconds", "for example 3600"


def _seconds(value: Value) -> Value:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
