"""The policy: `reconciler.yaml` at the root of the tree (DESIGN section 8)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


def _share(value: object) -> object:
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100
    return value


_SHARE_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?%\s*$"},
    ]
}
Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1), WithJsonSchema(_SHARE_SCHEMA)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Prune(_Frozen):
    """When deletes are held back as a whole."""

    enabled: bool = Field(default=True, description="Delete what git no longer declares.")
    max_deletes: int = Field(
        10, ge=0, description="A plan that deletes more than this and more than max_share is held."
    )
    max_share: Share = Field(0.30, description="Share of the inventory, for example 30%.")
    allow: tuple[str, ...] = Field(
        (), description="Keys (globs) whose cascading delete is allowed."
    )


class VaultPlace(_Frozen):
    """An entry of a KV store of HashiCorp Vault, version 2."""

    mount: str = Field("secret", min_length=1, description="Where the store is mounted.")
    path: str = Field(min_length=1, description="Of the entry; each of its keys is a secret.")


class SecretSource(_Frozen):
    """One provider of secrets: exactly one of its fields is given."""

    env: str | None = Field(
        None, description="Prefix of environment variables, for example RECONCILER_SECRET_."
    )
    dir: str | None = Field(None, description="Directory outside the tree, one file a secret.")
    age: str | None = Field(
        None, description="File of the tree that age encrypted: YAML, names and texts."
    )
    vault: VaultPlace | None = Field(None, description="An entry of HashiCorp Vault's KV v2.")


class Target(_Frozen):
    """Which documents a patch is for; every given word must fit."""

    kind: str | None = None
    key: str | None = Field(None, description="Glob over keys.")
    tag: str | None = Field(None, description="A tag of a deployment.")


class Patch(_Frozen):
    """A merge patch (RFC 7396) on the documents that the target selects."""

    target: Target = Target()
    patch: dict[str, Any]


class Environment(_Frozen):
    """What `--env NAME` changes."""

    vars: dict[str, Any] = {}
    patches: tuple[Patch, ...] = ()
    paths: tuple[str, ...] = Field(
        (), description="Folders whose manifests belong to this environment only."
    )


class AgentPolicy(_Frozen):
    """Settings of the embedded agent that belong to the repository."""

    limit: int | None = Field(None, ge=1, description="Most flow runs at a time.")
    queues: tuple[str, ...] | None = Field(
        None, description="Work queues to serve; by default those that deployments name."
    )


class Policy(_Frozen):
    """The whole of `reconciler.yaml`."""

    name: str = Field(
        min_length=1,
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        description="Lower-case letters, digits, dashes; the inventory is name + environment.",
    )
    prune: Prune = Prune()
    drift: Literal["heal", "report"] = "heal"
    vars: dict[str, Any] = {}
    secrets: tuple[SecretSource, ...] = ()
    environments: dict[str, Environment] = {}
    agent: AgentPolicy = AgentPolicy()
