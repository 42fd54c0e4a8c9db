"""deploy/kubernetes, offline: valid by the API's own schemas, and its parts fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from server.build import build_upstreams
from server.catalogue.cards import build_catalogue
from server.config.file import load_settings

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.33")


def documents(*files: str) -> list[dict[str, Any]]:
    return [doc for name in files for doc in yaml.safe_load_all((ROOT / name).read_text())]


RESOURCES = documents("gateway.yaml", "model.yaml", "network.yaml")
DEPLOYMENTS = {doc["metadata"]["name"]: doc for doc in RESOURCES if doc["kind"] == "Deployment"}


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [doc for doc in RESOURCES if doc["kind"] == kind]


def merged(base: Any, patch: Any) -> Any:
    """As kustomize's strategic merge: lists of named things by name, other values replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {key: merged(base.get(key), value) for key, value in patch.items()}
    if isinstance(base, list) and isinstance(patch, list) and "name" in patch[0]:
        known = {item["name"]: item for item in base}
        return list((known | {i["name"]: merged(known.get(i["name"]), i) for i in patch}).values())
    return patch


def gpu_model() -> dict[str, Any]:
    (patch,) = documents("gpu/model.yaml")
    found: dict[str, Any] = merged(DEPLOYMENTS["p2l-model"], patch)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_is_valid(version: str) -> None:
    secret = documents("secret.example.yaml")
    for document in (*RESOURCES, *secret, gpu_model()):
        kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    wrong = {**of_kind("PodDisruptionBudget")[0], "spec": {"maxUnavailible": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_selectors_select_what_is_there() -> None:
    labels = {
        name: doc["spec"]["template"]["metadata"]["labels"] for name, doc in DEPLOYMENTS.items()
    }
    for name, doc in DEPLOYMENTS.items():
        assert doc["spec"]["selector"]["matchLabels"] == labels[name]
    for doc in of_kind("Service"):
        assert doc["spec"]["selector"] == labels[doc["metadata"]["name"]]
    for doc in of_kind("PodDisruptionBudget"):
        assert doc["spec"]["selector"]["matchLabels"] == labels[doc["metadata"]["name"]]
    for doc in of_kind("NetworkPolicy"):
        assert doc["spec"]["podSelector"]["matchLabels"] == labels[doc["metadata"]["name"]]
    for doc in of_kind("HorizontalPodAutoscaler"):
        assert doc["spec"]["scaleTargetRef"]["name"] in DEPLOYMENTS
        assert doc["spec"]["minReplicas"] >= 2, "one at least while another is replaced"


@pytest.mark.parametrize("deployment", [*DEPLOYMENTS.values(), gpu_model()])
def test_pods_are_confined_and_probed(deployment: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_streams_have_time_to_finish() -> None:
    pod = DEPLOYMENTS["p2l-router"]["spec"]["template"]["spec"]
    (wait_s,) = [
        int(word) for word in pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1:]
    ]
    drain_s = load_settings(ROOT / "config.yaml").limits.drain_s
    assert pod["terminationGracePeriodSeconds"] > wait_s + drain_s


def test_the_configuration_loads_with_the_secret() -> None:
    (secret,) = documents("secret.example.yaml")
    settings = load_settings(ROOT / "config.yaml")
    build_upstreams(settings, build_catalogue(settings), secret["stringData"])
    asked = {key.key_env for key in settings.auth.keys}
    asked |= {settings.scorer.api_key_env, settings.storage.password_env}
    assert asked <= secret["stringData"].keys()
    services = {doc["metadata"]["name"]: doc for doc in of_kind("Service")}
    port = services["p2l-model"]["spec"]["ports"][0]["port"]
    assert settings.scorer.urls == [f"http://p2l-model:{port}"]


def test_it_scales_by_metrics_that_exist() -> None:
    sources = [(ROOT.parents[1] / "server" / place).read_text() for place in
               ("endpoints/metrics.py", "scoring/service/metrics.py")]  # fmt: skip
    for doc in of_kind("HorizontalPodAutoscaler"):
        for metric in doc["spec"]["metrics"]:
            if metric["type"] == "Pods":
                name = metric["pods"]["metric"]["name"]
                short = name.removeprefix("p2l_gateway_").removeprefix("p2l_model_")
                assert any(f'"{short}"' in text or f'"{name}"' in text for text in sources)
