"""The manifest: what KServe's own classes accept, and what the local target runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from data.errors import UserError
from serving import manifests
from serving.manifests import ServeSection, command, name_of, render

DIGEST = "ab" * 32

# In a process of its own: `import kserve` parses sys.argv, and takes 170 MB.
READ = """
import json, sys
given, sys.argv = json.load(sys.stdin), sys.argv[:1]
import kserve, kubernetes.client

def read(kind, value):
    if kind.startswith("list["):
        return [read(kind[5:-1], one) for one in value]
    if hasattr(kserve, kind):
        cls = getattr(kserve, kind)
        names = {json_name: name for name, json_name in cls.attribute_map.items()}
        return cls(**{names[key]: read(cls.openapi_types[names[key]], one) for key, one in value.items()})
    if hasattr(kubernetes.client, kind):
        return getattr(kubernetes.client, kind).from_dict(value)
    assert type(value).__name__ == kind, (kind, value)
    return value

# kserve 0.21 with kubernetes 37: sanitize_for_serialization() writes KServe's own fields in snake_case, so write them here.
def write(value):
    if isinstance(value, list):
        return [write(one) for one in value]
    if type(value).__module__.startswith("kserve."):
        fields = {json_name: write(getattr(value, name)) for name, json_name in value.attribute_map.items()}
        return {name: field for name, field in fields.items() if field is not None}
    return client.sanitize_for_serialization(value)

client = kubernetes.client.ApiClient()
print(json.dumps([write(read("V1beta1InferenceService", one)) for one in given]))
"""


def test_kserve_reads_every_word_of_it() -> None:
    """KServe's V1beta1InferenceService, read from the manifest and written back, is the manifest: no key is unknown or mistyped."""
    written = [
        render("co2", 3, Path("/home/größe/models/co2/3"), DIGEST, ServeSection()),
        render("co2", "4", "s3://bucket/co2/4", DIGEST, ServeSection(replicas=3, cpu="500m", memory="512Mi", timeout_s=5), 17),
    ]
    found = subprocess.run([sys.executable, "-c", READ], input=json.dumps(written), capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == written


def test_the_local_target_runs_what_the_manifest_says() -> None:
    """The command is the container's, with this interpreter and the given ports; nothing else is changed."""
    manifest = render("co2", 3, Path("/models/co2/3"), DIGEST, ServeSection(max_body_mb=2, timeout_s=9, max_waiting=0))
    expected = "-m serving --model_name co2 --model_dir /models/co2/3 --http_port 1234 --grpc_port 5678"
    checked = (
        "--digest",
        DIGEST,
        "--version",
        "3",
        "--body_limit",
        str(2 << 20),
        "--timeout_seconds",
        "9",
        "--max_waiting",
        "0",
    )
    assert command(manifest, 1234, 5678) == (sys.executable, *expected.split(), *checked)


def test_the_queue_is_the_servers_own_choice_unless_stated() -> None:
    """Without `max_waiting` the server is told nothing: it measures."""
    assert "--max_waiting" not in command(render("co2", 3, Path("/models/co2/3"), DIGEST, ServeSection()), 1, 2)


def test_a_remote_model_is_fetched_by_kserve() -> None:
    """A URI becomes STORAGE_URI, and the server reads where KServe's storage initialiser puts it: the model's folder, its signature
    and its statement side by side; it trusts the keys of a ConfigMap, and is told the record that cleared the version."""
    manifest = render("co2", 3, "s3://bucket/co2-v3", DIGEST, ServeSection(), sequence=17)
    assert manifests.environment(manifest)["STORAGE_URI"] == "s3://bucket/co2-v3"
    assert manifests.argument(manifest, "--model_dir") == "/mnt/models/3"
    assert manifests.argument(manifest, "--sequence") == "17"
    (mount,) = manifests.container_of(manifest)["volumeMounts"]
    assert manifests.argument(manifest, "--trusted_keys").startswith(mount["mountPath"])
    assert manifest["spec"]["predictor"]["volumes"][0]["configMap"] == {"name": manifests.TRUSTED}


def test_names_are_dns_names_and_never_meet() -> None:
    """Any workload and version give a name that Kubernetes takes, and no two give the same."""
    workloads = ["co2", "a_b", "a-b", "A_b", "größe", "grösse", "3d", "x" * 200, "x" * 201, "☃", "a_b-v1", "a"]
    names = [name_of(workload, version) for workload in workloads for version in ("1", "12", "candidate", "1.5")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) and len(name) <= 53 for name in names)
    assert name_of("co2", 3) == "co2-v3"


def test_a_written_manifest_is_read_back(tmp_path: Path) -> None:
    """YAML and back is the same manifest; a missing or broken file is a message with its path."""
    manifest = render("größe", 3, tmp_path / "ä: #x", DIGEST, ServeSection())
    path = tmp_path / "3.yaml"
    path.write_text(manifests.text(manifest), encoding="utf-8")
    assert manifests.read(path) == manifest
    assert (manifests.workload_of(manifest), manifests.version_of(manifest)) == ("größe", "3")

    for broken in ("a: [", "just text", "metadata: {}"):
        path.write_text(broken)
        with pytest.raises(UserError, match=re.escape(str(path))):
            manifests.read(path)
    with pytest.raises(UserError, match="no manifest"):
        manifests.read(tmp_path / "4.yaml")


def test_the_section_is_strict() -> None:
    """A quantity that Kubernetes would refuse, and a key that means nothing, are refused when the YAML is read."""
    for wrong in ({"cpu": "two"}, {"memory": "1 GB"}, {"replicas": 0}, {"canaryTrafficPercent": 10}):
        with pytest.raises(ValidationError):
            ServeSection.model_validate(wrong)
