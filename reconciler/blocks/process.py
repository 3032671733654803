"""`process`: a flow run as a process beside the agent."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from reconciler.blocks.base import InfrastructureSettings, Text

_Path = Annotated[
    Text, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "string", "format": "path"}]})
]


class ProcessSettings(InfrastructureSettings):
    """Runs a flow in a process on the agent's host."""

    model_config = ConfigDict(title="Process")

    slug: ClassVar[str] = "process"
    type_name: ClassVar[str] = "Process"
    schema_version: ClassVar[str] = "2.20.26"

    type: Literal["process"] = Field("process", description="Says that this is a process.")
    stream_output: bool = Field(
        True,  # noqa: FBT003 - a default, named by its field
        description="Show the process's output in the agent's.",
    )
    working_dir: _Path | None = Field(
        None, description="Directory to run in; by default a fresh one for each run."
    )
