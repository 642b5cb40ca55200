"""Settings: what is read, what is refused and in which words, and what a project may set over them."""

from pathlib import Path

import pytest

from prelabel.config import PER_PROJECT, PROVIDER_URLS, Settings
from prelabel.errors import SettingsError


def key_of(settings: Settings) -> str | None:
    return settings.openai_api_key.get_secret_value() if settings.openai_api_key else None


def test_a_setting_is_read_from_the_variable_of_its_name_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "llama3")
    monkeypatch.setenv("LLM_TIMEOUT", "2.5")
    monkeypatch.setenv("openai_provider", "azure")
    for others in ("OPENAI_PROVIDER", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(others, raising=False)

    settings = Settings.from_env()

    assert (settings.openai_model, settings.llm_timeout, settings.openai_provider) == ("llama3", 2.5, "local")


def test_what_is_not_set_is_as_the_interface_says() -> None:
    documented = {
        "OPENAI_MODEL": "gpt-4o-mini",
        "TEMPERATURE": "0",
        "NUM_RESPONSES": "1",
        "LABELING_METHOD": "auto",
        "PROMPT_PREFIX": "prompt",
        "PROMPT_PROMOTION": "auto",
        "USE_INTERNAL_PROMPT_TEMPLATE": "1",
        "FEW_SHOT_EXAMPLES": "8",
        "RATIONALE": "auto",
        "LLM_CONCURRENCY": "32",
        "LLM_TASKS_PER_REQUEST": "10",
        "LLM_TIMEOUT": "20",
        "LLM_MAX_RETRIES": "5",
        "LLM_MAX_INPUT_TOKENS": "8000",
        "PREDICT_DEADLINE": "50",
        "PREDICT_DEADLINE_SINGLE": "15",
        "PREDICT_OVERFLOW": "none",
        "REDIS_URL": "redis://localhost:6379/0",
        "HOST": "127.0.0.1",
        "PORT": "9090",
        "WORKERS": "2",
        "THREADS": "64",
        "LOG_LEVEL": "INFO",
    }

    assert Settings.from_env({}).model_dump() == Settings.from_env(documented).model_dump()


def test_an_empty_variable_counts_as_unset() -> None:
    env = {"OPENAI_MODEL": "", "LLM_TIMEOUT": " ", "OPENAI_API_KEY": "", "PATH": "/bin"}

    assert Settings.from_env(env) == Settings.from_env({})


def test_values_are_taken_without_blanks_around_them() -> None:
    assert Settings.from_env({"OPENAI_MODEL": " llama3\n"}).openai_model == "llama3"


@pytest.mark.parametrize(
    ("env", "provider"),
    [
        ({}, "local"),
        ({"OPENAI_API_KEY": "sk"}, "openai"),
        ({"OPENAI_BASE_URL": "http://gpu:8000/v1"}, "openai"),
        ({"OPENAI_API_KEY": "sk", "OPENAI_PROVIDER": "anthropic"}, "anthropic"),
        ({"OPENAI_API_KEY": "sk", "OPENAI_PROVIDER": "local"}, "local"),
    ],
)
def test_a_key_or_an_address_is_openais_unless_another_provider_is_named(env: dict[str, str], provider: str) -> None:
    assert Settings.from_env(env).openai_provider == provider


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"OPENAI_PROVIDER": "opnai"},
            "OPENAI_PROVIDER='opnai': Input should be 'openai', 'azure', 'ollama', 'openrouter', 'anthropic' or ",
        ),
        ({"TEMPERATURE": "2.1"}, "TEMPERATURE='2.1': Input should be less than or equal to 2"),
        ({"TEMPERATURE": "nan"}, "TEMPERATURE='nan': "),
        ({"LLM_TIMEOUT": "inf"}, "LLM_TIMEOUT='inf': Input should be a finite number"),
        ({"PREDICT_DEADLINE": "0"}, "PREDICT_DEADLINE='0': Input should be greater than 0"),
        ({"LLM_CONCURRENCY": "0"}, "LLM_CONCURRENCY='0': Input should be greater than or equal to 1"),
        ({"LLM_TASKS_PER_REQUEST": "ten"}, "LLM_TASKS_PER_REQUEST='ten': Input should be a valid integer"),
        ({"FEW_SHOT_EXAMPLES": "-1"}, "FEW_SHOT_EXAMPLES='-1': Input should be greater than or equal to 0"),
        ({"LLM_MAX_INPUT_TOKENS": "499"}, "LLM_MAX_INPUT_TOKENS='499': Input should be greater than or equal to 500"),
        ({"PORT": "70000"}, "PORT='70000': Input should be less than or equal to 65535"),
        ({"THREADS": "0"}, "THREADS='0': Input should be greater than or equal to 1"),
        ({"ALLOW_NO_AUTH": "maybe"}, "ALLOW_NO_AUTH='maybe': Input should be a valid boolean"),
        ({"LOG_LEVEL": "verbose"}, "LOG_LEVEL='VERBOSE': Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ({"PROMPT_PROMOTION": "never"}, "PROMPT_PROMOTION='never': Input should be 'auto', 'submit' or 'manual'"),
        (
            {"OPENAI_PROVIDER": "azure", "AZURE_DEPLOYMENT_NAME": "d"},
            "OPENAI_PROVIDER=azure needs AZURE_RESOURCE_ENDPOINT and AZURE_DEPLOYMENT_NAME",
        ),
        ({"RATIONALE": "yes"}, "RATIONALE='yes': Input should be 'auto', '1' or '0'"),
        ({"BASIC_AUTH_USER": "ann"}, "BASIC_AUTH_USER and BASIC_AUTH_PASS go together: one of them is empty"),
        ({"BASIC_AUTH_PASS": "s3cret"}, "BASIC_AUTH_USER and BASIC_AUTH_PASS go together: one of them is empty"),
    ],
)
def test_a_bad_value_is_told_with_its_variable_and_what_is_allowed(env: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env)

    assert str(caught.value).startswith(message)
    assert "s3cret" not in str(caught.value)


def test_all_bad_values_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"^TEMPERATURE='x': .*; PORT='y': "):
        Settings.from_env({"TEMPERATURE": "x", "PORT": "y"})


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("False", False)])
def test_a_switch_is_set_in_the_usual_words(value: str, expected: bool) -> None:
    assert Settings.from_env({"USE_INTERNAL_PROMPT_TEMPLATE": value}).use_internal_prompt_template is expected


def test_secrets_are_not_shown() -> None:
    names = "OPENAI_API_KEY", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_PASS", "WEBHOOK_SECRET"

    shown = repr(Settings.from_env({"BASIC_AUTH_USER": "ann", **dict.fromkeys(names, "s3cret")}))

    assert "s3cret" not in shown


def test_a_project_sets_its_own_over_the_environments() -> None:
    base = Settings.from_env({"OPENAI_API_KEY": "sk", "OPENAI_MODEL": "big", "TEMPERATURE": "1"})

    own = base.with_overrides({"OPENAI_MODEL": "small", "FEW_SHOT_EXAMPLES": "0"})

    assert own == Settings.from_env(
        {"OPENAI_API_KEY": "sk", "OPENAI_MODEL": "small", "TEMPERATURE": "1", "FEW_SHOT_EXAMPLES": "0"}
    )
    assert base.with_overrides({}) is base


def test_a_projects_key_alone_is_enough_to_have_an_llm() -> None:
    own = Settings.from_env({}).with_overrides({"OPENAI_API_KEY": "sk-own"})

    assert (own.openai_provider, key_of(own)) == ("openai", "sk-own")


@pytest.mark.parametrize("name", ["REDIS_URL", "BASIC_AUTH_PASS", "openai_model", "NO_SUCH"])
def test_what_cannot_be_set_per_project_is_refused(name: str) -> None:
    with pytest.raises(
        SettingsError, match=f"^{name} cannot be set per project; these can: CONTEXT_DIR, DEFAULT_PROMPT, "
    ):
        Settings.from_env({}).with_overrides({"OPENAI_MODEL": "m", name: "x"})


def test_a_projects_bad_value_is_told_as_well() -> None:
    with pytest.raises(SettingsError, match=r"^TEMPERATURE='hot': "):
        Settings.from_env({}).with_overrides({"TEMPERATURE": "hot"})


def test_whatever_can_be_set_per_project_is_a_setting() -> None:
    assert {name.lower() for name in PER_PROJECT} <= set(Settings.model_fields)


AZURE = {
    "OPENAI_PROVIDER": "azure",
    "AZURE_RESOURCE_ENDPOINT": "https://we.openai.azure.com",
    "AZURE_DEPLOYMENT_NAME": "d",
}


@pytest.mark.parametrize(
    ("env", "url", "key"),
    [
        ({}, "https://api.openai.com/v1", "sk-main"),
        ({}, "https://elsewhere.test/v1", None),
        ({}, "http://api.openai.com/v1", None),
        ({"OPENAI_BASE_URL": "http://gpu:8000/v1"}, "http://gpu:8000/v2", "sk-main"),
        ({"OPENAI_BASE_URL": "http://gpu:8000/v1"}, "http://gpu:9000/v1", None),
        ({"OPENAI_BASE_URL": "http://gpu:8000/v1"}, "https://api.openai.com/v1", None),
        ({"OPENAI_PROVIDER": "openrouter"}, "https://api.openai.com/v1", None),
        ({"OPENAI_PROVIDER": "anthropic"}, "https://api.openai.com/v1", None),
        ({"OPENAI_PROVIDER": "openrouter"}, "https://openrouter.ai/api/v1", "sk-main"),
        ({"OPENAI_PROVIDER": "ollama", "OLLAMA_ENDPOINT": "http://gpu:11434/v1"}, "https://api.openai.com/v1", None),
        (AZURE, "https://api.openai.com/v1", None),
    ],
)
def test_the_main_key_never_goes_to_another_host(env: dict[str, str], url: str, key: str | None) -> None:
    main = Settings.from_env({"OPENAI_API_KEY": "sk-main", **env})

    assert key_of(main.with_overrides({"OPENAI_BASE_URL": url})) == key
    assert key_of(main.with_overrides({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-own"})) == "sk-own"


def test_every_provider_but_azure_and_local_has_an_address() -> None:
    assert set(PROVIDER_URLS) == {"openai", "openrouter", "anthropic", "ollama"}
    assert all(url.endswith("/v1") for url in PROVIDER_URLS.values())


def test_glossary_and_rules_are_files_of_a_known_kind_and_guidelines_are_a_folder(tmp_path: Path) -> None:
    (tmp_path / "terms.YAML").write_text("RMA: number")
    (tmp_path / "rules.yml").touch()

    files = {"GLOSSARY_FILE": str(tmp_path / "terms.YAML"), "RULES_FILE": str(tmp_path / "rules.yml")}
    env = {**files, "CONTEXT_DIR": str(tmp_path)}
    settings = Settings.from_env(env)

    assert (settings.glossary_file, settings.rules_file, settings.context_dir) == tuple(env.values())
    assert Settings.from_env({}).with_overrides(env) == settings


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("GLOSSARY_FILE", "/nowhere/terms.csv", "is no file"),
        ("GLOSSARY_FILE", "a\0.csv", "is no file"),
        ("GLOSSARY_FILE", f"/{'x' * 300}.csv", "cannot be read: File name too long"),
        ("GLOSSARY_FILE", "terms.txt", "must be a file whose name ends in .yaml, .yml, .csv"),
        ("RULES_FILE", "rules.csv", "must be a file whose name ends in .yaml, .yml"),
        ("RULES_FILE", "/nowhere/rules.yml", "is no file"),
        ("CONTEXT_DIR", "/nowhere", "is no folder"),
        ("CONTEXT_DIR", __file__, "is no folder"),
    ],
)
def test_a_path_that_leads_to_nothing_of_the_kind_is_refused(name: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})

    assert str(caught.value) == f"{name}={value!r}: {reason}"


def test_the_default_prompt_is_a_text_or_a_files_text(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("\nBe strict: é.\n", "utf-8")

    texts = [str(file), "Be kind.", "Yes/no only, please.", "x" * 5000, "a\0b", ""]
    read = [Settings.from_env({"DEFAULT_PROMPT": text}).default_prompt_text for text in texts]

    assert read == ["Be strict: é.", "Be kind.", "Yes/no only, please.", "x" * 5000, "a\0b", ""]


@pytest.mark.parametrize("path", ["/nowhere/prompt.txt", "prompt.md", "./prompts/", "/"])
def test_a_prompt_files_path_without_the_file_is_no_prompt(path: str) -> None:
    with pytest.raises(SettingsError, match=r"^DEFAULT_PROMPT=.* is no file"):
        Settings.from_env({"DEFAULT_PROMPT": path})


@pytest.mark.parametrize(
    "env",
    [
        {"OPENAI_BASE_URL": "http://[::1"},
        {"OPENAI_BASE_URL": "http://gpu:abc/v1"},
        {"OPENAI_BASE_URL": "gpu:8000/v1"},
        {"LABEL_STUDIO_URL": "localhost:8080"},
        {"REDIS_URL": "localhost:6379"},
    ],
)
def test_an_address_that_no_client_could_reach_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"^{next(iter(env))}="):
        Settings.from_env(env)


def test_a_key_with_a_curly_quote_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match=r"^OPENAI_API_KEY=[.]{3}: holds a character that no key has"):
        Settings.from_env({"OPENAI_API_KEY": "\u201csk-123"})


def test_a_prompt_file_that_is_no_text_is_told_with_its_variable(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes("für".encode("cp1252"))

    with pytest.raises(SettingsError, match="DEFAULT_PROMPT"):
        _ = Settings.from_env({"DEFAULT_PROMPT": str(file)}).default_prompt_text


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({}, "http://localhost:9090"),
        ({"PORT": "8000"}, "http://localhost:8000"),
        ({"PRELABEL_URL": "https://prelabel.test/ml/"}, "https://prelabel.test/ml"),
    ],
)
def test_the_backends_own_address(env: dict[str, str], address: str) -> None:
    assert Settings.from_env(env).address == address


def test_the_webhooks_secret_is_set_or_derived_from_the_password_but_never_the_password() -> None:
    auth = {"BASIC_AUTH_USER": "ann", "BASIC_AUTH_PASS": "s3cret"}
    derived = "976b909d25e3583da81dbf30fd544aa55873fe406a6f9a2f72236cc0c0e53ff5"

    secrets = [Settings.from_env(env).effective_webhook_secret for env in ({}, auth, {**auth, "WEBHOOK_SECRET": "own"})]

    assert secrets == ["", derived, "own"]


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"HOST": "localhost"},
        {"HOST": "::1"},
        {"HOST": "0.0.0.0", "BASIC_AUTH_USER": "ann", "BASIC_AUTH_PASS": "s3cret"},
        {"HOST": "0.0.0.0", "ALLOW_NO_AUTH": "1"},
    ],
)
def test_strangers_are_kept_out(env: dict[str, str]) -> None:
    Settings.from_env(env).require_safe_listening()


def test_listening_beyond_this_machine_needs_a_password() -> None:
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0.*HOST.*set BASIC_AUTH_USER and BASIC_AUTH_PASS"):
        Settings.from_env({"HOST": "0.0.0.0"}).require_safe_listening()


def test_addresses_listened_at_are_judged_rather_than_the_setting() -> None:
    settings = Settings.from_env({"HOST": "0.0.0.0"})

    settings.require_safe_listening("127.0.0.1", "::1")
    with pytest.raises(SettingsError, match=r"^10\.0\.0\.1 listens beyond this machine"):
        settings.require_safe_listening("127.0.0.1", "10.0.0.1")


def test_a_password_in_a_wrong_address_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"REDIS_URL": "redis://user:pa/s@s@host:port/0"})

    assert str(caught.value).startswith("REDIS_URL='redis://...@host:port/0': ")


@pytest.mark.parametrize("name", ["LLM_PRICE_INPUT", "LLM_PRICE_OUTPUT"])
def test_one_price_without_the_other_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="LLM_PRICE_INPUT and LLM_PRICE_OUTPUT go together"):
        Settings.from_env({name: "0.15"})


@pytest.mark.parametrize(
    ("own", "prices"),
    [
        ({}, (0.15, 0.6)),
        ({"TEMPERATURE": "1"}, (0.15, 0.6)),
        ({"OPENAI_MODEL": "gpt-5"}, None),
        ({"OPENAI_BASE_URL": "http://llm:8000/v1"}, None),
    ],
)
def test_a_projects_own_model_does_not_have_the_main_ones_price(
    own: dict[str, str], prices: tuple[float, float] | None
) -> None:
    settings = Settings.from_env({"OPENAI_API_KEY": "k", "LLM_PRICE_INPUT": "0.15", "LLM_PRICE_OUTPUT": "0.6"})

    assert settings.with_overrides(own).llm_prices == prices
