"""`cloud-run-job` and the credentials for Google Cloud."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from reconciler.blocks.base import BlockSettings, InfrastructureSettings, SecretMapping, Text
from reconciler.blocks.json_text import from_json_text

_Path = Annotated[Text, WithJsonSchema({"type": "string", "format": "path"})]


class GcpCredentialsSettings(BlockSettings):
    """Credentials for Google Cloud; what is left out is looked up as Google's client does."""

    model_config = ConfigDict(title="GcpCredentials")

    slug: ClassVar[str] = "gcp-credentials"
    type_name: ClassVar[str] = "GCP Credentials"
    schema_version: ClassVar[str] = "0.5.17"

    service_account_file: _Path | None = Field(
        None, description="File with the key of a service account."
    )
    service_account_info: Annotated[SecretMapping, BeforeValidator(from_json_text)] | None = Field(
        None, description="That key itself, as a mapping."
    )
    project: Text | None = Field(None, description="Project to work in.")


class CloudRunJobSettings(InfrastructureSettings):
    """Runs a flow as a job of Google Cloud Run."""

    model_config = ConfigDict(title="CloudRunJob")

    slug: ClassVar[str] = "cloud-run-job"
    type_name: ClassVar[str] = "GCP Cloud Run Job"
    schema_version: ClassVar[str] = "0.5.17"

    type: Literal["cloud-run-job"] = Field(
        "cloud-run-job", description="Says that this is a Cloud Run job."
    )
    # Cloud Run cannot unset a variable, so no null here (facts: infrastructure-blocks).
    env: dict[str, Text] = Field(  # type: ignore[assignment]
        default_factory=dict, description="Environment variables of the flow run."
    )
    image: Text = Field(title="Image Name", description="Image to run, with its registry.")
    region: Text = Field(description="Region to run in.")
    credentials: GcpCredentialsSettings = Field(description="Credentials to use.")
    cpu: int | None = Field(None, title="CPU", description="Number of CPUs.")
    memory: int | None = Field(None, description="Amount of memory, in memory_unit.")
    memory_unit: Literal["G", "Gi", "M", "Mi"] | None = Field(
        None, title="Memory Units", description="Unit of memory."
    )
    vpc_connector_name: Text | None = Field(
        None, title="VPC Connector Name", description="Connector to a network of the project."
    )
    args: list[Text] | None = Field(None, description="Arguments of the command.")
    keep_job: bool | None = Field(
        False,  # noqa: FBT003
        title="Keep Job After Completion",
        description="Leave the job in place when it has ended.",
    )
    timeout: int | None = Field(
        600, title="Job Timeout", gt=0, le=3600, description="Seconds that a run may take."
    )
    max_retries: int | None = Field(
        3, ge=0, le=10, description="How often Cloud Run repeats a failed run."
    )
