"""What a shipped block type is: a pydantic model with the fields of Prefect's class.

One model serves three ends: the offline check of manifests, the schema that is registered where a
server lacks the type (`prefect_schema`), and the settings from which the agent launches.
Names, types and defaults: facts/infrastructure-blocks.md, compared with Prefect 2.20.26,
prefect-aws 0.4.20, prefect-gcp 0.5.17 and prefect-azure 0.3.11. The descriptions are our own.
"""

from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Secret,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

MANIFEST = "manifest"
"""Key of the validation context that is set for values which people wrote."""


def _text(value: object, info: ValidationInfo) -> object:
    """Read numbers as text, as Prefect 2's classes do (`env: {PORT: 8080}`).

    In a manifest only whole numbers: `3.10` would become "3.1" and `true` "True", which nobody means.
    """
    if not isinstance(value, bool | int | float):
        return value
    if (info.context or {}).get(MANIFEST) and type(value) is not int:
        raise PydanticCustomError("unquoted", "must be text: put it in quotes")
    return str(value)


Text = Annotated[str, BeforeValidator(_text)]
Environment = dict[str, Text | None]
"""Environment variables; null means 'unset it'."""

SecretMapping = Secret[dict[str, Any]]
"""A mapping that is secret as a whole (the key of a service account)."""

JsonPatch = Annotated[
    list[dict[str, Any]],
    WithJsonSchema(
        {
            "type": "array",
            "format": "rfc6902",
            "items": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ),
]
"""Operations of RFC 6902."""


class Part(BaseModel):
    """A mapping inside a block's data. Values from a server may hold keys of other versions."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True
    )


class BlockSettings(Part):
    """The data of a block document of one type, references filled with their target's data.

    Attributes:
        slug: the block type's slug.
        type_name: the block type's name.
        capabilities: what Prefect may use such a block for.
        schema_version: of the package whose fields these are.
        aliases: other spellings of the slug that manifests may use.
    """

    slug: ClassVar[str]
    type_name: ClassVar[str]
    capabilities: ClassVar[tuple[str, ...]] = ()
    schema_version: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()


class InfrastructureSettings(BlockSettings):
    """What all infrastructure types share."""

    capabilities: ClassVar[tuple[str, ...]] = ("run-infrastructure",)

    env: Environment = Field(
        default_factory=dict,
        title="Environment",
        description="Environment variables of the flow run; null unsets one.",
    )
    labels: dict[str, Text] = Field(
        default_factory=dict, description="Labels put on the created infrastructure."
    )
    name: Text | None = Field(
        None, description="Name of the created infrastructure; by default the flow run's."
    )
    command: list[Text] | None = Field(
        None, description="Command that runs the flow; by default Prefect's own."
    )
