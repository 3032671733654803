"""`ecs-task` and the credentials for AWS."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

from reconciler.blocks.base import (
    BlockSettings,
    Environment,
    InfrastructureSettings,
    JsonPatch,
    Part,
    Text,
)
from reconciler.blocks.json_text import from_json_text

_FilePath = Annotated[Text, WithJsonSchema({"format": "file-path", "type": "string"})]


class AwsClientParameters(Part):
    """Options of the AWS client."""

    api_version: Text | None = Field(None, title="API Version", description="Version of the API.")
    use_ssl: bool = Field(
        True,  # noqa: FBT003
        title="Use SSL",
        description="Talk TLS.",
    )
    verify: bool | _FilePath | None = Field(
        None, description="Whether to check certificates, or a file with authorities."
    )
    verify_cert_path: _FilePath | None = Field(
        None,
        title="Certificate Authority Bundle File Path",
        description="File with certificate authorities.",
    )
    endpoint_url: Text | None = Field(
        None, title="Endpoint URL", description="Another address than AWS's own."
    )
    config: dict[str, Any] | None = Field(
        None, title="Botocore Config", description="Further options of botocore."
    )


class AwsCredentialsSettings(BlockSettings):
    """Credentials for AWS; what is left out is looked up as the AWS client does."""

    model_config = ConfigDict(title="AwsCredentials")

    slug: ClassVar[str] = "aws-credentials"
    type_name: ClassVar[str] = "AWS Credentials"
    schema_version: ClassVar[str] = "0.4.20"

    aws_access_key_id: Text | None = Field(
        None, title="AWS Access Key ID", description="Id of the access key."
    )
    aws_secret_access_key: SecretStr | None = Field(
        None, title="AWS Access Key Secret", description="Secret of the access key."
    )
    aws_session_token: Text | None = Field(
        None, title="AWS Session Token", description="Token of a temporary session."
    )
    profile_name: Text | None = Field(None, description="Profile in the AWS configuration.")
    region_name: Text | None = Field(None, description="Region to work in.")
    aws_client_parameters: AwsClientParameters = Field(
        default_factory=AwsClientParameters,
        title="AWS Client Parameters",
        description="Options of the client.",
    )


class EcsTaskSettings(InfrastructureSettings):
    """Runs a flow as a task of Amazon ECS."""

    model_config = ConfigDict(title="ECSTask")

    slug: ClassVar[str] = "ecs-task"
    type_name: ClassVar[str] = "ECS Task"
    schema_version: ClassVar[str] = "0.4.20"

    type: Literal["ecs-task"] = Field("ecs-task", description="Says that this is an ECS task.")
    env: Environment = Field(
        default_factory=dict,
        title="Environment Variables",
        description="Environment variables of the flow run; null unsets one.",
    )
    aws_credentials: AwsCredentialsSettings = Field(
        default_factory=AwsCredentialsSettings,
        title="AWS Credentials",
        description="Credentials to use; by default the agent's own.",
    )
    task_definition_arn: Text | None = Field(
        None, description="A registered task definition to use."
    )
    task_definition: dict[str, Any] | None = Field(
        None, description="A task definition to register."
    )
    family: Text | None = Field(None, description="Family of the registered definition.")
    image: Text | None = Field(None, description="Image to run, unless the definition names one.")
    auto_deregister_task_definition: bool = Field(
        True,  # noqa: FBT003
        description="Deregister a definition that was registered for the run.",
    )
    cpu: int | None = Field(None, title="CPU", description="CPU units, 1024 for one CPU.")
    memory: int | None = Field(None, description="Memory in MiB.")
    execution_role_arn: Text | None = Field(
        None, title="Execution Role ARN", description="Role that pulls the image and writes logs."
    )
    configure_cloudwatch_logs: bool | None = Field(
        None, description="Send the container's output to CloudWatch."
    )
    cloudwatch_logs_options: dict[str, Text] = Field(
        default_factory=dict, description="Further options of the CloudWatch log driver."
    )
    stream_output: bool | None = Field(None, description="Show CloudWatch's lines in the agent's.")
    launch_type: Literal["FARGATE", "EC2", "EXTERNAL", "FARGATE_SPOT"] | None = Field(
        "FARGATE", description="Where ECS runs the task."
    )
    vpc_id: Text | None = Field(None, title="VPC ID", description="Network of the task.")
    cluster: Text | None = Field(None, description="Cluster to run in, by name or ARN.")
    task_role_arn: Text | None = Field(
        None, title="Task Role ARN", description="Role that the flow acts as."
    )
    task_customizations: Annotated[JsonPatch, BeforeValidator(from_json_text)] = Field(
        default_factory=list, description="Patch operations on the request that runs the task."
    )
    task_start_timeout_seconds: int = Field(
        120, description="Seconds to wait for the task to start."
    )
    task_watch_poll_interval: float = Field(5.0, description="Seconds between looks at the task.")
