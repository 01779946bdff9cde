"""One immutable KServe InferenceService per model version: what a cluster applies, and what the local target runs.

Written as plain values, for importing kserve's classes takes 1.2 s and 170 MB; a test holds them to those classes. Traffic is
not stated here: it belongs to the gateway.
"""

from __future__ import annotations

import copy
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt

from data.errors import UserError
from data.files import write_atomically
from data.section import Section

PROGRAM = ("python", "-m", "serving")  # the model server
HTTP_PORT, GRPC_PORT = 8080, 8081  # inside a pod; the local target chooses its own
_MOUNTED = "/mnt/models"  # where KServe's storage initialiser puts what STORAGE_URI names
_TRUST = "/etc/aiprime/trust"  # where a pod finds the public keys that it trusts
TRUSTED = "aiprime-trusted-keys"  # the ConfigMap that they come from, as keys.pem


class ServeSection(Section):
    """How a version is served. `cpu`, `memory` and `replicas` hold in a cluster; the local target runs one process, unlimited."""

    replicas: PositiveInt = 1
    cpu: str = Field(default="1", pattern=r"^(\d+(\.\d+)?|\d+m)$")  # Kubernetes' quantities: 2, 0.5, 500m
    memory: str = Field(default="1Gi", pattern=r"^\d+(Ki|Mi|Gi|Ti)?$")
    max_body_mb: PositiveInt = 16  # a larger request is refused (413)
    timeout_s: PositiveInt = 60  # a slower answer is given up, and the work on it ends (504)
    max_waiting: NonNegativeInt | None = None  # requests that wait for it: more are a 429 (default: by its measured time)
    image: str = "ai-prime-server:0.1.0"


def render(
    workload: str, version: str | int, source: Path | str, digest: str, section: ServeSection, sequence: int | None = None
) -> dict[str, Any]:
    """The InferenceService (serving.kserve.io/v1beta1) of one version.

    `source` is the model's folder, or a URI that KServe's storage initialiser fetches: one that holds VERSION/, VERSION.sig and
    VERSION.release, side by side. `digest` is the folder's `tree_digest`, which the server checks before it reads the model. `sequence`
    is the ledger's record that cleared the version: a pod is told it here, a server on this machine by whoever starts it.
    """
    remote = "://" in str(source)
    arguments = {
        "--model_name": workload,
        "--model_dir": f"{_MOUNTED}/{version}" if remote else str(source),
        "--http_port": str(HTTP_PORT),
        "--grpc_port": str(GRPC_PORT),
        "--digest": digest,
        "--version": str(version),
        "--body_limit": str(section.max_body_mb << 20),
        "--timeout_seconds": str(section.timeout_s),
    }
    if section.max_waiting is not None:
        arguments["--max_waiting"] = str(section.max_waiting)
    if remote:
        arguments |= {"--trusted_keys": f"{_TRUST}/keys.pem"} | ({} if sequence is None else {"--sequence": str(sequence)})
    # In a pod the server must be reachable from outside; the local target keeps it on loopback.
    environment = {"AIPRIME_BIND": "0.0.0.0"} | ({"STORAGE_URI": str(source)} if remote else {})  # noqa: S104
    labels = {
        "app.kubernetes.io/managed-by": "ai-prime",
        "app.kubernetes.io/part-of": _plain(workload),
        "app.kubernetes.io/version": _plain(str(version)),
    }
    annotations = {
        "serving.kserve.io/deploymentMode": "Standard",  # the webhook wants it literally
        "aiprime/workload": workload,
        "aiprime/version": str(version),
        "aiprime/digest": f"sha256:{digest}",
    }
    quantities = {"cpu": section.cpu, "memory": section.memory}
    container = {
        "name": "kserve-container",
        "image": section.image,
        "command": [*PROGRAM],
        "args": [word for pair in arguments.items() for word in pair],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": "http1", "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "readinessProbe": _probe(f"/v2/models/{workload}/ready", period_s=2),
        "livenessProbe": _probe("/v2/health/live", period_s=10),
        "resources": {"requests": quantities, "limits": quantities},
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    predictor = {
        "minReplicas": section.replicas,
        "maxReplicas": section.replicas,
        "timeout": section.timeout_s,
        "terminationGracePeriodSeconds": 30,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    if remote:
        container["volumeMounts"] = [{"name": "trust", "mountPath": _TRUST, "readOnly": True}]
        predictor["volumes"] = [{"name": "trust", "configMap": {"name": TRUSTED}}]
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name_of(workload, version), "labels": labels, "annotations": annotations},
        "spec": {"predictor": predictor},
    }


def name_of(workload: str, version: str | int) -> str:
    """`WORKLOAD-vVERSION` as DNS and KServe allow it; a name that had to be changed gets a short digest, so that no two meet."""
    wanted = f"{workload}-v{version}"
    plain = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")
    if re.fullmatch(r"[a-z][a-z0-9_]{0,40}-v[a-z0-9]{1,10}", wanted):
        return plain  # nothing but _ was changed, and no name that is written with - comes here
    return f"m-{plain[:36].strip('-')}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"


def file(home: Path, workload: str, version: str | int) -> Path:
    """Where a registered version's manifest lies: beside its folder, HOME/models/WORKLOAD/VERSION.yaml."""
    return home / "models" / workload / f"{version}.yaml"


def text(manifest: dict[str, Any]) -> str:
    """The manifest as YAML, as `kubectl apply -f` takes it."""
    import yaml

    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=1000)


def read(path: Path) -> dict[str, Any]:
    """A written manifest; UserError where it is missing or not one."""
    return hashed(path)[0]


def hashed(path: Path) -> tuple[dict[str, Any], str]:
    """... and SHA-256 (hex) of the very bytes that it was read from."""
    import yaml

    try:
        content = path.read_bytes()
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        manifest = yaml.load(content.decode("utf-8"), Loader=loader)  # noqa: S506  (a safe loader, the C one)
        _ = container_of(manifest), workload_of(manifest), version_of(manifest)
        manifest = located(manifest, path.parent / argument(manifest, "--model_dir"))
    except FileNotFoundError:
        raise UserError("this version has no manifest", where=str(path), next_step="register it again: aiprime run") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            "this is not a manifest of ours", where=f"{path}: {error}", next_step="restore it, or register again"
        ) from error
    return manifest, hashlib.sha256(content).hexdigest()


def write(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest. A model's folder that lies beside it is named by its name alone: a home can be restored elsewhere, and the
    manifest stays, byte by byte, the one that was cleared."""
    write_atomically(path, filed(path, manifest))


def filed(path: Path, manifest: dict[str, Any]) -> bytes:
    """What `write` writes."""
    folder = Path(argument(manifest, "--model_dir"))
    return text(located(manifest, Path(folder.name) if folder.parent == path.parent else folder)).encode()


def located(manifest: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The manifest with the model's folder named so."""
    told = copy.deepcopy(manifest)
    arguments = container_of(told)["args"]
    arguments[arguments.index("--model_dir") + 1] = str(folder)
    return told


def workload_of(manifest: dict[str, Any]) -> str:
    """The workload's own name."""
    return manifest["metadata"]["annotations"]["aiprime/workload"]


def version_of(manifest: dict[str, Any]) -> str:
    """The version that it serves."""
    return manifest["metadata"]["annotations"]["aiprime/version"]


def container_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The model server's container."""
    return manifest["spec"]["predictor"]["containers"][0]


def environment(manifest: dict[str, Any]) -> dict[str, str]:
    """What the manifest puts into the server's environment."""
    return {one["name"]: one["value"] for one in container_of(manifest)["env"]}


def argument(manifest: dict[str, Any], flag: str) -> str:
    """The value that follows `flag` in the server's arguments."""
    arguments = container_of(manifest)["args"]
    return arguments[arguments.index(flag) + 1]


def with_arguments(manifest: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """A manifest whose server is given more arguments; the one that was given stays as it is."""
    changed = copy.deepcopy(manifest)
    container_of(changed)["args"] += words
    return changed


def without(manifest: dict[str, Any], flag: str) -> dict[str, Any]:
    """A manifest whose server is not told `flag` and its value; the one that was given stays as it is."""
    changed = copy.deepcopy(manifest)
    words = container_of(changed)["args"]
    at = words.index(flag)
    del words[at : at + 2]
    return changed


def command(manifest: dict[str, Any], http_port: int, grpc_port: int) -> tuple[str, ...]:
    """What the manifest says, as one process on this machine: this interpreter and these ports in place of the pod's."""
    container = container_of(manifest)
    program, *words = [*container["command"], *container["args"]]
    for flag, port in (("--http_port", http_port), ("--grpc_port", grpc_port)):
        words[words.index(flag) + 1] = str(port)
    return (sys.executable if program == "python" else program, *words)


def _probe(path: str, period_s: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": HTTP_PORT}, "periodSeconds": period_s, "timeoutSeconds": 2, "failureThreshold": 3}


def _plain(value: str) -> str:
    """A label's value: at most 63 of A-Za-z0-9_.- with a letter or digit at both ends."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", value)[:63].strip("_.-") or "x"
