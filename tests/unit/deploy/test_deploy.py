"""The deployment files fit the product: one version, one token setting, resources that measuring tasks ask for."""

import json
import re
import subprocess

import pytest
import yaml
from repository import ROOT

from orchestrator.cluster.session import target_resources
from orchestrator.plan.check import check_run

DEPLOY = ROOT / "deploy"
RAY = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def manifest():
    sweep, job = yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text())
    return sweep, job


def groups_of(job):
    """Return head and worker groups by name."""
    cluster = job["spec"]["rayClusterSpec"]
    return {"head": cluster["headGroupSpec"]} | {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def announced(group):
    """Return the custom resources of a group; KubeRay wants the JSON in quotes of its own."""
    text = group["rayStartParams"].get("resources")
    return json.loads(json.loads(text)) if text else {}


def test_the_manifest_is_a_ray_job_of_the_pinned_version_with_tokens(manifest):
    _, job = manifest
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == RAY
    assert cluster["authOptions"] == {"mode": "token"}
    assert job["spec"]["shutdownAfterJobFinishes"]
    assert job["spec"]["backoffLimit"] > 0, "a lost head must start the job again"
    yaml.safe_load(job["spec"]["runtimeEnvYAML"])


def test_the_sweep_of_the_manifest_is_valid_and_mounted_where_it_is_started(manifest):
    sweep, job = manifest
    run = check_run(yaml.safe_load(sweep["data"]["sweep.yaml"]), "sweep.yaml")
    command, verb, path = job["spec"]["entrypoint"].split()
    assert (command, verb) == ("onepath", "sweep")
    pod = groups_of(job)["head"]["template"]["spec"]
    mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    assert f"{mounts['sweep']}/sweep.yaml" == path
    assert run.storage.startswith(mounts["shared"])
    assert run.data.source.startswith(mounts["shared"])


def test_groups_offer_what_the_sweep_asks_for(manifest):
    sweep, job = manifest
    run, groups = check_run(yaml.safe_load(sweep["data"]["sweep.yaml"]), "sweep.yaml"), groups_of(job)
    assert groups["head"]["rayStartParams"]["num-cpus"] == "0", "drivers take no processors from ranks"
    train = groups["train"]
    assert announced(train) == run.workers.resources
    limits = train["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert int(limits["cpu"]) >= run.workers.cpus
    assert limits["nvidia.com/gpu"] >= run.workers.gpus
    assert train["minReplicas"] <= run.workers.min <= run.workers.max <= train["maxReplicas"]
    devices = [group for group in groups.values() if "device" in announced(group)]
    offered = {name for group in devices for name in announced(group)}
    assert offered == set(target_resources(target.name for target in run.load_targets()))
    assert all(group["rayStartParams"]["num-cpus"] == "0" for group in devices), "ranks would disturb measurements"


def test_every_pod_has_the_same_image_and_the_shared_storage(manifest):
    _, job = manifest
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    for name, group in groups_of(job).items():
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == f"onepath:{version}", name
        assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"], name
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name
        resources = container["resources"]
        assert resources["requests"] == resources["limits"], name
        if name != "head":
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_image_holds_every_room_and_only_pinned_packages():
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for word in line.split()[:-1]}
    assert copied >= {"supernet", "latency", "orchestrator", "configs", "pyproject.toml", "constraints.txt"}
    assert all((ROOT / name).exists() for name in copied), copied
    assert all("-c constraints.txt" in line for line in text.splitlines() if "pip install" in line)
    assert "RAY_AUTH_MODE=token" in text
    assert text.index("useradd") < text.index("\nUSER "), "nothing runs as root"


def test_machines_take_their_token_from_one_file():
    printed = subprocess.run(
        ["bash", "-c", f". {DEPLOY / 'cluster.env'} && env"], capture_output=True, text=True, check=True
    ).stdout
    assert "RAY_AUTH_MODE=token\n" in printed
    assert "RAY_AUTH_TOKEN_PATH=" in printed
    script = (DEPLOY / "two-machines.sh").read_text()
    assert "cluster.env" in script
    assert "--dashboard-host 127.0.0.1" in script, "the dashboard is reached through a tunnel only"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["head", "10.0.0.1"], "ray start --head --node-ip-address 10.0.0.1 --port 6379 --num-cpus 0"),
        (["train", "10.0.0.1"], 'ray start --address 10.0.0.1:6379 --resources {"train": 1}'),
        (["train", "10.0.0.1", "8"], 'ray start --address 10.0.0.1:6379 --resources {"train": 8}'),
        (["device", "10.0.0.1", "a", "b"], "onepath device serve --address 10.0.0.1:6379 --target a --target b"),
        (["sweep", "my.yaml"], "ray job submit --working-dir . -- onepath sweep my.yaml"),
    ],
)
def test_each_role_of_the_recipe_starts_its_command(tmp_path, arguments, wanted):
    for name in ("ray", "onepath"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        program.chmod(0o755)
    command = ["bash", str(DEPLOY / "two-machines.sh"), *arguments]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True
    )
    assert done.stdout.decode().startswith(wanted), done
