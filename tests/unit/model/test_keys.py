import pytest

from reconciler.model.keys import Key


def test_a_key_reads_back_as_it_is_written():
    key = Key.of("block", "docker-container", "etl")
    assert Key.parse(str(key)) == key
    assert key.name == "etl"


@pytest.mark.parametrize("text", ["", "block", "block/", "/x", "block//x"])
def test_what_names_no_resource_is_refused(text):
    with pytest.raises(ValueError, match="not a key"):
        Key.parse(text)


def test_globs_select_keys():
    key = Key.of("deployment", "etl", "nightly")
    assert key.matches("deployment/etl/*")
    assert key.matches("deployment/*")
    assert not key.matches("block/*")


def test_a_key_written_out_names_itself_whatever_its_name_holds():
    key = Key.of("deployment", "etl", "nightly [prod]")
    assert key.matches(str(key))
    assert not key.matches("deployment/etl/nightly p")
