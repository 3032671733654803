"""A Docker engine in memory, as far as the clouds of the test bed see it (`tests.testbed.containers`)."""

import itertools
import json
import threading


class Container:
    """One container; `ended` is set when it has ended."""

    def __init__(self, image, command, env):
        self.image, self.command, self.env = image, command, env
        self.started, self.ended = threading.Event(), threading.Event()
        self.code, self.lines = None, []

    def end(self, code, lines=()):
        self.code = self.code if self.code is not None else code
        self.lines += lines
        self.ended.set()


class FakeEngine:
    """Containers run until a test ends them.

    Attributes:
        images: those that it has.
        made: all containers that were made, in order.
    """

    def __init__(self, *images):
        self.images = set(images)
        self.made = []
        self._numbers = itertools.count()
        self._containers = {}

    def container(self, run_id):
        """Return the container of a run that was made once."""
        [found] = [one for one in self.made if one.env["PREFECT__FLOW_RUN_ID"] == run_id]
        return found

    def end(self, run_id, code=0, *lines):
        """Let a run's container end, once it runs."""
        container = self.container(run_id)
        assert container.started.wait(10)
        container.end(code, lines)

    def has_image(self, name):
        return name in self.images

    def docker(self, command, *arguments, check=True):
        if command == "create":
            return self._create(list(arguments))
        name = arguments[-1]
        container = self._containers.get(name)
        if container is None:
            return ""
        if command == "start":
            container.started.set()
        elif command == "wait":
            container.ended.wait(30)
        elif command == "stop":
            container.end(137)
        elif command == "rm":
            container.end(137)
            del self._containers[name]
        return self._told(command, container)

    def _told(self, command, container):
        if command == "logs":
            return "".join(f"{line}\n" for line in container.lines)
        if command == "inspect":
            return json.dumps([{"State": {"ExitCode": container.code}}])
        return ""

    def _create(self, arguments):
        env, program, rest = {}, "", []
        while arguments:
            word = arguments.pop(0)
            if word == "--env":
                name, _, value = arguments.pop(0).partition("=")
                env[name] = value
            elif word == "--entrypoint":
                program = arguments.pop(0)
            elif word.startswith("--"):
                arguments.pop(0)
            else:
                rest = [word, *arguments]
                break
        image, *command = rest
        name = f"container-{next(self._numbers)}"
        self._containers[name] = Container(image, [program, *command], env)
        self.made.append(self._containers[name])
        return name
