"""A real image registry that asks for a password, by Debian's docker-registry.

    with Registry() as registry:
        registry.push(engine, images.PYBASE, "flows/etl:1")
        ... registry.image("flows/etl:1"), registry.user, registry.password ...

It listens on 127.0.0.1, which Docker engines trust without TLS.
"""

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import httpx

from tests.testbed.dockerd import Dockerd
from tests.testbed.packages import PATH, install, program
from tests.testbed.ports import free_port

_START_SECONDS = 30.0
_CONFIG = """version: 0.1
log: {level: error}
storage:
  filesystem: {rootdirectory: FOLDER/images}
http: {addr: "127.0.0.1:PORT"}
auth:
  htpasswd: {realm: test, path: FOLDER/users}
"""


class Registry:
    """See the module's text.

    Attributes:
        host: `127.0.0.1:1234`.
        user, password: who may push and pull.
    """

    user, password = "bob", "s3cret-of-bob"

    def __enter__(self) -> Self:
        install("docker-registry", "docker-registry")
        install("htpasswd", "apache2-utils")
        self._folder = tempfile.TemporaryDirectory(prefix="rreg-")
        folder = Path(self._folder.name)
        self.host = f"127.0.0.1:{free_port()}"
        users = [program("htpasswd"), "-Bbc", str(folder / "users"), self.user, self.password]
        subprocess.run(users, check=True, capture_output=True)
        port = self.host.rpartition(":")[2]
        config = _CONFIG.replace("FOLDER", str(folder)).replace("PORT", port)
        (folder / "config.yml").write_text(config)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program("docker-registry"), "serve", str(folder / "config.yml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": PATH},
            )
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError(f"the registry did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def image(self, name: str) -> str:
        """Return the reference of an image in this registry."""
        return f"{self.host}/{name}"

    def push(self, engine: Dockerd, local: str, name: str) -> str:
        """Push an image that the engine has; the engine forgets the login again."""
        image = self.image(name)
        engine.docker("tag", local, image)
        engine.docker("login", "-u", self.user, "-p", self.password, self.host)
        try:
            engine.docker("push", image)
        finally:
            engine.docker("logout", self.host)
            engine.docker("rmi", image)
        return image

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://{self.host}/v2/", trust_env=False).status_code == 401
        except httpx.HTTPError:
            return False
