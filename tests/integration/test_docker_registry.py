"""Images from a registry that asks for a password: credentials, pull policies, the registry's words."""

from functools import partial

import pytest

from reconciler.infrastructure.base import NotStarted
from tests.integration.docker_bench import opened
from tests.testbed.registry import Registry

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def registry():
    with Registry() as made:
        yield made


@pytest.fixture
def bench(dockerd, tmp_path):
    return partial(opened, dockerd, tmp_path)


def login(registry, password=None):
    return {
        "username": registry.user,
        "password": password or registry.password,
        "registry_url": f"http://{registry.host}",
    }


@pytest.fixture
def private(registry, dockerd):
    """An image that only the registry has."""

    def push(name):
        image = registry.push(dockerd, "pybase:3.11", name)
        assert not dockerd.has_image(image)
        return image

    return push


async def test_the_blocks_credentials_pull_and_are_not_kept(bench, registry, private, dockerd):
    async with bench() as b:
        image = private("flows/etl:1")
        handle = await b.started(b.spec(image=image, image_registry=login(registry)))
        assert (await b.launcher.ended(handle)).exit_code == 0
        dockerd.docker("rmi", "--force", image)
        with pytest.raises(NotStarted, match="no basic auth credentials"):
            await b.launcher.create(b.spec(image=image))


async def test_a_wrong_password_is_said_with_the_registrys_words_and_not_shown(
    bench, registry, private
):
    async with bench() as b:
        image = private("flows/etl:2")
        wrong = login(registry, "canary")
        with pytest.raises(NotStarted, match=r"image .*etl:2") as told:
            await b.launcher.create(b.spec(image=image, image_registry=wrong))
        assert "canary" not in str(told.value)


async def test_a_missing_tag_is_said_with_the_registrys_words(bench, registry):
    async with bench() as b:
        image = registry.image("flows/etl:none")
        with pytest.raises(NotStarted, match=r"(manifest unknown|not found)"):
            await b.launcher.create(b.spec(image=image, image_registry=login(registry)))


@pytest.mark.parametrize(
    ("policy", "tag", "pulls"),
    [
        (None, "3", False),
        (None, "latest", True),
        ("ALWAYS", "4", True),
        ("IF_NOT_PRESENT", "latest", False),
        ("NEVER", "latest", False),
    ],
)
async def test_the_pull_policy_says_when_the_registry_is_asked(
    bench, registry, dockerd, policy, tag, pulls
):
    """The engine has another image of that name; the registry has none: a pull fails."""
    async with bench() as b:
        image = registry.image(f"flows/local:{tag}")
        dockerd.docker("tag", b.image, image)
        settings = {"image": image, "image_registry": login(registry)}
        if policy is not None:
            settings["image_pull_policy"] = policy
        if pulls:
            with pytest.raises(NotStarted):
                await b.launcher.create(b.spec(**settings))
        else:
            handle = await b.launcher.create(b.spec(**settings))
            await b.launcher.discard(handle)


async def test_never_pulling_names_an_image_that_the_engine_lacks(bench, registry):
    async with bench() as b:
        image = registry.image("flows/nowhere:1")
        with pytest.raises(NotStarted, match="nowhere:1"):
            await b.launcher.create(b.spec(image=image, image_pull_policy="NEVER"))
