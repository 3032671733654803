"""What we know of the server that we talk to."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Version:
    """A Prefect version, as far as behaviour depends on it."""

    major: int
    minor: int = 0
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Read `3.8.8`, `2.20.26`, `3.9.0rc1`, `3.8.8+12.gabc`; what can't be read counts as 0."""
        numbers = []
        for part in text.split("+", maxsplit=1)[0].split(".")[:3]:
            digits = "".join(
                c for i, c in enumerate(part) if c.isdigit() and part[:i].isdigit() | (i == 0)
            )
            numbers.append(int(digits or 0))
        return cls(*([*numbers, 0, 0, 0])[:3])

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server, as the planner needs to know it.

    Attributes:
        version: Prefect's version, from `GET /admin/version` (Cloud: taken as 3).
        cloud: whether it is Prefect Cloud.
        automations: whether it answers on `/automations` (2.20: only with two experimental settings).
        url: the API's address, without credentials.
    """

    version: Version
    url: str
    cloud: bool = False
    automations: bool = True

    @property
    def is_v2(self) -> bool:
        """Whether it behaves as 2.20 does."""
        return self.version.major == 2  # noqa: PLR2004

    def __str__(self) -> str:
        return "Prefect Cloud" if self.cloud else f"Prefect {self.version}"
