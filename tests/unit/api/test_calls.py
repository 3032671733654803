import json

import pytest

from reconciler.api.calls import Call, encode
from reconciler.model.values import Secret


def test_secrets_are_revealed_in_the_body_and_nowhere_else():
    content, hidden = encode(
        {"data": {"password": Secret("hunter2"), "list": [Secret({"a": "deep"})]}}
    )
    assert json.loads(content) == {"data": {"password": "hunter2", "list": [{"a": "deep"}]}}
    call = Call("POST", "/x", body=content, hidden=hidden)
    assert "hunter2" not in repr(call) + str(call)


def test_every_spelling_of_a_secret_is_cleaned_away():
    _, hidden = encode(Secret({"pem": 'line "one"\nline two', "n": [123456, True, None]}))
    call = Call("POST", "/x", hidden=hidden)
    for text in ('line "one"\nline two', '"line \\"one\\"\\nline two"', "at line two", "123456"):
        assert "one" not in call.clean(text)
        assert "two" not in call.clean(text)
        assert "123456" not in call.clean(text)


def test_a_secret_within_a_secret_is_found():
    content, hidden = encode(Secret([Secret("inner-secret")]))
    assert json.loads(content) == ["inner-secret"]
    assert "inner-secret" in hidden


def test_short_secrets_do_not_blacken_every_word():
    _, hidden = encode({"a": Secret("a"), "b": Secret(7)})
    assert hidden == ()


def test_no_body_is_no_body():
    assert encode(None) == (None, ())


def test_what_is_no_json_is_not_sent():
    with pytest.raises(ValueError):
        encode({"a": float("nan")})
