"""A real Kubernetes cluster."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from reconciler.infrastructure.kubernetes.manifest import RUN_LABEL, TOKEN_LABEL
from tests.contract.platform import FLOW, AgentPlace, Does
from tests.testbed import dockerd, images
from tests.testbed.fault import Fault, FaultProxy, Rule, When
from tests.testbed.kubernetes import Cluster

_JOBS = "/apis/batch/v1/namespaces/default/jobs"
_NOWHERE = {"kubernetes.io/hostname": "no-such-node"}


class KubernetesPlatform:
    """One cluster, on an engine of its own, for a test process."""

    slug = "kubernetes-job"
    can = frozenset(Does)
    handle_before_start = True

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._proxies = ExitStack()
        self._engine = self._stack.enter_context(dockerd.Dockerd())
        self._image = images.pybase(self._engine)
        self._cluster = self._stack.enter_context(Cluster(self._engine))
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self._stack.close()

    def place(self, folder: Path, *, faults: float = 0.0) -> AgentPlace:
        url = None
        if faults:
            proxy = self._proxies.enter_context(
                FaultProxy(
                    self._cluster.url,
                    seed=11,
                    tls=self._cluster.tls(),
                    streams=r"watch=true|follow=true",
                )
            )
            for fault, when in (
                (Fault.BUSY, When.BEFORE),
                (Fault.RESET, When.BEFORE),
                (Fault.RESET, When.AFTER),
            ):
                proxy.add(Rule(fault, when, share=faults / 3))
            url = proxy.url
        path = folder / "kubeconfig"
        path.write_text(json.dumps(self._cluster.config(url=url)))
        return AgentPlace({"kubeconfig": str(path)})

    def block(self, does: Does, env: dict[str, str]) -> dict[str, Any]:
        missing, never = does is Does.MISSING_IMAGE, does is Does.NEVER_STARTS
        pod = "/spec/template/spec"
        return {
            "type": "kubernetes-job",
            "image": "127.0.0.1:1/no/such:1" if missing else self._image,
            "command": ["python3", "-c", FLOW],
            "env": env,
            "customizations": [
                {"op": "add", "path": f"{pod}/hostNetwork", "value": True},
                {"op": "add", "path": f"{pod}/nodeSelector", "value": _NOWHERE if never else {}},
                {"op": "add", "path": f"{pod}/terminationGracePeriodSeconds", "value": 2},
            ],
            "pod_watch_timeout_seconds": 10 if missing or never else 120,
            "finished_job_ttl": 0,
        }

    def kill(self, run_id: str) -> None:
        selector = f"{RUN_LABEL}={run_id}"
        for pod in self._cluster.items(f"/api/v1/pods?labelSelector={selector}"):
            label = f"label=io.kubernetes.pod.uid={pod['metadata']['uid']}"
            found = self._engine.docker("ps", "-q", "--filter", label).split()
            flows = [one for one in found if self._engine.inspect(one)["Path"] != "/pause"]
            for container in flows:
                self._engine.docker("kill", container)

    def at_work(self) -> list[str]:
        return self.leftovers()

    def leftovers(self) -> list[str]:
        made = [
            *self._cluster.items(f"{_JOBS}?labelSelector={TOKEN_LABEL}"),
            *self._cluster.items(f"/api/v1/pods?labelSelector={TOKEN_LABEL}"),
        ]
        return [one["metadata"]["name"] for one in made]

    def clear(self) -> None:
        self._proxies.close()
        for job in self._cluster.items(f"{_JOBS}?labelSelector={TOKEN_LABEL}"):
            path = f"{_JOBS}/{job['metadata']['name']}?propagationPolicy=Background"
            self._cluster.ask("DELETE", path, missing=True)
        for pod in self._cluster.items(f"/api/v1/pods?labelSelector={TOKEN_LABEL}"):
            path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}"
            self._cluster.ask("DELETE", f"{path}?gracePeriodSeconds=0", missing=True)
