"""What docker-compose.yml, .env.example and the Dockerfile say, without anything being started."""

import ipaddress
import re
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
import yaml

from prelabel.config import Settings
from tests.compose import FILE, REQUIRED, MissingVariable, dockerfile, services
from tests.servers import REPOSITORY

STACK = services(REQUIRED)
OURS = ("backend", "worker")
ONE_SHOT = {"label-studio-user", "ollama-pull"}
SETTINGS = {name.upper() for name in Settings.model_fields}
SAMPLE = (REPOSITORY / ".env.example").read_text("utf-8")
SAMPLED = {match["name"]: match for match in re.finditer(r"^(?P<off>#?)(?P<name>[A-Z_]+)=(?P<value>.*)$", SAMPLE, re.M)}

REFUSED_BY_DEFAULT = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24
    192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 233.252.0.0/24 240.0.0.0/4
    255.255.255.255/32 ::/128 ::1/128 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/32
    2001:20::/28 2001:db8::/32 2002::/16 fc00::/7 fe80::/10 ff00::/8
"""
"""Label Studio 1.23.2's own list (``core/utils/io.py``)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def collapsed(networks: list[Network]) -> list[Network]:
    v4 = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    v6 = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(v4), *ipaddress.collapse_addresses(v6)]


def code_default(name: str) -> str:
    """A setting's default as one would write it in a file."""
    value: Any = Settings.model_fields[name.lower()].default
    if isinstance(value, bool | float):
        return f"{value:g}"
    return "" if value is None or not str(value) else str(value)


def test_it_is_a_compose_file() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
def test_nothing_starts_without_a_password(name: str, value: str | None) -> None:
    env = {other: text for other, text in REQUIRED.items() if other != name} | ({} if value is None else {name: value})

    with pytest.raises(MissingVariable, match=f"{name}: set {name} in .env"):
        services(env)


@pytest.mark.parametrize("service", OURS)
def test_every_setting_reaches_backend_and_worker(service: str) -> None:
    env = {name: f"value of {name}" for name in SETTINGS}

    assert services({**REQUIRED, **env})[service]["environment"] == {**env, "HOST": "0.0.0.0", "PORT": "9090"}


@pytest.mark.parametrize("service", OURS)
def test_a_setting_that_is_not_made_is_left_to_the_code(service: str) -> None:
    settings = Settings.from_env(STACK[service]["environment"])

    assert settings.model_dump(exclude_unset=True).keys() == {
        *("host", "port", "redis_url", "label_studio_url", "label_studio_api_key", "prelabel_url"),
        *("basic_auth_user", "basic_auth_pass", "ollama_endpoint"),
    }


def test_the_sample_of_env_names_every_variable_and_nothing_else() -> None:
    in_compose = set(re.findall(r"\$\{([A-Z_]+):", FILE.read_text("utf-8")))

    assert SAMPLED.keys() == SETTINGS | in_compose
    assert len(SAMPLED) == len(re.findall(r"^#?[A-Z_]+=", SAMPLE, re.M)), "each once"


def test_the_sample_of_env_explains_each_variable_in_the_line_before() -> None:
    lines = SAMPLE.splitlines()
    bare = [line for before, line in pairwise(lines) if re.match(r"#?[A-Z_]+=", line) and before[:2] != "# "]

    assert bare == []


def test_the_sample_of_env_leaves_open_what_must_be_filled_in_and_no_more() -> None:
    assert {name: found["value"] for name, found in SAMPLED.items() if not found["off"]} == dict.fromkeys(REQUIRED, "")


@pytest.mark.parametrize("name", sorted(SAMPLED.keys() - REQUIRED.keys()))
def test_the_sample_of_env_shows_the_default(name: str) -> None:
    """Where docker-compose.yml has one of its own, that; else the code's."""
    own = services({**REQUIRED})["backend"]["environment"].get(name)
    in_file = re.findall(rf"\$\{{{name}:-((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}", FILE.read_text("utf-8"))
    expected = (
        own or code_default(name) if name in SETTINGS else in_file[0].replace("${LABEL_STUDIO_PORT:-8080}", "8080")
    )

    assert SAMPLED[name]["value"] == expected


def test_ports_are_open_to_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in STACK.items() if "ports" in service}

    assert published == {"label-studio": ["127.0.0.1:8080:8080"], "backend": ["127.0.0.1:9090:9090"]}


def test_label_studio_reaches_the_backend_and_neither_redis_nor_the_llm() -> None:
    on = {name: set(service.get("networks", ["default"])) for name, service in STACK.items()}

    assert {name for name, networks in on.items() if networks & on["label-studio"]} == {"label-studio", *OURS}
    assert on["redis"] <= on["backend"]
    assert on["ollama"] <= on["worker"]


def test_label_studio_may_call_the_backends_network_and_nothing_else_that_it_would_refuse_by_itself() -> None:
    """Not the gateway either, which is the machine itself, with all that listens on every address of it."""
    (network,) = yaml.safe_load(FILE.read_text("utf-8"))["networks"]["studio"]["ipam"]["config"]
    own, machine = ipaddress.IPv4Network(network["subnet"]), ipaddress.IPv4Network(network["gateway"])
    env = STACK["label-studio"]["environment"]

    refused = [ipaddress.ip_network(part) for part in env["USER_ADDITIONAL_BANNED_SUBNETS"].split(",")]

    around = ipaddress.IPv4Network("192.168.0.0/16")
    expected: list[Network] = [ipaddress.ip_network(each) for each in REFUSED_BY_DEFAULT.split() if each != str(around)]
    assert machine.subnet_of(own)
    assert collapsed(refused) == collapsed([*expected, *around.address_exclude(own), machine])
    assert env["USE_DEFAULT_BANNED_SUBNETS"] == "false"
    assert not {"ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED"} & env.keys()


@pytest.mark.parametrize("name", STACK)
def test_every_service_is_hardened_restarted_and_watched(name: str) -> None:
    service = STACK[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("on-failure" if name in ONE_SHOT else "unless-stopped")
    assert "healthcheck" in service or name in {*ONE_SHOT, "backend"}, "the backend's is the image's"
    assert service.get("read_only", False) == (name in {*OURS, "redis"})


def test_services_wait_for_what_they_need() -> None:
    needs = {
        name: {of: how["condition"] for of, how in service.get("depends_on", {}).items()}
        for name, service in STACK.items()
    }

    ready = {"redis": "service_healthy", "label-studio-user": "service_completed_successfully"}
    assert {name: each for name, each in needs.items() if each} == {
        "label-studio-user": {"label-studio": "service_healthy"},
        "backend": ready,
        "worker": ready,
        "ollama-pull": {"ollama": "service_healthy"},
    }


def test_workers_can_be_many() -> None:
    assert not {"container_name", "ports", "hostname"} & STACK["worker"].keys()


def test_only_the_llm_of_ones_own_has_a_profile() -> None:
    assert {name for name, service in STACK.items() if "profiles" in service} == {"ollama", "ollama-pull"}


def test_what_is_kept_is_kept_in_volumes() -> None:
    assert {name: service["volumes"] for name, service in STACK.items() if "volumes" in service} == {
        "label-studio": ["label-studio:/label-studio/data"],
        "label-studio-user": ["label-studio:/label-studio/data"],
        "redis": ["redis:/data"],
        "ollama": ["ollama:/root/.ollama"],
    }


def test_the_image_is_not_run_as_root() -> None:
    """As a number, since Kubernetes' ``runAsNonRoot`` knows no names."""
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", dockerfile("USER"))


def test_the_builder_is_sent_nothing_but_what_the_image_holds() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (REPOSITORY / "Dockerfile").read_text("utf-8"), re.M))

    assert next(line for line in ignored if not line.startswith("#")) == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(" ".join(copied).split())
