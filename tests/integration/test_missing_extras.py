"""Where a platform's client isn't installed, the pre-flight says how to install it."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys

for name in sys.argv[2].split():
    sys.modules[name] = None  # as if it were not installed

import anyio
from pathlib import Path
from reconciler.infrastructure import Surroundings, launchers
from reconciler.runtime.clock import SystemClock
from reconciler.settings import PlatformSettings

here = Path(sys.argv[3])
around = Surroundings(here, here, dict, "python3", SystemClock(), images="prefecthq/prefect:3")
launcher = launchers(around)[sys.argv[1]]
needed = {
    "cloud-run-job": {"image": "gcr.io/p/i:1", "region": "r", "credentials": {"project": "p"}},
    "azure-container-instance-job": {"resource_group_name": "g", "subscription_id": "s"},
    "ecs-task": {"image": "etl:1"},
}
settings = launcher.settings(**needed.get(sys.argv[1], {}))
print(*anyio.run(launcher.preflight, settings, "https://prefect.example.com/api"), sep="\\n")
"""


@pytest.mark.parametrize(
    ("slug", "extra", "modules"),
    [
        ("docker-container", "docker", "aiodocker"),
        ("kubernetes-job", "kubernetes", "kubernetes_asyncio kubernetes_asyncio.client"),
        ("ecs-task", "aws", "boto3"),
        ("cloud-run-job", "gcp", "google.cloud.run_v2 google.auth.transport.requests"),
        ("azure-container-instance-job", "azure", "azure.mgmt.containerinstance"),
    ],
)
def test_the_install_command_is_named(slug, extra, modules, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, slug, modules, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"pip install 'prefect-reconciler[{extra}]'" in done.stdout, done
    assert done.returncode == 0, done.stderr
