"""The dashboard in a real browser, on a running service that knows all kinds of trouble.

`make screenshots` has this file write `docs/images/`.
"""

import os
from pathlib import Path

import pytest
import yaml

from tests.e2e.serving import BLOCK, KEY, TOKEN, Serving
from tests.testbed import seed
from tests.testbed.browser import DESKTOP, PHONE, chromium, window
from tests.testbed.git_http import GitHttpServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAGES = {
    "overview": "/",
    "resources": "/resources",
    "resource": f"/resources/{KEY}",
    "plan": "/plan",
    "applies": "/applies",
    "apply": "/applies/1",
    "drift": "/drift",
    "agent": "/agent",
    "signin": "/signin",
}
PICTURES = {
    ("overview", "light"),
    ("overview", "dark"),
    ("overview", "phone"),
    ("resources", "light"),
    ("resource", "dark"),
    ("plan", "light"),
    ("drift", "light"),
    ("agent", "dark"),
}
FLOWS = """\
import os, sys
from prefect import flow

@flow
def hello():
    print("hello")

@flow
def crash():
    print("no memory left for this one")
    sys.stdout.flush()
    os._exit(137)
"""


def deployment(name, **more):
    return {
        "kind": "Deployment",
        "flow_name": "etl",
        "name": name,
        "entrypoint": f"flows.py:{name}",
        "path": "$STORAGE_BASE_PATH",
        "infrastructure": "process/kept",
        "tags": ["shop"],
        **more,
    }


@pytest.fixture(autouse=True)
def plain_tracebacks(request):
    """Tell of failures without parsing source.

    Playwright's greenlets confuse the parser of Python 3.11 (a SystemError about recursion depth),
    and that would end the whole run.
    """
    option = request.config.option
    before, option.tbstyle = option.tbstyle, "native"
    yield
    option.tbstyle = before


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def serving(prefect3, tmp_path):
    bare = tmp_path / "served" / "shop.git"
    bare.parent.mkdir()
    git = GitHttpServer(bare.parent)
    with git, Serving(prefect3, tmp_path, git.url("shop.git"), bare) as made:
        made.env["RECONCILER_AGENT_PYTHON"] = str(prefect3.python)
        made.policy(drift="report")
        made.declare(A="1")
        made.work.put("flows.py", FLOWS)
        made.push()
        made.start(RECONCILER_DRIFT_SECONDS="1")
        yield made


@pytest.fixture
def troubled(serving):
    """Drift that lasts and drift that is gone, a hold, runs that completed and crashed."""
    documents = [{**BLOCK, "data": {"env": {"A": "1"}}}, {**BLOCK, "name": "kept", "data": {}}]
    documents += [deployment("hello"), deployment("crash", description="Uses much memory.")]
    documents += [{**BLOCK, "name": f"shop-{n}", "data": {"env": {"N": str(n)}}} for n in range(8)]
    serving.work.put("blocks.yaml", yaml.safe_dump_all(documents))
    serving.push()
    assert serving.hook().status_code == 202
    serving.until(lambda: serving.status["resources"]["in_sync"] == len(documents))
    serving.edit(A="for a moment")
    serving.until(lambda: serving.state() == "drifted")
    serving.edit(A="1")
    serving.until(lambda: serving.state() == "in_sync")
    with serving.server.client() as client:
        for name in ("hello", "crash"):
            found = seed.request(client, "GET", f"/deployments/name/etl/{name}")
            url = f"/deployments/{found['id']}/create_flow_run"
            seed.request(client, "POST", url, {"name": f"a-{name}", "state": {"type": "SCHEDULED"}})
    serving.until(lambda: [bool(r["ended"]) for r in serving.get("/runs")] == [True, True], 180)
    serving.edit(A="theirs", PASSWORD="also theirs")
    serving.until(lambda: serving.state() == "drifted")
    return serving


def base(serving):
    return str(serving.http.base_url).rstrip("/")


def sign_in(shown):
    shown.go("/signin")
    shown.page.fill("input[name=token]", TOKEN)
    shown.page.click("main button")
    shown.wait("Reconcile now")


def test_every_page_is_whole_accessible_and_without_complaints(troubled, browser):
    looks = {
        "light": {"color_scheme": "light", "viewport": DESKTOP},
        "dark": {"color_scheme": "dark", "viewport": DESKTOP},
        "phone": {"color_scheme": "light", "viewport": PHONE},
    }
    pictures = os.environ.get("RECONCILER_SCREENSHOTS")
    for look, options in looks.items():
        with window(browser, base(troubled), **options) as shown:
            for name, path in PAGES.items():
                shown.go(path)
                assert shown.page.locator("h1").count() == 1
                assert shown.barriers == [], (look, path)
                assert not shown.overflows, (look, path)
                if pictures and (name, look) in PICTURES:
                    file = Path(pictures) / f"{name}-{look}.png"
                    shown.page.screenshot(path=str(file), full_page=look == "phone")
            assert shown.complaints == []


def test_the_pages_tell_what_people_look_for(troubled, browser):
    with window(browser, base(troubled)) as shown:
        shown.go("/")
        assert "Drifted" in shown.text("h1")
        shown.page.click("text=drifted >> nth=0")
        shown.wait(KEY)
        shown.page.click(f"a.key:has-text('{KEY}')")
        text = shown.text()
        for words in ("theirs", "blocks.yaml:", "changed in the API", "gone"):
            assert words in text
        shown.go("/agent")
        text = shown.text()
        for words in ("a-hello", "completed", "a-crash", "crashed", "137"):
            assert words in text
        shown.go("/applies")
        shown.page.click("tbody a >> nth=0")
        assert "create" in shown.text()
        assert shown.complaints == []


def test_the_table_is_filtered_while_one_types(troubled, browser):
    with window(browser, base(troubled)) as shown:
        shown.go("/resources")
        shown.page.evaluate("window.kept = true")
        shown.page.keyboard.press("/")
        shown.page.keyboard.type("shop-3")
        shown.wait("1 of 12")
        assert "q=shop-3" in shown.page.url
        shown.page.fill("input[name=q]", "")
        shown.page.select_option("select[name=state]", "drifted")
        shown.wait(KEY)
        shown.wait("1 of 12")
        assert shown.page.evaluate("window.kept")  # the page was never loaded anew
        assert shown.complaints == []


RECORD = """() => {
  window.counts = [];
  const count = () => counts.push(document.querySelector("#found")?.innerText ?? "");
  new MutationObserver(count).observe(document.body, { childList: true, subtree: true });
}"""


def test_an_answer_that_comes_late_does_not_undo_a_filter(serving, browser):
    serving.until(lambda: serving.status["resources"]["in_sync"] == 1)
    with window(browser, base(serving)) as shown:
        shown.go("/resources")
        shown.wait("1 of 1")
        held = []

        def hold(route):
            held.append(route)

        shown.page.route(lambda url: url.endswith("/resources"), hold)
        shown.page.evaluate("void refresh()")
        while not held:
            shown.page.wait_for_timeout(20)
        shown.page.fill("input[name=q]", "of no resource")
        shown.wait("0 of 1")
        shown.page.evaluate(RECORD)
        with shown.page.expect_response(lambda answer: answer.url.endswith("/resources")):
            held[0].continue_()
        shown.page.wait_for_timeout(500)
        assert not [one for one in shown.page.evaluate("window.counts") if "1 of 1" in one]


def test_all_works_without_scripts(troubled, browser):
    with window(browser, base(troubled), java_script_enabled=False) as shown:
        shown.go("/resources")
        shown.page.fill("input[name=q]", "shop-3")
        shown.page.click("text=Filter")
        assert "1 of 12" in shown.page.locator("main").inner_text()
        shown.go("/signin")
        shown.page.fill("input[name=token]", TOKEN)
        shown.page.click("main button")
        shown.page.click("text=Suspend")
        assert "Reconciling is suspended" in shown.page.locator("main").inner_text()
        shown.page.click("text=Resume")
        assert "is suspended" not in shown.page.locator("main").inner_text()


def test_a_push_is_shown_without_loading_the_page_again(serving, browser):
    with window(browser, base(serving)) as shown:
        shown.go("/")
        shown.page.wait_for_selector("#live:visible")
        shown.page.evaluate("window.kept = true")
        serving.declare(A="2")
        head = serving.push()
        assert serving.hook().status_code == 202
        shown.wait(head[:12])
        assert shown.page.evaluate("window.kept")
        assert shown.complaints == []


def test_strangers_look_and_who_signed_in_acts(troubled, browser):
    with window(browser, base(troubled)) as stranger:
        for path in PAGES.values():
            stranger.go(path)
            assert stranger.page.locator("form[action^='/actions']").count() == 0
    with window(browser, base(troubled)) as shown:
        shown.go("/signin")
        shown.page.fill("input[name=token]", "guessed")
        shown.page.click("main button")
        shown.wait("That is not the token")
        shown.complaints.clear()  # the browser tells of the 403
        sign_in(shown)
        shown.page.click("text=Suspend")
        shown.wait("Reconciling is suspended")
        shown.page.click("text=Resume")
        shown.page.wait_for_function("!document.body.innerText.includes('is suspended')")
        shown.go(f"/resources/{KEY}")
        shown.page.click("text=Take git's values")
        shown.wait("in sync")
        assert troubled.live == {"A": "1"}
        shown.page.click("text=Sign out")
        shown.page.wait_for_selector("text=Sign in")
        assert shown.page.locator("form[action^='/actions']").count() == 0
        assert shown.complaints == []


def test_a_page_of_somebody_else_cannot_act(troubled, browser, tmp_path):
    with window(browser, base(troubled)) as shown:
        sign_in(shown)
        page = tmp_path / "evil.html"
        page.write_text(
            f"<form method=post action='{base(troubled)}/actions/suspend'><button>win</button></form>"
        )
        shown.page.goto(page.as_uri())
        shown.page.click("button")
        shown.page.wait_for_load_state()
    assert troubled.status["suspended"] is False


def test_a_keyboard_is_enough(troubled, browser):
    with window(browser, base(troubled)) as shown:
        shown.go("/")
        shown.page.keyboard.press("Tab")
        assert shown.page.evaluate("document.activeElement.className") == "skip"
        shown.page.keyboard.press("Enter")
        assert shown.page.evaluate("document.activeElement.id") == "main"
        shown.page.keyboard.press("Tab")
        assert shown.page.evaluate("document.activeElement.tagName") == "A"
        shown.page.click("#theme")
        first = shown.page.evaluate("document.documentElement.dataset.theme")
        shown.go("/plan")
        assert shown.page.evaluate("document.documentElement.dataset.theme") == first
