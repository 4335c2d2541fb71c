"""The chart, for each of its sets of values: lint, strict schemas, and options that exist."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import parsed

pytestmark = pytest.mark.deploy

HELM = Path(__file__).parents[2] / "deploy" / "helm"
SETS = ("small", "operator", "gateway")
KUBERNETES = "1.33"
OURS = {"DaskCluster": "daskcluster.yaml", "DaskAutoscaler": "daskautoscaler.yaml"}
FOREIGN = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}
"""Kinds of KEDA and Prometheus, whose schemas nobody has here."""

Documents = dict[tuple[str, str], dict[str, Any]]


def values(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HELM / "values" / f"{name}.yaml").read_text())
    return found


def rendered(told: dict[str, Any]) -> Documents:
    """Every document, by kind and name."""
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(str(HELM / "daskmr")) as chart:
        chart.validate_schema(told)
        files = chart.render(told, name="mr", namespace="imagery")
    documents = [
        document
        for name, text in files.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


@pytest.fixture(params=SETS)
def documents(request: pytest.FixtureRequest) -> Documents:
    return rendered(values(request.param))


@pytest.mark.parametrize("name", SETS)
def test_lint_finds_nothing(name: str) -> None:
    helm = pytest.importorskip("helm_python")
    found = helm.lint(str(HELM / "daskmr"), values(name), strict=True)
    assert found["errors"] == []
    assert [each["error"] for each in found["messages"]] == ["icon is recommended"]


def test_documents_are_valid(documents: Documents) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for (kind, _), document in documents.items():
        if kind in OURS:
            _of_the_operator(document)
            parts = [document["spec"].get(part, {}) for part in ("worker", "scheduler")]
            for spec in [part["spec"] for part in parts if "spec" in part]:
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
                kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        elif kind not in FOREIGN:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def _of_the_operator(document: dict[str, Any]) -> None:
    """Hold a resource of the Dask operator to the schema that the operator installs."""
    import dask_kubernetes
    import jsonschema

    chart = Path(dask_kubernetes.__file__).parent / "operator" / "deployment" / "helm"
    folder = chart / "dask-kubernetes-operator" / "crds"
    definition = yaml.safe_load((folder / OURS[document["kind"]]).read_text())
    (version,) = definition["spec"]["versions"]
    assert document["apiVersion"] == f"{definition['spec']['group']}/{version['name']}"
    jsonschema.validate(document, version["schema"]["openAPIV3Schema"])


def containers(documents: Documents) -> list[dict[str, Any]]:
    found = [documents["Deployment", "mr-daskmr"]["spec"]["template"]["spec"]["containers"]]
    if ("DaskCluster", "mr-daskmr") in documents:
        spec = documents["DaskCluster", "mr-daskmr"]["spec"]
        found += [spec[kind]["spec"]["containers"] for kind in ("worker", "scheduler")]
    return [container for some in found for container in some]


def test_containers_are_confined(documents: Documents) -> None:
    for container in containers(documents):
        confined = container["securityContext"]
        assert confined["runAsUser"] == 10001
        assert confined["readOnlyRootFilesystem"] is True
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}  # noqa: S108


def test_the_listener_understands_its_options(documents: Documents) -> None:
    (container,) = documents["Deployment", "mr-daskmr"]["spec"]["template"]["spec"]["containers"]
    told = parsed(container["args"])
    assert told["images"]
    assert told["health"] == "0.0.0.0:8080"


def test_each_set_runs_jobs_where_it_says() -> None:
    said = {}
    for name in SETS:
        documents = rendered(values(name))
        (listener, *_) = containers(documents)
        told = parsed(listener["args"])
        said[name] = (told["scheduler"], told["workers"], ("DaskCluster", "mr-daskmr") in documents)
    assert said == {
        "small": (None, 2, False),
        "operator": ("tcp://mr-daskmr-scheduler.imagery.svc:8786", None, True),
        "gateway": ("gateway:dask.0123456789abcdef", None, False),
    }


def test_the_depth_of_the_queue_decides_how_many_listen() -> None:
    documents = rendered(values("operator"))
    (trigger,) = documents["ScaledObject", "mr-daskmr"]["spec"]["triggers"]
    assert trigger["metadata"]["queueURL"] == values("operator")["queue"]
    assert trigger["metadata"]["scaleOnInFlight"] == "true"
    assert "replicas" not in documents["Deployment", "mr-daskmr"]["spec"]
    assert documents["DaskAutoscaler", "mr-daskmr"]["spec"]["maximum"] == 40


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"queue": ""}, "queue"),
        ({"cluster": {"kind": "cloud"}}, "kind"),
        ({"cluster": {"kind": "gateway", "gateway": "", "gatewayAddress": "x"}}, "gateway"),
        ({"autoscaling": {"enabled": True, "region": ""}}, "region"),
        ({"terminationGracePeriodSeconds": 30}, "terminationGracePeriodSeconds"),
        ({"allow": {"imgaes": []}}, "imgaes"),
    ],
)
def test_what_is_wrong_in_the_values_is_named(wrong: dict[str, Any], named: str) -> None:
    helm = pytest.importorskip("helm_python")
    with pytest.raises(helm.HelmError, match=named):
        rendered(values("small") | wrong)
