"""A value for each field of each shipped block type; none is its default."""

from typing import Any

from reconciler.model.values import Secret

_COMMON = {
    "env": {"A": "1", "UNSET": None, "with.dot": "x", "TOKEN": Secret("s3cret")},
    "labels": {"team": "data", "my.org/team": "x"},
    "name": "run",
    "command": ["sleep", "10"],
}

REQUIRED = {
    "docker-registry": {"username": "u", "password": "p", "registry_url": "r.example"},
    "kubernetes-cluster-config": {"config": {"clusters": []}, "context_name": "c"},
    "cloud-run-job": {
        "image": "eu/p/i:1",
        "region": "eu",
        "credentials": {"$ref": "gcp-credentials/target"},
    },
    "azure-container-instance-job": {"resource_group_name": "g", "subscription_id": "sub"},
}

FIELDS = {
    "docker-registry": {
        "username": "other",
        "password": "changed",
        "registry_url": "https://other",
        "reauth": False,
    },
    "kubernetes-cluster-config": {
        "config": {"clusters": [{"name": "a"}], "empty": {}, "none": None},
        "context_name": "other",
    },
    "aws-credentials": {
        "aws_access_key_id": "AKIA",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
        "profile_name": "p",
        "region_name": "eu-west-1",
        "aws_client_parameters": {
            "api_version": "1",
            "use_ssl": False,
            "verify": False,
            "verify_cert_path": "/ca.pem",
            "endpoint_url": "http://localhost:4566",
            "config": {"retries": {"max_attempts": 3}},
        },
    },
    "gcp-credentials": {
        "service_account_file": "/key.json",
        "service_account_info": {"type": "service_account", "private_key": "k"},
        "project": "p",
    },
    "azure-container-instance-credentials": {
        "client_id": "c",
        "tenant_id": "t",
        "client_secret": "s",
        "credential_kwargs": {"exclude_cli_credential": True},
    },
    "process": {
        **_COMMON,
        "type": "process",
        "stream_output": False,
        "working_dir": "/tmp",
    },
    "docker-container": {
        **_COMMON,
        "type": "docker-container",
        "image": "python:3.12",
        "image_pull_policy": "NEVER",
        "image_registry": {"$ref": "docker-registry/target"},
        "networks": ["a", "b"],
        "network_mode": "bridge",
        "auto_remove": True,
        "volumes": ["/a:/b"],
        "stream_output": False,
        "memswap_limit": -1,
        "mem_limit": "512m",
        "privileged": True,
    },
    "kubernetes-job": {
        **_COMMON,
        "type": "kubernetes-job",
        "image": "python:3.12",
        "namespace": "flows",
        "service_account_name": "runner",
        "image_pull_policy": "Always",
        "cluster_config": {"$ref": "kubernetes-cluster-config/target"},
        "job": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"labels": {}},
            "spec": {"template": {"spec": {"containers": [{"name": "prefect-job"}]}}},
        },
        "customizations": [{"op": "add", "path": "/spec/x", "value": {"deep": [1]}}],
        "job_watch_timeout_seconds": 5,
        "pod_watch_timeout_seconds": 61,
        "stream_output": False,
        "finished_job_ttl": 0,
    },
    "ecs-task": {
        **_COMMON,
        "type": "ecs-task",
        "aws_credentials": {"$ref": "aws-credentials/target"},
        "task_definition_arn": "arn:x",
        "task_definition": {"containerDefinitions": [{"name": "prefect"}]},
        "family": "f",
        "image": "python:3.12",
        "auto_deregister_task_definition": False,
        "cpu": 1024,
        "memory": 2048,
        "execution_role_arn": "arn:e",
        "configure_cloudwatch_logs": True,
        "cloudwatch_logs_options": {"awslogs-group": "g"},
        "stream_output": True,
        "launch_type": "EC2",
        "vpc_id": "v",
        "cluster": "c",
        "task_role_arn": "arn:t",
        "task_customizations": [{"op": "remove", "path": "/x"}],
        "task_start_timeout_seconds": 121,
        "task_watch_poll_interval": 1.5,
    },
    "cloud-run-job": {
        **_COMMON,
        "env": {"A": "1"},
        "type": "cloud-run-job",
        "image": "eu/p/other:2",
        "region": "us",
        "credentials": {"project": "inline", "service_account_info": {"a": "b"}},
        "cpu": 2,
        "memory": 4,
        "memory_unit": "Gi",
        "vpc_connector_name": "v",
        "args": ["a"],
        "keep_job": True,
        "timeout": 3600,
        "max_retries": 0,
    },
    "azure-container-instance-job": {
        **_COMMON,
        "type": "container-instance-job",
        "aci_credentials": {"$ref": "azure-container-instance-credentials/target"},
        "resource_group_name": "h",
        "subscription_id": "other",
        "identities": ["i"],
        "image": "python:3.12",
        "entrypoint": "/bin/run",
        "image_registry": {"registry_url": "r", "identity": "i"},
        "cpu": 0.5,
        "gpu_count": 1,
        "gpu_sku": "V100",
        "memory": 2,
        "subnet_ids": ["s"],
        "dns_servers": ["1.1.1.1"],
        "stream_output": True,
        "task_start_timeout_seconds": 1,
        "task_watch_poll_interval": 0.5,
    },
}

_TOGETHER: dict[str, dict[str, dict[str, Any]]] = {
    "cloud-run-job": {"memory": {"memory_unit": "Gi"}},
    "azure-container-instance-job": {
        "gpu_count": {"gpu_sku": "V100"},
        "gpu_sku": {"gpu_count": 1},
    },
}
"""Fields that are refused without another."""


def data_with(slug: str, field: str) -> dict[str, Any]:
    """Return the shortest data of a type that has this field."""
    companions = _TOGETHER.get(slug, {}).get(field, {})
    return {**REQUIRED.get(slug, {}), **companions, field: FIELDS[slug][field]}
