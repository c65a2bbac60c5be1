"""The files for containers fit each other, the configuration that Evanesce takes, and its probes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from evanesce.config import load
from evanesce.config.model import Config
from evanesce.errors import ConfigurationError
from evanesce.plugins import Plugins, discovery

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "docs/examples/containers"
KUBERNETES = ROOT / "docs/examples/kubernetes"
DOCKERFILE = (CONTAINERS / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
MANIFESTS: dict[tuple[str, str], dict[str, Any]] = {
    (manifest["kind"], manifest["metadata"]["name"]): manifest
    for file in KUBERNETES.iterdir()
    for manifest in yaml.safe_load_all(file.read_text())
}
WORKLOADS = [manifest for (kind, _), manifest in MANIFESTS.items() if kind in ("Deployment", "StatefulSet")]
UID = 10001


def read(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> Config:
    for name, value in (MANIFESTS["Secret", "evanesce"]["stringData"] | given).items():
        monkeypatch.setenv(name, value)
    source = load.read(CONTAINERS / "config.toml", default_plugins=discovery.defaults())
    return source.config(Plugins.load(source.enabled).settings())


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    return read(monkeypatch, {"EVANESCE_SECRET": "s" * 32})


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def test_evanesce_takes_the_configuration(config: Config) -> None:
    assert config.redis.url == "redis://valkey:6379"
    assert config.server.public_url == "https://chat.example"


def test_a_server_does_not_start_with_the_secret_that_everybody_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"server\.secret"):
        read(monkeypatch, {})


def test_all_have_the_same_configuration() -> None:
    assert MANIFESTS["ConfigMap", "evanesce"]["data"]["config.toml"] == (CONTAINERS / "config.toml").read_text()


def test_the_variables_that_the_configuration_names_are_given() -> None:
    named = set(re.findall(r'env = "(\w+)"', (CONTAINERS / "config.toml").read_text()))
    assert named
    assert named == COMPOSE["services"]["evanesce"]["environment"].keys()
    assert named == MANIFESTS["Secret", "evanesce"]["stringData"].keys()


def test_the_other_containers_have_the_names_in_the_configuration(config: Config) -> None:
    for name, port in (("valkey", 6379), ("sqld", 8080)):
        assert f"//{name}:{port}" in (CONTAINERS / "config.toml").read_text()
        assert name in COMPOSE["services"]
        [service] = MANIFESTS["Service", name]["spec"]["ports"]
        assert service["port"] == port


def test_there_is_time_to_drain(config: Config) -> None:
    needed = config.server.lame_duck_seconds + config.server.drain_seconds + 5
    assert pod(MANIFESTS["Deployment", "evanesce"])["terminationGracePeriodSeconds"] > needed
    assert float(COMPOSE["services"]["evanesce"]["stop_grace_period"].removesuffix("s")) > needed
    # As long as endpoints and proxies take to notice, counted from the first probe that fails.
    readiness = pod(MANIFESTS["Deployment", "evanesce"])["containers"][0]["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < config.server.lame_duck_seconds


def test_one_server_at_a_time_is_taken_away_while_nodes_are_emptied() -> None:
    budget = MANIFESTS["PodDisruptionBudget", "evanesce"]["spec"]
    deployment = MANIFESTS["Deployment", "evanesce"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert deployment["replicas"] > 1, "else nothing is left meanwhile"
    assert budget["selector"] == deployment["selector"]
    assert budget["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()


def test_the_probes_are_those_of_the_server() -> None:
    [container] = pod(MANIFESTS["Deployment", "evanesce"])["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert "http://127.0.0.1:8000/healthz" in DOCKERFILE


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload["metadata"]["name"])
def test_no_container_has_rights(workload: dict[str, Any]) -> None:
    spec = pod(workload)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_the_user_is_the_same_everywhere() -> None:
    assert f"USER {UID}:{UID}" in DOCKERFILE
    context = pod(MANIFESTS["Deployment", "evanesce"])["securityContext"]
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == UID
    assert f"/var/lib/evanesce:uid={UID},gid={UID},mode=0700" in COMPOSE["services"]["evanesce"]["tmpfs"]
    assert COMPOSE["services"]["evanesce"]["read_only"] is True


def test_the_valkeys_store_nothing_on_disk() -> None:
    commands = [
        COMPOSE["services"]["valkey"]["command"],
        pod(MANIFESTS["Deployment", "valkey"])["containers"][0]["command"],
    ]
    for command in commands:
        assert command[command.index("--save") + 1] == ""
        assert command[command.index("--appendonly") + 1] == "no"


def test_a_full_valkey_refuses_messages_before_the_kernel_kills_it() -> None:
    [container] = pod(MANIFESTS["Deployment", "valkey"])["containers"]
    assert container["resources"]["limits"]["memory"] == "2Gi"
    for command in (COMPOSE["services"]["valkey"]["command"], container["command"]):
        assert command[command.index("--maxmemory") + 1] == "1gb"
        assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_image_starts_what_exists() -> None:
    [command] = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(command) == ["serve", "--config", "/etc/evanesce/config.toml"]
    for source in re.findall(r"^COPY ((?:[\w./*]+ )+)[\w./]+$", DOCKERFILE, re.MULTILINE):
        for name in source.split():
            assert list(ROOT.glob(name)), name
