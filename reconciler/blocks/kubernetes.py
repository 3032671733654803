"""`kubernetes-job` and the cluster that it may name."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from reconciler.blocks.base import BlockSettings, InfrastructureSettings, JsonPatch, Text
from reconciler.blocks.json_text import from_json_text


class KubernetesClusterConfigSettings(BlockSettings):
    """How to reach a Kubernetes cluster."""

    model_config = ConfigDict(title="KubernetesClusterConfig")

    slug: ClassVar[str] = "kubernetes-cluster-config"
    type_name: ClassVar[str] = "Kubernetes Cluster Config"
    schema_version: ClassVar[str] = "2.20.26"

    config: dict[str, Any] = Field(description="A kubeconfig file as a mapping.")
    context_name: Text = Field(description="Which of its contexts to use.")


class KubernetesImagePullPolicy(StrEnum):
    """When the kubelet pulls the image."""

    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"
    NEVER = "Never"


class KubernetesJobSettings(InfrastructureSettings):
    """Runs a flow as a Kubernetes job."""

    model_config = ConfigDict(title="KubernetesJob")

    slug: ClassVar[str] = "kubernetes-job"
    type_name: ClassVar[str] = "Kubernetes Job"
    schema_version: ClassVar[str] = "2.20.26"

    type: Literal["kubernetes-job"] = Field(
        "kubernetes-job", description="Says that this is a Kubernetes job."
    )
    image: Text | None = Field(
        None, description="Image to run; by default Prefect's image for the server's version."
    )
    namespace: Text | None = Field(None, description="Namespace of the job.")
    service_account_name: Text | None = Field(None, description="Service account of the pod.")
    image_pull_policy: KubernetesImagePullPolicy | None = Field(
        None, description="When the kubelet pulls the image."
    )
    cluster_config: KubernetesClusterConfigSettings | None = Field(
        None, description="Cluster to use; by default the agent's own or its kubeconfig."
    )
    job: dict[str, Any] | None = Field(
        None, title="Base Job Manifest", description="The job's manifest, before customizations."
    )
    customizations: Annotated[JsonPatch, BeforeValidator(from_json_text)] = Field(
        default_factory=list, description="Patch operations on the manifest."
    )
    job_watch_timeout_seconds: int | None = Field(
        None, description="Seconds until a running job counts as failed; by default never."
    )
    pod_watch_timeout_seconds: int = Field(60, description="Seconds to wait for the pod to start.")
    stream_output: bool = Field(
        True,  # noqa: FBT003
        description="Show the pod's output in the agent's.",
    )
    finished_job_ttl: int | None = Field(
        None, description="Seconds after its end when Kubernetes may delete the job."
    )
