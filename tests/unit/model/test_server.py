import pytest

from reconciler.model.server import ServerFacts, Version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.8.8", Version(3, 8, 8)),
        ("2.20.26", Version(2, 20, 26)),
        ("3.9.0rc1", Version(3, 9, 0)),
        ("3.8.8+12.gabcdef", Version(3, 8, 8)),
        ("4", Version(4, 0, 0)),
        ("what", Version(0, 0, 0)),
    ],
)
def test_versions_are_read_however_they_are_written(text, version):
    assert Version.parse(text) == version


def test_a_server_says_what_it_is():
    two = ServerFacts(Version(2, 20, 26), "http://x/api")
    assert two.is_v2
    assert str(two) == "Prefect 2.20.26"
    assert str(ServerFacts(Version(3), "http://x/api", cloud=True)) == "Prefect Cloud"
