import pytest

from reconciler import errors
from reconciler.api.answers import Answer, explanation, result
from reconciler.api.calls import Call
from tests.fakes.http import answer as http

GET = Call("GET", "/flows/1", read=True)
POST = Call("POST", "/flows/", repeatable=False)


def made(status, json_=None, **headers):
    response = http(status, json_, **headers)
    return Answer(status, dict(response.headers), response.content)


def error(status, json_=None, call=GET, **headers):
    with pytest.raises(errors.ReconcilerError) as caught:
        result(call, made(status, json_, **headers))
    return caught.value


def test_json_comes_back_and_an_empty_body_is_none():
    assert result(GET, made(200, [1])) == [1]
    assert result(Call("DELETE", "/flows/1"), made(204)) is None


@pytest.mark.parametrize("content", [b"", b"null", b" null\n"])
def test_an_empty_answer_to_a_question_is_none_of_prefects(content):
    with pytest.raises(errors.NotPrefect, match="the answer is empty"):
        result(GET, Answer(200, {}, content))


@pytest.mark.parametrize("content", [b"", b"default backend - 404", b"<html>no such host</html>"])
def test_a_gateways_404_proves_nothing_of_an_object(content):
    with pytest.raises(errors.NotPrefect):
        result(GET, Answer(404, {"content-type": "text/plain"}, content))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Rejected),
        (401, errors.Unauthorised),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.Rejected),
        (409, errors.Conflict),
        (422, errors.Rejected),
        (307, errors.NotPrefect),
        (499, errors.Rejected),
    ],
)
def test_each_status_has_its_error(status, kind):
    assert type(error(status, {"detail": "because"})) is kind


def test_a_conflict_on_a_create_means_that_it_exists():
    assert type(error(409, {"detail": "Block already exists"}, POST)) is errors.AlreadyExists


def test_an_error_names_request_and_reason():
    rejected = error(400, {"detail": "the sky is\n   falling"})
    assert str(rejected) == "GET /flows/1: the sky is falling (400)"
    assert rejected.detail == "the sky is falling"
    assert rejected.status == 400


def test_without_an_explanation_the_status_speaks():
    assert str(error(404, {})) == "GET /flows/1: Not Found"
    assert str(error(499)) == "GET /flows/1: status 499 (499)"


def test_a_list_of_problems_becomes_one_line():
    body = {
        "exception_message": "Invalid request received.",
        "exception_detail": [
            {"loc": ["body", "schedules", 0, "cron"], "msg": "Invalid cron", "input": "hush"},
            {"loc": ["body"], "msg": "Field required"},
        ],
        "request_body": {"password": "hush"},
    }
    rejected = error(422, body, POST)
    assert rejected.detail == "schedules.0.cron: Invalid cron; Field required"
    assert "hush" not in str(rejected)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b"<html>", ""),
        (b"[1]", ""),
        (b'{"detail": null}', ""),
        (b'{"detail": 3}', ""),
        (b'{"detail": {"message": "a", "inner": ["b", 1]}}', "message: a; inner: b"),
        (b'{"exception_message": "Internal Server Error"}', "Internal Server Error"),
        (b'{"detail": "' + b"x" * 2000 + b'"}', "x" * 600 + "…"),
        (b"[" * 100_000, ""),
    ],
    ids=lambda v: repr(v)[:24],
)
def test_explanations_of_any_shape_are_read(content, text):
    assert explanation(content) == text


def test_a_secret_of_the_request_is_taken_out_of_the_explanation():
    call = Call("POST", "/x", hidden=("hunter2hunter2",))
    rejected = error(400, {"detail": "'hunter2hunter2' is not of type 'integer'"}, call)
    assert "hunter2" not in str(rejected) + rejected.detail
    assert "is not of type 'integer'" in str(rejected)


@pytest.mark.parametrize("filler", range(570, 600, 7))
def test_a_secret_is_taken_out_before_the_explanation_is_cut(filler):
    call = Call("POST", "/x", hidden=("hunter2hunter2hunter2",))
    rejected = error(400, {"detail": "x" * filler + "hunter2hunter2hunter2" + "y" * 99}, call)
    assert "hun" not in str(rejected)


def test_a_secret_is_taken_out_before_white_space_is_joined():
    secret = "correct  horse\tbattery"
    rejected = error(
        400, {"detail": f"'{secret}' is too long"}, Call("POST", "/x", hidden=(secret,))
    )
    assert str(rejected) == "POST /x: '***' is too long (400)"


def test_a_redirect_shows_where_to_without_its_query():
    moved = error(302, location="https://login.example/sso?state=hush")
    assert "https://login.example/sso" in str(moved)
    assert "hush" not in str(moved)
    moved = error(302, location="https://me:hush@login.example/sso")
    assert "hush" not in str(moved)
    assert "/there" in str(error(307, location="/there"))
    assert "elsewhere" in str(error(307))


def test_a_web_page_is_no_prefect_api():
    page = Answer(200, {"content-type": "text/html; charset=utf-8"}, b"<html>")
    with pytest.raises(errors.NotPrefect, match="text/html"):
        result(GET, page)
    with pytest.raises(errors.NotPrefect, match="of no known type"):
        result(GET, Answer(200, {}, b"{"))


def test_a_forbidden_csrf_token_is_hinted_at():
    assert "CSRF" in (error(403, {"detail": "Missing CSRF token."}).hint or "")
    assert "permission" in (error(403, {"detail": "no"}).hint or "")
