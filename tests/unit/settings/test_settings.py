from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.settings import (
    AgentSettings,
    ConnectionSettings,
    ServiceSettings,
    flow_run_environment,
    load,
    process_environment,
    variables_of,
)

GROUPS = [ConnectionSettings, AgentSettings, ServiceSettings]
FIELDS = [(group, field) for group in GROUPS for field in group.model_fields]


@pytest.fixture
def home(tmp_path):
    return {"HOME": str(tmp_path)}


def profiles(home, text):
    folder = Path(home["HOME"]) / ".prefect"
    folder.mkdir()
    (folder / "profiles.toml").write_text(text)
    return home


def revealed(secret):
    return None if secret is None else secret.get_secret_value()


def wrong(variables):
    with pytest.raises(UsageError) as caught:
        load(variables)
    return caught.value


def test_nothing_set_gives_the_defaults(home):
    settings = load(home)
    assert settings.connection.api_url is None
    assert settings.connection.timeout_seconds == 60
    assert settings.connection.deadline_seconds == 120
    assert settings.agent.pool == "default-agent-pool"
    assert settings.agent.limit is None
    assert str(settings.service.state_dir) == f"{home['HOME']}/.local/state/reconciler"
    assert settings.agent.state_dir == settings.service.state_dir / "agent"


def test_settings_made_by_hand_need_no_environment():
    made = ConnectionSettings.to("http://127.0.0.1:4200/api/", api_key="k")
    assert made.api_url == "http://127.0.0.1:4200/api"
    assert revealed(made.api_key) == "k"
    assert ServiceSettings().state_dir.name == "reconciler"
    assert AgentSettings().state_dir.name == "agent"


def test_by_default_this_process_is_read(monkeypatch, home):
    for name in process_environment():
        if name.startswith(("PREFECT_", "RECONCILER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", home["HOME"])
    monkeypatch.setenv("RECONCILER_API_URL", "http://here/api")
    assert load().connection.api_url == "http://here/api"


def test_only_the_given_variables_count(monkeypatch, home):
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    assert load(home).connection.api_url is None


def test_our_variable_wins_over_prefects(home):
    settings = load(
        home | {"PREFECT_API_URL": "http://b/api", "RECONCILER_API_URL": "http://a/api"}
    )
    assert settings.connection.api_url == "http://a/api"


def test_all_of_prefects_connection_variables_are_read(home):
    connection = load(
        home
        | {
            "PREFECT_API_URL": "https://h/api",
            "PREFECT_API_KEY": "pnu_1",
            "PREFECT_API_AUTH_STRING": "a:b",
            "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-A": "1"}',
            "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
            "SSL_CERT_FILE": "/etc/ca.pem",
            "PREFECT_API_REQUEST_TIMEOUT": "9.5",
            "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
            "PREFECT_API_ENABLE_HTTP2": "true",
        }
    ).connection
    assert revealed(connection.api_key) == "pnu_1"
    assert revealed(connection.auth_string) == "a:b"
    assert revealed(connection.custom_headers["X-A"]) == "1"
    assert connection.tls_insecure
    assert str(connection.ca_file) == "/etc/ca.pem"
    assert connection.timeout_seconds == 9.5
    assert not connection.csrf


def test_an_empty_variable_counts_as_unset(home):
    assert load(home | {"PREFECT_API_URL": "", "RECONCILER_AGENT_LIMIT": ""}).agent.limit is None


def test_agent_and_service_have_variables_of_their_own(home):
    settings = load(
        home
        | {
            "RECONCILER_AGENT_NAME": "blue",
            "RECONCILER_AGENT_QUEUES": '["a", "b"]',
            "RECONCILER_AGENT_LIMIT": "3",
            "RECONCILER_STATE_DIR": "/var/lib/r",
            "RECONCILER_LOG_LEVEL": "DEBUG",
            "RECONCILER_LOG_FORMAT": "Json",
            "NO_COLOR": "0",
        }
    )
    assert (settings.agent.name, settings.agent.queues, settings.agent.limit) == (
        "blue",
        ("a", "b"),
        3,
    )
    assert str(settings.agent.state_dir) == "/var/lib/r/agent"
    assert (settings.service.log_level, settings.service.log_format) == ("debug", "json")
    assert settings.service.no_color  # any value counts


def test_xdg_state_home_is_kept(home):
    assert str(load(home | {"XDG_STATE_HOME": "/x"}).service.state_dir) == "/x/reconciler"


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("PREFECT_API_URL", "ftp://x", "http"),
        ("RECONCILER_API_URL", "localhost:4200", "http"),
        ("PREFECT_API_URL", "http://u:hush@h/api", "AUTH_STRING"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", "hush", "JSON"),
        ("RECONCILER_API_HEADERS", '["hush"]', "dict"),
        ("PREFECT_API_REQUEST_TIMEOUT", "soon", "number"),
        ("RECONCILER_API_CSRF", "perhaps", "boolean"),
        ("RECONCILER_AGENT_LIMIT", "0", "greater"),
        ("RECONCILER_AGENT_IMAGE_PYTHON_VERSION", "2.7", "match"),
        ("RECONCILER_LOG_LEVEL", "loud", "'debug'"),
    ],
)
def test_a_wrong_value_names_its_variable_and_never_itself(home, variable, value, text):
    error = wrong(home | {variable: value})
    assert str(error).startswith(f"{variable}: ")
    assert text in str(error)
    assert error.hint
    assert "hush" not in str(error) + repr(error.__cause__)


@pytest.mark.parametrize(
    "name",
    ["RECONCILER_API_KEY", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "RECONCILER_API_HEADERS"],
)
def test_each_secret_can_stand_in_a_file(home, tmp_path, name):
    file = tmp_path / "secret"
    file.write_text('{"X": "y"}\n')
    connection = load(home | {f"{name}_FILE": str(file)}).connection
    found = (connection.api_key, connection.auth_string, *connection.custom_headers.values())
    assert [revealed(secret) for secret in found if secret] in (['{"X": "y"}'], ["y"])


def test_a_secret_given_twice_is_an_error(home, tmp_path):
    assert "both set" in str(
        wrong(home | {"PREFECT_API_KEY": "k", "PREFECT_API_KEY_FILE": str(tmp_path / "x")})
    )


def test_a_secret_file_that_cannot_be_read_is_named(home, tmp_path):
    assert "No such file" in str(wrong(home | {"PREFECT_API_KEY_FILE": str(tmp_path / "x")}))
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    assert "UTF-8" in str(wrong(home | {"PREFECT_API_KEY_FILE": str(tmp_path / "b")}))


PROFILES = """
active = "work"
[profiles.work]
PREFECT_API_URL = "http://office/api"
PREFECT_API_KEY = "pnu_work"
PREFECT_API_REQUEST_TIMEOUT = 30
PREFECT_CLIENT_CUSTOM_HEADERS = {X-A = "1"}
[profiles.home]
PREFECT_API_URL = "http://home/api"
"""


def test_the_active_profile_is_the_last_resort(home):
    connection = load(profiles(home, PROFILES)).connection
    assert connection.api_url == "http://office/api"
    assert revealed(connection.api_key) == "pnu_work"
    assert connection.timeout_seconds == 30
    assert revealed(connection.custom_headers["X-A"]) == "1"


def test_a_profile_can_be_chosen(home):
    chosen = load(profiles(home, PROFILES) | {"PREFECT_PROFILE": "home"})
    assert chosen.connection.api_url == "http://home/api"


def test_a_profile_that_does_not_exist_is_an_error(home):
    error = wrong(profiles(home, PROFILES) | {"PREFECT_PROFILE": "nope"})
    assert "nope" in str(error)
    assert "home, work" in (error.hint or "")


@pytest.mark.parametrize("variable", ["PREFECT_PROFILES_PATH", "PREFECT_HOME"])
def test_profiles_may_lie_elsewhere(home, tmp_path, variable):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "profiles.toml").write_text(PROFILES)
    place = folder if variable == "PREFECT_HOME" else folder / "profiles.toml"
    assert load(home | {variable: str(place)}).connection.api_url == "http://office/api"


def test_a_broken_profiles_file_is_named(home):
    assert "profiles.toml" in str(wrong(profiles(home, "active = ")))


@pytest.mark.parametrize("text", ["", 'active = "gone"', "[profiles.x]\n"])
def test_profiles_without_an_active_one_say_nothing(home, text):
    assert load(profiles(home, text)).connection.api_url is None


def test_a_profiles_credentials_go_to_its_own_server_only(home):
    connection = load(profiles(home, PROFILES) | {"PREFECT_API_URL": "http://other/api"}).connection
    assert connection.api_key is None
    assert connection.custom_headers == {}
    same = load(home | {"PREFECT_API_URL": "http://office/api/"}).connection
    assert revealed(same.api_key) == "pnu_work"


def test_credentials_of_the_environment_replace_a_profiles(home):
    text = '[profiles.a]\nPREFECT_API_URL = "http://a/api"\nPREFECT_API_AUTH_STRING = "old:pw"\n'
    found = load(profiles(home, f'active = "a"\n{text}') | {"PREFECT_API_KEY": "k"}).connection
    assert revealed(found.api_key) == "k"
    assert found.auth_string is None


def test_nothing_prints_a_secret(home):
    settings = load(
        home
        | {
            "PREFECT_API_KEY": "hush",
            "PREFECT_API_AUTH_STRING": "a:hush",
            "RECONCILER_API_HEADERS": '{"A": "hush"}',
        }
    )
    assert "hush" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_what_a_flow_run_must_not_see_stays_behind():
    environ = {
        "PATH": "/bin",
        "PREFECT_API_URL": "http://h/api",
        "RECONCILER_SECRET_DB": "hush",
        "RECONCILER_API_KEY": "hush",
        "TEAM_SECRET_X": "hush",
        "GIT_ASKPASS": "hush",
        "GITHUB_TOKEN": "hush",
        "SSH_AUTH_SOCK": "hush",
        "GIT_CONFIG_VALUE_0": "hush",
        "GIT_AUTHOR_NAME": "ann",
    }
    assert flow_run_environment(environ, withheld=("TEAM_SECRET_", "")) == {
        "PATH": "/bin",
        "PREFECT_API_URL": "http://h/api",
        "GIT_AUTHOR_NAME": "ann",
    }


@pytest.mark.parametrize(("group", "field"), FIELDS, ids=str)
def test_every_setting_explains_itself_and_has_a_variable(group, field):
    assert (group.model_fields[field].description or "").endswith(".")
    first, *_ = variables_of(group, field)
    assert first.startswith("RECONCILER_") or first == "NO_COLOR"


def test_a_key_copied_with_its_line_end_is_taken_without_it(home):
    settings = load(home | {"PREFECT_API_KEY": " pnu_abc\r\n"})
    assert revealed(settings.connection.api_key) == "pnu_abc"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PREFECT_API_KEY", "pnu_s3cr\n3t"),
        ("PREFECT_API_KEY", "pnu_s3cr3tü"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X-A": "s3cr3t\\nHost: x"}'),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X-A": "s3cr3tü"}'),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"a b": "s3cr3t"}'),
    ],
)
def test_what_no_header_can_hold_is_refused_without_showing_it(home, variable, value):
    error = wrong(home | {variable: value})
    assert variable in str(error)
    assert "s3cr" not in f"{error} {error.hint}"


@pytest.mark.parametrize("port", ["99999", "0", "-1", "x"])
def test_an_impossible_port_is_refused(home, port):
    assert "PREFECT_API_URL" in str(wrong(home | {"PREFECT_API_URL": f"http://h:{port}/api"}))


def test_a_home_that_is_no_folder_has_no_profiles(tmp_path):
    (tmp_path / "home").write_text("")
    assert load({"HOME": str(tmp_path / "home")}).connection.api_url is None
