"""Where settings come from, which one wins, and how a wrong one is refused."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.config import Settings
from app.environment import KEYS, BadSettings, load, rust_log_level
from tests.support.receivers import Certificate

EXAMPLE = Path(__file__).parents[2] / "deploy" / "config.example.yaml"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SEEDS_CONFIG = """
instance_id: "standalone-001"
storage: {type: "postgresql", connection_string: "postgresql://localhost/incidents", pool_size: 20}
ml: {enabled: true, confidence_threshold: 0.7, model_path: "./models", auto_train: true, training_batch_size: 100}
enrichment:
  {enabled: true, enable_historical: true, enable_service: true, enable_team: true, timeout_secs: 10,
   cache_ttl_secs: 300, async_enrichment: true, max_concurrent: 5, similarity_threshold: 0.5}
correlation:
  {enabled: true, time_window_secs: 300, min_incidents: 2, max_group_size: 50, enable_source: true,
   enable_type: true, enable_similarity: true, enable_tags: true, enable_service: true}
escalation: {enabled: true, default_timeout_secs: 300}
deduplication: {window_secs: 900, fingerprint_enabled: true}
notifications:
  channels:
    - {type: "email", enabled: true}
    - {type: "slack", enabled: true, webhook_url: "https://hooks.slack.com/services/T/B/X"}
    - {type: "pagerduty", enabled: true, integration_key: "0123456789abcdef"}
"""
ISSUER = "issuer: 'https://i.example', audience: a"
SEEDS_VARIABLES = {
    "DATABASE_URL": "postgresql://user:pass@localhost/incident_manager",
    "DATABASE_POOL_SIZE": "20",
    "REDIS_URL": "redis://localhost:6379",
    "API_HOST": "0.0.0.0",
    "API_PORT": "3000",
    "GRPC_HOST": "0.0.0.0",
    "GRPC_PORT": "50051",
    "ENABLE_ML_CLASSIFICATION": "true",
    "ENABLE_ENRICHMENT": "true",
    "ENABLE_CORRELATION": "true",
    "ENABLE_ESCALATION": "true",
    "RUST_LOG": "info,llm_incident_manager=debug",
}


def written(folder: Path, text: str) -> dict[str, str]:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return {"CONFIG_PATH": str(path)}


def refusal(environ: dict[str, str]) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        load(environ)
    return refused.value.mistakes


def test_nothing_set_is_the_embedded_stack_on_loopback() -> None:
    settings = load({})
    assert settings == Settings()
    assert settings.embedded_database
    assert settings.embedded_temporal
    assert settings.server.loopback
    assert settings.unused() == []


def test_each_source_overrules_the_one_before(tmp_path: Path) -> None:
    file = written(tmp_path, "storage: {pool_size: 2}\nserver: {http_port: 8002}")
    plain = {"DATABASE_POOL_SIZE": "3"}
    prefixed = {"LLM_IM__STORAGE__POOL_SIZE": "4"}
    assert load({}).storage.pool_size == 20
    assert load(file).storage.pool_size == 2
    assert load(file | plain).storage.pool_size == 3
    assert load(file | plain | prefixed).storage.pool_size == 4
    assert load(file | plain | prefixed).server.http_port == 8002


def test_the_seeds_config_file_is_taken_as_it_is(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SEEDS_CONFIG))
    assert settings.deduplication.window_secs == 900
    assert not settings.embedded_database
    assert settings.unused() == ["ml.model_path"]
    assert settings.notifications.webhook_of("slack") is not None
    assert settings.notifications.integration_key is not None


def test_the_seeds_older_names_of_deduplication_still_count(tmp_path: Path) -> None:
    file = written(tmp_path, "processing: {deduplication_window_secs: 60}")
    assert load(file).deduplication.window_secs == 60
    assert load(file | {"LLM_IM__PROCESSING__DEDUPLICATION_WINDOW_SECS": "61"}).deduplication.window_secs == 61


def test_the_seeds_variables_are_taken_as_they_are() -> None:
    settings = load(SEEDS_VARIABLES)
    assert (settings.server.host, settings.server.api_port) == ("0.0.0.0", 3000)
    assert not settings.server.loopback
    assert settings.observability.log_level == "debug"
    assert (settings.server.grpc_host, settings.server.grpc_port) == ("0.0.0.0", 50051)
    assert settings.unused() == []


def test_the_example_file_says_the_defaults(tmp_path: Path) -> None:
    settings = load({"CONFIG_PATH": str(EXAMPLE)})
    assert settings.unused() == []
    channels = settings.notifications.channels
    assert all(channel.enabled for channel in channels)
    notifications = settings.notifications.model_copy(update={"channels": ()})
    assert settings.model_copy(update={"notifications": notifications}) == Settings()


def test_every_commented_key_of_the_example_file_exists(tmp_path: Path) -> None:
    certificate = Certificate.made(tmp_path).path
    text = re.sub(r"(?m)^( +)# (\w+: )", r"\1\2", EXAMPLE.read_text("utf-8"))
    text = re.sub(r"/etc/(temporal|incidents)/\w+\.\w+", str(certificate), text)
    settings = load(written(tmp_path, text))
    assert settings.temporal.address == "temporal.example.com:7233"
    assert settings.notifications.smtp.username == "incidents"


def test_memory_is_an_embedded_database_that_is_gone_at_exit() -> None:
    for environ in ({"DATABASE_URL": "memory://"}, {"LLM_IM__STORAGE__TYPE": "memory"}):
        settings = load(environ)
        assert settings.embedded_database
        assert settings.storage.in_memory


def test_lists_come_as_json_or_with_commas() -> None:
    for text in ('["10.0.0.0/8", "fd00::/8"]', "10.0.0.0/8, fd00::/8"):
        networks = load({"LLM_IM__NET__ALLOW_NETWORKS": text}).net.allow_networks
        assert [str(network) for network in networks or ()] == ["10.0.0.0/8", "fd00::/8"]
    assert load({"LLM_IM__NET__ALLOW_NETWORKS": "[]"}).net.allow_networks == ()
    assert load({}).net.allow_networks is None


def test_of_a_detector_of_which_one_thing_is_said_the_rest_stays() -> None:
    said = load({"LLM_IM__DETECTORS__EVALUATIONS__SHARE": "0.2", "LLM_IM__DETECTORS__ERRORS__LEAST": "50"}).detectors
    usual = Settings().detectors
    assert said.evaluations == usual.evaluations.model_copy(update={"share": 0.2})
    assert said.errors == usual.errors.model_copy(update={"least": 50})


def test_an_empty_variable_is_not_set() -> None:
    assert load({"DATABASE_URL": "", "LLM_IM__SERVER__HTTP_PORT": "", "CONFIG_PATH": "", "RUST_LOG": ""}) == Settings()


def test_a_channel_is_on_until_it_is_switched_off(tmp_path: Path) -> None:
    listed = load(written(tmp_path, "notifications: {channels: [{type: email, enabled: false}]}")).notifications
    assert not listed.enabled("email")
    assert listed.enabled("webhook")


@pytest.mark.parametrize(
    ("directives", "level"),
    [
        ("info,llm_incident_manager=debug", "debug"),
        ("debug,llm_incident_manager=info", "debug"),
        ("warn", "warning"),
        ("TRACE", "debug"),
        ("off", "error"),
        ("llm_incident_manager", "debug"),
        ("hyper=trace,llm_incident_manager::api=warn", "warning"),
        ("hyper=trace", None),
        ("info,hyper=loud", "info,hyper=loud"),
    ],
)
def test_rust_log_gives_the_most_verbose_level_for_this_program(directives: str, level: str | None) -> None:
    assert rust_log_level(directives) == level


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"LLM_IM__SERVER__HTTP_PORT": "eighty"}, "LLM_IM__SERVER__HTTP_PORT = 'eighty': should be a valid integer"),
        ({"LLM_IM__SERVER__HTTP_PORT": "65536"}, "= '65536': should be less than or equal to 65535"),
        ({"LLM_IM__SERVER__HTTP_PROT": "1"}, "LLM_IM__SERVER__HTTP_PROT: unknown key; server has host, http_port"),
        ({"LLM_IM__NOTIFICATIONS__SMTP__PROT": "1"}, "unknown key; notifications.smtp has host, port"),
        (
            {"LLM_IM__SEVER__HOST": "x"},
            "LLM_IM__SEVER__HOST: unknown key; the top level has instance_id, doc",
        ),
        ({"LLM_IM__SERVER__HOST__NAME": "x"}, "LLM_IM__SERVER__HOST__NAME: unknown key; server has host"),
        ({"LLM_IM__SERVER": "x"}, "LLM_IM__SERVER: is a section; its keys are host"),
        ({"API_PORT": "-1"}, "API_PORT = '-1': should be greater than or equal to 0"),
        ({"API_PORT": "9090"}, "API_PORT: metrics_port and api_port are both 9090: each needs its own."),
        ({"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL: must begin with postgresql:// or be memory://"),
        ({"REDIS_URL": "http://h"}, "REDIS_URL: must begin with redis://, rediss:// or unix://"),
        ({"DATABASE_POOL_SIZE": "0"}, "DATABASE_POOL_SIZE = '0': should be greater than or equal to 1"),
        ({"ENABLE_ESCALATION": "perhaps"}, "ENABLE_ESCALATION = 'perhaps': should be a valid boolean"),
        ({"RUST_LOG": "loud"}, "RUST_LOG = 'loud': should be 'debug', 'info', 'warning' or 'error'"),
        ({"TEMPORAL_ADDRESS": "https://h:7233"}, "TEMPORAL_ADDRESS = 'https://h:7233': String should match"),
        ({"TEMPORAL_TLS_CLIENT_CERT_PATH": __file__}, "tls_client_cert_path and tls_client_key_path need each other"),
        ({"LLM_IM__SERVER__GRPC_TLS_KEY_PATH": __file__}, "grpc_tls_cert_path and grpc_tls_key_path need each other"),
        ({"LLM_IM__SERVER__GRPC_TLS_CLIENT_CA_PATH": __file__}, "grpc_tls_client_ca_path needs grpc_tls_cert_path"),
        ({"LLM_IM__SERVER__GRPC_CLIENT_ROLES": '{"a": "viewer"}'}, "grpc_client_roles needs grpc_tls_client_ca_path"),
        ({"GRPC_PORT": "8080"}, "http_port and grpc_port are both 8080: each needs its own"),
        ({"SMTP_USERNAME": "me"}, "SMTP_USERNAME: username and password need each other"),
        ({"LLM_IM__NET__ALLOW_NETWORKS": "10.0.0.1/8"}, "LLM_IM__NET__ALLOW_NETWORKS[0] = '10.0.0.1/8': value is not"),
        ({"LLM_IM__NOTIFICATIONS__WEBHOOK__SECRETS": "whsec_c2hvcnQ="}, "SECRETS[0]: must be whsec_ followed by"),
        ({"LLM_IM__DEDUPLICATION__WINDOW_SECS": "nan"}, "LLM_IM__DEDUPLICATION__WINDOW_SECS = 'nan': should be"),
        ({"LLM_IM__NOTIFICATIONS__SMTP__SENDER": "a@b\r\nBcc: c@d"}, "SENDER = 'a@b\\r\\nBcc: c@d': String should"),
    ],
)
def test_a_refusal_names_key_value_and_what_is_allowed(environ: dict[str, str], told: str) -> None:
    (mistake,) = refusal(environ)
    assert told in mistake


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server: {http_prot: 1}", "server.http_prot: unknown key; server has"),
        ("server: 8080", "server: is a section; its keys are host"),
        ("sever:", "sever: unknown key; the top level has"),
        ("server: {http_port: eighty}", "server.http_port = 'eighty': should be a valid integer"),
        ("notifications: {channels: [{type: pigeon}]}", "channels[0].type = 'pigeon': should be 'email', 'webhook'"),
        ("notifications: {channels: [{type: email, uri: x}]}", "[0].uri: unknown key; notifications.channels has"),
        ("notifications: {channels: {type: email}}", "should be a valid tuple"),
        (f"auth: {{issuers: [{{{ISSUER}, secret: {'x' * 31}}}]}}", "issuers[0].secret: must be at least 32 bytes"),
        (f"auth: {{issuers: [{{{ISSUER}, secret: {'x' * 32}, algorithms: [RS256]}}]}}", "HS256 goes with a secret"),
        (f"auth: {{issuers: [{{{ISSUER}, algorithms: [HS256]}}]}}", "HS256 goes with a secret only"),
        (f"auth: {{issuers: [{{{ISSUER}, algorithms: [none]}}]}}", "should be 'HS256', 'RS256' or 'ES256'"),
        (f"auth: {{issuers: [{{{ISSUER}, jwks_url: 'http://i.example/keys'}}]}}", "jwks_url must begin with https://"),
        ("auth: {issuers: [{issuer: i, audience: a}]}", "issuer must begin with https://"),
        (f"auth: {{issuers: [{{{ISSUER}}}, {{{ISSUER}}}]}}", "https://i.example is there twice"),
        (f"auth: {{issuers: [{{{ISSUER}, roles: {{x: boss}}}}]}}", "should be 'ingest', 'viewer', 'responder' or"),
        ("server: {cors_origins: ['https://a.example/path']}", "cors_origins[0] = 'https://a.example/path': Str"),
        ("server: {cors_origins: ['https://*.example']}", "String should match"),
        ("rate_limits: {viewer_per_minute: -1}", "rate_limits.viewer_per_minute = -1: should be greater"),
        ("deduplication: {quiet_resolves_secs: {litellm/cost.budgets: 60}}", "litellm/cost.budgets: there is no class"),
        ("deduplication: {quiet_resolves_secs: {/cost.budget: 60}}", "/cost.budget: names no source"),
        ("deduplication: {quiet_resolves_secs: {litellm: 0}}", "quiet_resolves_secs.litellm: should be greater"),
        ("storage: {type: memory, connection_string: 'postgresql://h/d'}", "storage.connection_string: type is memory"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named_with_the_file(tmp_path: Path, text: str, told: str) -> None:
    (mistake,) = refusal(written(tmp_path, text))
    assert mistake.startswith(f"{tmp_path / 'config.yaml'}: ")
    assert told in mistake


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: [", "is not YAML in line 1, column 5"),
        (b"\xff\xfe\xfa", "is not UTF-8 text"),
        (b"- a", "must hold sections"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    (mistake,) = refusal({"CONFIG_PATH": str(path)})
    assert mistake.startswith(f"CONFIG_PATH = '{path}': ")
    assert told in mistake


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    (mistake,) = refusal({"CONFIG_PATH": str(tmp_path / "none.yaml")})
    assert "none.yaml': No such file or directory" in mistake


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    environ = written(tmp_path, "sever: {}\nstorage: {pool_size: many}")
    mistakes = refusal(environ | {"API_PORT": "x", "LLM_IM__NET__ALLOW": "x", "LLM_IM__STACK__MAIL_PORT": "0"})
    assert len(mistakes) == 5
    (broken_file, port) = refusal({"CONFIG_PATH": str(tmp_path), "API_PORT": "x"})
    assert "Is a directory" in broken_file
    assert port.startswith("API_PORT")


SECRET_KEYS = sorted(key for key, field in KEYS.items() if "SecretStr" in repr(field.annotation))


@given(
    secret=st.text(st.characters(codec="ascii", exclude_characters="\0,"), min_size=8).map(
        lambda text: f"hunter2{text}"
    ),
    key=st.sampled_from([*SECRET_KEYS, "notifications.smtp.pasword", "storage", "nope"]),
)
def test_no_secret_is_ever_told(secret: str, key: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    environ = {f"LLM_IM__{key.upper().replace('.', '__')}": secret, "API_PORT": "x"}
    nested: object = secret
    for part in reversed(key.split(".")):
        nested = {part: nested}
    file = written(tmp_path_factory.getbasetemp(), yaml.safe_dump(nested))
    for mistakes in (refusal(environ), refusal(file | {"API_PORT": "x"})):
        assert "hunter2" not in "\n".join(mistakes)


def test_a_broken_file_is_not_quoted(tmp_path: Path) -> None:
    (mistake,) = refusal(written(tmp_path, "notifications:\n  smtp:\n    password: hunter2: [\n"))
    assert "hunter2" not in mistake
    (mistake,) = refusal({"LLM_IM__SERVER__PUBLIC_URL": "https://me:hunter2@h"})
    assert "hunter2" not in mistake


def test_settings_can_be_printed() -> None:
    environ = {
        "DATABASE_URL": "postgresql://me:hunter2@h/d",
        "SMTP_USERNAME": "me",
        "SMTP_PASSWORD": "hunter2",
        "TEMPORAL_API_KEY": "hunter2",
        "LLM_IM__NOTIFICATIONS__WEBHOOK__SECRETS": WHSEC,
    }
    settings = load(environ)
    assert settings.temporal.uses_tls
    assert settings.notifications.webhook.secrets == (SecretStr(WHSEC),)
    printed = f"{settings!r} {settings} {settings.model_dump_json()}"
    assert "hunter2" not in printed
    assert WHSEC not in printed


def test_every_knob_has_its_sentence() -> None:
    assert [key for key, field in KEYS.items() if not (field.description or "").endswith(".")] == []
