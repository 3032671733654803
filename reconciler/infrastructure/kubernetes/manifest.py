"""The Job that is made for a flow run. Pure.

The rules are those of Prefect 2.20.26's KubernetesJob (facts/infrastructure-blocks.md). It differs
where that ran a flow more than once, or lost what the run needs:

- `backoffLimit` is 0 unless the manifest sets it; Kubernetes' own default runs a failed pod six
  more times.
- `parallelism` and `completions` go where the API reads them; Prefect's base manifest has them in
  the pod's spec, where they mean nothing.
- A customization that replaces the environment takes neither the run's id nor the way to the API.
- Kubernetes keeps an ended Job for a minute at least, whatever `finished_job_ttl`: its exit code and
  its log are still to be read. Of a shorter one, the agent removes it directly after that.
"""

from collections.abc import Mapping
from typing import Any

from slugify import slugify

from reconciler.blocks.kubernetes import KubernetesJobSettings
from reconciler.blocks.kubernetes_base import base_manifest, check_manifest, mapping_at
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.base.patches import patched
from reconciler.model.launch import LaunchSpec

TOKEN_LABEL = "reconciler.io/launch-token"  # noqa: S105 - the name of a label
RUN_LABEL = "reconciler.io/flow-run-id"
DISCARD = "reconciler.io/discard"
"""Annotation of a Job that the agent removes itself when it has ended."""
DEFAULT_COMMAND = ("prefect", "flow-run", "execute")

_OWN_VARIABLES = ("PREFECT__FLOW_RUN_ID", "PREFECT_API_URL", "PREFECT_API_KEY")
_LONGEST_NAME, _LONGEST_VALUE, _LONGEST_PREFIX = 63, 63, 253
_SHORTEST_TTL = 60


def job_name(spec: LaunchSpec) -> str:
    """Return the Job's name: a readable part, then the launch token.

    The API refuses a second Job of one name, so a launch can't be made twice. Prefect let the API
    add five random characters instead.
    """
    room = _LONGEST_NAME - len(spec.token) - 1
    readable = slugify(spec.name, max_length=room, regex_pattern=r"[^a-zA-Z0-9-]+").strip("-")
    return f"{readable or 'flow-run'[:room]}-{spec.token}"


def job_manifest(spec: LaunchSpec, image: str) -> dict[str, Any]:
    """Return the manifest of a Job that waits until it is told to start.

    It waits by `parallelism: 0`, which pauses a Job in every version of Kubernetes (batch/v1), and
    leaves `suspend` to admission controllers such as Kueue.

    Args:
        spec: the launch; its settings are `KubernetesJobSettings`.
        image: the default image.

    Raises:
        NotLaunchable: `job` or `customizations` can't be used; the message names the place.
    """
    settings = settings_of(spec)
    manifest = _base(settings)
    _take_settings(manifest, settings, spec, image)
    manifest = _customized(manifest, settings)
    try:
        check_manifest(manifest, "customizations")
    except ValueError as error:
        raise NotLaunchable(str(error)) from None
    _take_identity(manifest, spec, settings)
    return manifest


def namespace_of(settings: KubernetesJobSettings) -> str:
    """Return the namespace that Jobs of a block go to.

    Raises:
        NotLaunchable: `job` or `customizations` can't be used; the message names the place.
    """
    nothing = LaunchSpec("", "", "", KubernetesJobSettings.slug, settings)
    return str(job_manifest(nothing, "")["metadata"]["namespace"])


def settings_of(spec: LaunchSpec) -> KubernetesJobSettings:
    """Return a launch's settings as what they are."""
    assert isinstance(spec.settings, KubernetesJobSettings)  # noqa: S101 - for the type checker
    return spec.settings


def labels(given: Mapping[str, str]) -> dict[str, str]:
    """Return labels in the characters that Kubernetes allows."""
    return {_label_key(key): _label_value(value) for key, value in given.items()}


def _base(settings: KubernetesJobSettings) -> dict[str, Any]:
    try:
        return base_manifest(settings.job)
    except ValueError as error:
        raise NotLaunchable(str(error)) from None


def _mapping(place: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    try:
        return mapping_at(place, key, where)
    except ValueError as error:
        raise NotLaunchable(str(error)) from None


def _take_settings(
    manifest: dict[str, Any], settings: KubernetesJobSettings, spec: LaunchSpec, image: str
) -> None:
    """Put the block's settings over its manifest; a setting that is left out changes nothing."""
    metadata, job = manifest["metadata"], manifest["spec"]
    pod = job["template"]["spec"]
    container = pod["containers"][0]
    if settings.namespace is not None:
        metadata["namespace"] = settings.namespace
    metadata.setdefault("namespace", "default")
    if settings.image is not None:
        container["image"] = settings.image
    container.setdefault("image", image)
    metadata["labels"].update(labels(spec.labels))
    env = {name: value for name, value in spec.env.items() if value is not None}
    container["env"] = [*container["env"], *_variables(env)]
    if settings.image_pull_policy is not None:
        container["imagePullPolicy"] = settings.image_pull_policy.value
    if settings.service_account_name is not None:
        pod["serviceAccountName"] = settings.service_account_name
    if settings.finished_job_ttl is not None:
        job["ttlSecondsAfterFinished"] = max(settings.finished_job_ttl, _SHORTEST_TTL)
    container["args"] = list(spec.command or DEFAULT_COMMAND)


def _customized(manifest: dict[str, Any], settings: KubernetesJobSettings) -> dict[str, Any]:
    """Apply the customizations.

    Raises:
        NotLaunchable: one of them can't be applied.
    """
    changed = patched("customizations", settings.customizations, manifest)
    if not isinstance(changed, dict):
        raise NotLaunchable("customizations: they leave no manifest")
    return changed


def _take_identity(
    manifest: dict[str, Any], spec: LaunchSpec, settings: KubernetesJobSettings
) -> None:
    """Put in what makes this Job the launch that it is; nothing may change that."""
    metadata = _mapping(manifest, "metadata", "")
    metadata.pop("generateName", None)
    metadata["name"] = job_name(spec)
    metadata.setdefault("namespace", "default")
    own = {TOKEN_LABEL: spec.token, RUN_LABEL: spec.flow_run_id}
    template = manifest["spec"]["template"]
    for place in (metadata, _mapping(template, "metadata", "spec.template.")):
        _mapping(place, "labels", "metadata.").update(own)
    manifest["spec"]["parallelism"] = 0
    ttl = settings.finished_job_ttl
    if ttl is not None and ttl < _SHORTEST_TTL:
        _mapping(metadata, "annotations", "metadata.")[DISCARD] = "true"
    container = template["spec"]["containers"][0]
    env = container.setdefault("env", [])
    there = {one.get("name") for one in env if isinstance(one, dict)}
    lost = {name: spec.env.get(name) for name in _OWN_VARIABLES if name not in there}
    env += _variables({name: value for name, value in lost.items() if value is not None})


def _variables(env: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in env.items()]


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    name = _slug(name, _LONGEST_NAME, lowercase=False)
    if not slash:
        return name
    pattern = r"[^a-zA-Z0-9-\.]+"
    kept = slugify(prefix, max_length=_LONGEST_PREFIX, regex_pattern=pattern, lowercase=False)
    return f"{kept.strip('_-.')}/{name}"


def _label_value(value: str) -> str:
    return _slug(value, _LONGEST_VALUE, lowercase=True)


def _slug(text: str, longest: int, *, lowercase: bool) -> str:
    pattern = r"[^a-zA-Z0-9-_.]+"
    made = slugify(text, max_length=longest, regex_pattern=pattern, lowercase=lowercase)
    return str(made).strip("_-.")
