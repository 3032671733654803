"""What `deploy/` and the Dockerfile give: built, started hardened, reconciling; valid manifests."""

import json
import re
import subprocess
import time

import httpx
import pytest
import yaml

from reconciler import settings
from tests.e2e.serving import SECRET, TOKEN, Serving
from tests.testbed import images, seed
from tests.testbed.environments import ROOT
from tests.testbed.forward import Forward
from tests.testbed.git_http import GitHttpServer
from tests.testbed.packages import install, program
from tests.unit.test_project import GROUPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DEPLOY = ROOT / "deploy"
PASSWORD = "canary-git-password"


@pytest.fixture(scope="module")
def image(dockerd):
    base = images.building(dockerd)
    built = dockerd.docker("build", "--quiet", "--build-arg", f"BASE={base}", str(ROOT))
    return built.strip().splitlines()[-1]


class Container:
    """The image, run as `deploy/compose.yaml` runs it."""

    def __init__(self, engine, image, folder, *arguments, **env):
        self.engine, secrets = engine, folder / "secrets"
        secrets.mkdir()
        (secrets / "git").write_text(PASSWORD)
        (secrets / "web-token").write_text(TOKEN)
        (secrets / "webhook").write_text(SECRET)
        for file in secrets.iterdir():
            file.chmod(0o644)
        service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["reconciler"]
        options = [
            *(f"--tmpfs={path}" for path in service["tmpfs"]),
            *(f"--cap-drop={name}" for name in service["cap_drop"]),
            *(f"--security-opt={name}" for name in service["security_opt"]),
            *(["--read-only"] if service["read_only"] else []),
            "--health-interval=1s",
            "--publish=127.0.0.1::8383",
            f"--volume={secrets}:/run/secrets:ro",
        ]
        given = {k: v for k, v in service["environment"].items() if "$" not in v} | env
        options += [f"--env={name}={value}" for name, value in given.items()]
        self.id = engine.docker("run", "--detach", *options, image, *arguments).strip()

    def inspect(self):
        return json.loads(self.engine.docker("inspect", self.id))[0]

    def sh(self, script):
        return self.engine.docker("exec", self.id, "sh", "-c", script, check=False)

    @property
    def log(self):
        done = _run("docker", "--host", self.engine.url, "logs", self.id)
        return done.stdout + done.stderr

    @property
    def address(self):
        network = self.inspect()["NetworkSettings"]
        return network["IPAddress"] or next(iter(network["Networks"].values()))["IPAddress"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.docker("rm", "--force", "--volumes", self.id, check=False)


def test_the_image_reconciles_a_repository_read_only_and_without_root(
    image, dockerd, prefect3, tmp_path
):
    served = tmp_path / "served"
    served.mkdir()
    (tmp_path / "desk").mkdir()
    git = GitHttpServer(served, users={"git": PASSWORD})
    with git, Serving(prefect3, tmp_path / "desk", "", served / "shop.git") as desk:
        desk.declare(A="1")
        desk.push()
        with (
            Forward(dockerd.gateway, git.port),
            Forward(dockerd.gateway, prefect3.port),
            Container(
                dockerd,
                image,
                tmp_path,
                PREFECT_API_URL=f"http://{dockerd.gateway}:{prefect3.port}/api",
                RECONCILER_REPO=f"http://{dockerd.gateway}:{git.port}/shop.git",
            ) as container,
        ):
            with httpx.Client(base_url=f"http://{container.address}:8383") as http:
                _wait(lambda: desk.live == {"A": "1"}, container)
                _wait(lambda: _status(http)["resources"]["in_sync"] == 1, container)
                assert _status(http)["agent"] is not None
                page = http.get("/", headers={"Accept": "text/html"})
                assert "In sync" in page.text
            _wait(lambda: container.inspect()["State"]["Health"]["Status"] == "healthy", container)
            assert container.sh("id -u").strip() == "10001"
            assert "Read-only" in container.sh("touch /opt/x 2>&1; touch /home/reconciler/x 2>&1")
            assert container.sh("cat /proc/1/comm").strip() == "tini"
            assert "no module" in container.sh("python -m pip 2>&1").lower()
            began = time.monotonic()
            dockerd.docker("stop", "--time", "60", container.id)
            assert time.monotonic() - began < 50
            assert container.inspect()["State"]["ExitCode"] == 0, container.log
            for canary in (PASSWORD, TOKEN, SECRET):
                assert canary not in container.log


def test_the_image_is_small_and_has_the_command_line(image, dockerd):
    listed = json.loads(dockerd.docker("image", "inspect", image))[0]
    base = json.loads(dockerd.docker("image", "inspect", images.BUILDING))[0]
    assert listed["Size"] - base["Size"] < 150e6
    assert listed["Config"]["User"] == "10001:10001"
    said = dockerd.docker("run", "--rm", image, "version")
    assert said.startswith("reconciler ")


def _status(http):
    return http.get("/api/v1/status").json()


def _wait(check, container):
    def quiet():
        try:
            return check()
        except httpx.TransportError:
            return False

    try:
        seed.wait_until(quiet, seconds=60)
    except TimeoutError:
        raise AssertionError(container.log) from None


# -- deploy/ ---------------------------------------------------------------------------------------


def test_compose_gives_secrets_as_files_and_publishes_to_this_machine_only():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            assert "TOKEN" not in name or name.endswith("_FILE")
            assert "PASSWORD" not in name or name.endswith("_FILE"), value
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for secret in service.get("secrets", ()):
            assert secret in compose["secrets"]


def test_every_setting_in_deploy_is_one():
    known = {
        name
        for group in GROUPS
        for field in group.model_fields
        for name in settings.variables_of(group, field)
    }
    text = "\n".join(file.read_text() for file in DEPLOY.rglob("*") if file.is_file())
    used = set(re.findall(r"RECONCILER_[A-Z_]+", text))
    assert {name for name in used if name.removesuffix("_FILE") not in known} == set()


def test_the_unit_of_systemd_is_valid_and_confined(tmp_path):
    install("systemd-analyze", "systemd")
    text = (DEPLOY / "systemd" / "reconciler.service").read_text()
    unit = tmp_path / "reconciler.service"
    unit.write_text(text.replace("/opt/reconciler/bin/reconciler", "/bin/true"))
    analyze = program("systemd-analyze")
    done = _run(analyze, "verify", str(unit))
    assert (done.returncode, done.stderr.strip()) == (0, "")
    secure = _run(analyze, "security", "--offline=true", "--threshold=40", str(unit))
    assert secure.returncode == 0, secure.stdout[-300:]


def _run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)
