"""A real Kubernetes cluster of one node (1.20.2): etcd, API server, controllers, scheduler, kubelet.

    with Cluster(engine) as cluster:
        ... cluster.kubeconfig, cluster.get("/api/v1/nodes") ...

Its pods are containers of a Docker engine of the test bed. Pods on the host's network reach this
machine's loopback addresses. Needs root. The programs come from `kubernetes_build`.

Two tokens are known: an administrator's, and that of the service account `default/agent`, which may
do nothing until it is bound to a role.
"""

import json
import shutil
import ssl
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

from tests.testbed import kubernetes_build
from tests.testbed.dockerd import Dockerd
from tests.testbed.packages import PATH, install, program
from tests.testbed.ports import free_ports

ADMIN, AGENT = "admin-token", "agent-token"
NODE = "node1"
_PAUSE_IMAGE = "pause:local"
_START_SECONDS = 120.0
_SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
"""Set by the kubelet for the whole machine; put back when it ends."""


class Cluster:
    """See the module's text.

    Attributes:
        url: of the API.
        ca_file: the certificate that it shows.
        kubeconfig: file for administrators.
    """

    def __init__(self, engine: Dockerd) -> None:
        self._engine = engine
        self._processes: list[subprocess.Popen[bytes]] = []
        self._sysctls: dict[str, str] = {}
        self._client = httpx.Client()

    def __enter__(self) -> Self:
        install("etcd", "etcd-server")
        self._programs = kubernetes_build.programs()
        self.folder = Path(tempfile.mkdtemp(prefix="rk8s-"))
        self._sysctls = {name: _sysctl(name).read_text() for name in _SYSCTLS}
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, the newest first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._client.close()
        with suppress(RuntimeError):
            self._engine.clear()
        for mount in _mounts(self.folder):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, value in self._sysctls.items():
            _sysctl(name).write_text(value)

    def config(self, token: str = ADMIN, url: str | None = None) -> dict[str, Any]:
        """Return a kubeconfig as a mapping.

        Args:
            token: of the user.
            url: of a proxy before the API; by default the API's own.
        """
        server = {"server": url or self.url, "certificate-authority": str(self.ca_file)}
        context = {"cluster": "test", "user": "test", "namespace": "default"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
        }

    def tls(self) -> ssl.SSLContext:
        """Return what a proxy needs to trust the API."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.check_hostname = False  # the proxy knows it by address
        return context

    def ask(self, method: str, path: str, body: Any = None, *, missing: bool = False) -> Any:
        """Ask the API as administrator.

        Args:
            method: of HTTP.
            path: of the API, with its query.
            body: as JSON.
            missing: take a 404 for an answer.
        """
        answer = self._client.request(method, self.url + path, json=body)
        if missing and answer.status_code == 404:
            return None
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def items(self, path: str) -> list[dict[str, Any]]:
        """List objects."""
        found: list[dict[str, Any]] = self.ask("GET", path)["items"]
        return found

    def log(self, pod: dict[str, Any]) -> str:
        """Return what a pod has said, or why that can't be read."""
        named = pod["metadata"]
        path = f"/api/v1/namespaces/{named['namespace']}/pods/{named['name']}/log"
        return self._client.get(self.url + path).text

    def _start(self) -> None:
        self._add_pause_image()
        folder, ports = self.folder, free_ports(7)
        client, peer, api, controllers, scheduler, kubelet, _ = ports
        self.url = f"https://127.0.0.1:{api}"
        self.ca_file = folder / "certs" / "apiserver.crt"
        self.kubeconfig = folder / "kubeconfig"
        key = folder / "sa.key"
        subprocess.run(
            ["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True
        )
        (folder / "tokens.csv").write_text(
            f"{ADMIN},admin,admin,system:masters\n"
            f"{AGENT},system:serviceaccount:default:agent,agent\n"
        )
        self._run(
            program("etcd"),
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{client}",
            "--bind-address=127.0.0.1",
            f"--secure-port={api}",
            f"--cert-dir={folder}/certs",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--feature-gates=TTLAfterFinished=true",
            "--kubelet-preferred-address-types=InternalIP",
        )
        self._wait(self.ca_file.exists)
        self._client = httpx.Client(
            verify=self.tls(),
            headers={"Authorization": f"Bearer {ADMIN}"},
            timeout=30,
            trust_env=False,
        )
        self.kubeconfig.write_text(json.dumps(self.config()))
        self._wait(lambda: self._answers("/readyz"))
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={controllers}",
            "--port=0",
            "--leader-elect=false",
            "--feature-gates=TTLAfterFinished=true",
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={self.ca_file}",
            "--use-service-account-credentials",
        )
        self._run(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={scheduler}",
            "--port=0",
            "--leader-elect=false",
        )
        self._run_kubelet(kubelet)
        self._wait(self._is_ready)

    def _run_kubelet(self, port: int) -> None:
        folder = self.folder
        self._run(
            "kubelet",
            f"--kubeconfig={self.kubeconfig}",
            f"--root-dir={folder}/kubelet",
            f"--cert-dir={folder}/kubelet-pki",
            f"--volume-plugin-dir={folder}/plugins",
            f"--hostname-override={NODE}",
            f"--node-ip={self._engine.gateway}",  # loopback is refused
            f"--address={self._engine.gateway}",
            f"--port={port}",
            "--healthz-port=0",
            "--read-only-port=0",
            f"--docker-endpoint={self._engine.url}",
            f"--pod-infra-container-image={_PAUSE_IMAGE}",
            "--cgroup-driver=cgroupfs",
            "--cgroups-per-qos=false",
            "--enforce-node-allocatable=",
            "--fail-swap-on=false",
            "--anonymous-auth=true",
            "--authorization-mode=AlwaysAllow",
            "--eviction-hard=",
            "--resolv-conf=",
            "--minimum-image-ttl-duration=24h",
            "--image-gc-high-threshold=100",
            f"--cluster-dns={self._engine.gateway}",
            "--make-iptables-util-chains=false",
        )

    def _run(self, name: str, *options: str) -> None:
        path = self._programs / name
        command = str(path) if path.exists() else name
        with (self.folder / f"{Path(name).name}.log").open("wb") as log:
            process = subprocess.Popen(
                [program("setpriv"), "--pdeathsig", "KILL", command, *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": PATH, "HOME": str(self.folder)},
                start_new_session=True,
            )
        self._processes.append(process)

    def _wait(self, done: Any) -> None:
        end = time.monotonic() + _START_SECONDS
        while not done():
            dead = [one for one in self._processes if one.poll() is not None]
            if dead or time.monotonic() > end:
                raise RuntimeError(f"Kubernetes did not start:\n{self._logs()}")
            time.sleep(0.1)

    def _answers(self, path: str) -> bool:
        try:
            return self._client.get(self.url + path).is_success
        except httpx.HTTPError:
            return False

    def _is_ready(self) -> bool:
        """Tell whether pods can run: a node is there, and the account that they run as."""
        if not self._answers("/api/v1/namespaces/default/serviceaccounts/default"):
            return False
        account = self.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        ready = any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for node in self.items("/api/v1/nodes")
            for condition in node["status"].get("conditions", ())
        )
        return ready and bool(account.get("secrets"))

    def _add_pause_image(self) -> None:
        if self._engine.has_image(_PAUSE_IMAGE):
            return
        pause = self._programs / kubernetes_build.PAUSE
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            tar = ["tar", "-C", str(pause.parent), "-cf", archive.name, pause.name]
            subprocess.run(tar, check=True)
            change = 'CMD ["/pause"]'
            self._engine.docker("import", "-c", change, archive.name, _PAUSE_IMAGE)

    def _logs(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs
        )


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _mounts(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [place for line in lines if (place := line.split()[4]).startswith(f"{folder}/")][::-1]
