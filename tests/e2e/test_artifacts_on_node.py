# SPDX-License-Identifier: Apache-2.0
"""Artifacts on a node: real server, real repository, one agent; links that are cut, agents that are killed."""
import os
import pathlib
import random
import shutil
import subprocess
import time

import pytest

from lab.artifacts import SIZE, ArtifactLab, announce, shared_bytes

def test_a_tree_runs_and_the_next_version_comes_as_a_difference(street):
    lab = street.begin()
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    assert lab.wait("the program to run", lambda: lab.node_agent.file("ran")).startswith("web 1.0.0")
    data = bytearray(shared_bytes())
    data[700_000:700_400] = bytes(400)
    lab.push("1.1.0", bytes(data))
    before = lab.node_agent.link.bytes_down
    lab.deploy("1.1.0")
    lab.wait("the new program to run", lambda: (lab.node_agent.file("ran") or "").startswith("web 1.1.0"))
    assert lab.node_agent.link.bytes_down - before < SIZE // 3
    seen = lab.wait("the node to say how it came", lambda: lab.report("1.1.0"))
    assert seen["way"] in ("delta", "chunks") and seen["state"] == "Ready"
    assert 0 < seen["bytesFetched"] < SIZE // 3 and 0 < seen["bytesPredicted"] < SIZE // 3
    def told():
        return [(a["version"], a["bytesFetched"], a["bytesPredicted"]) for a in lab.node("n")["status"]["artifacts"]]
    lab.wait("the server to show it, too",
             lambda: told() == [("1.1.0", seen["bytesFetched"], seen["bytesPredicted"])])


def test_a_bad_version_goes_back_without_fetching(street):
    lab = street.begin()
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    lab.push("2.0.0", random.Random(9).randbytes(SIZE), well=False)
    lab.wait_rollout(lab.commit("2.0.0"), "RolledBack")
    assert lab.shown() == "1.0.0"
    fetched = lab.node_agent.link.bytes_down
    lab.wait("1.0.0 to run", lambda: (lab.node_agent.file("ran") or "").startswith("web 1.0.0"))
    assert lab.node_agent.link.bytes_down - fetched < SIZE // 10


def test_starts_from_local_state_while_everything_is_away(street):
    lab = street.begin()
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    lab.node_agent.link.cut()
    lab.node_agent.kill()
    lab.node_agent.stop_apps()
    (lab.node_agent.sysroot / "ran").unlink()
    (lab.node_agent.state / "status.json").unlink()
    lab.node_agent.start()
    assert lab.wait("the program to run again", lambda: lab.node_agent.file("ran")).startswith("web 1.0.0")
    lab.wait("the node to be healthy", lambda: (lab.node_agent.status() or {}).get("state") == "Healthy")


def test_drift_of_a_tree_is_put_back(street):
    lab = street.begin("--check-interval", "1s")
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    tree = pathlib.Path(os.readlink(lab.node_agent.sysroot / "opt/web"))
    os.chmod(tree, 0o755)
    (tree / "version").unlink()
    (tree / "large.bin").chmod(0o600)
    lab.wait("the tree to be as it was", lambda: lab.shown() == "1.0.0")
    (lab.node_agent.sysroot / "opt/web").unlink()
    lab.wait("the link to be back", lambda: lab.shown() == "1.0.0")
    lab.wait("both to be counted", lambda: lab.node_agent.status()["driftCorrected"] >= 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_while_it_fetches(street, seed):
    lab = street.begin("--bandwidth", "700K")
    chance = random.Random(seed)
    lab.push("1.0.0")
    before = lab.node_agent.link.bytes_down
    lab.commit("1.0.0")
    for _ in range(6):
        time.sleep(chance.uniform(0.05, 0.9))
        lab.node_agent.kill()
        lab.node_agent.start()
    lab.wait("1.0.0 to show", lambda: lab.shown() == "1.0.0")
    lab.wait("the node to be healthy", lambda: (lab.node_agent.status() or {}).get("state") == "Healthy")
    # Each start costs a handshake, metadata, and at most what was on its way.
    assert lab.node_agent.link.bytes_down - before < SIZE * 1.5 + 7 * 200_000
    data = bytearray(shared_bytes())
    for at in range(0, SIZE, 150_000):
        data[at:at + 40_000] = chance.randbytes(40_000)
    lab.push("1.1.0", bytes(data[:SIZE]))
    lab.commit("1.1.0")
    for _ in range(5):
        time.sleep(chance.uniform(0.05, 0.7))
        lab.node_agent.kill()
        lab.node_agent.start()
    lab.wait("1.1.0 to show", lambda: lab.shown() == "1.1.0")
    lab.wait("nothing half to be left", lambda: not list((lab.node_agent.state / "partial").iterdir()))


def test_link_that_is_cut_in_between(street):
    lab = street.begin("--bandwidth", "700K")
    lab.push("1.0.0")
    lab.commit("1.0.0")
    for _ in range(3):
        time.sleep(0.5)
        lab.node_agent.link.cut()
        time.sleep(0.2)
        lab.node_agent.link.restore()
    lab.wait("1.0.0 to show", lambda: lab.shown() == "1.0.0")


def test_import_from_a_folder(street):
    lab = street.begin()
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    lab.push("2.0.0", random.Random(5).randbytes(SIZE))
    lab.push("3.0.0", random.Random(6).randbytes(SIZE))
    stick = lab.folder / "stick"
    shutil.copytree(lab.repo.public, stick)
    shutil.rmtree(stick / "targets/artifacts/web/3.0.0")
    shutil.rmtree(stick / "chunks")
    command = [str(lab.build / "src/agent/skerry-agent"), "import", "--state", str(lab.node_agent.state), str(stick)]
    # While the agent runs.
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "web:2.0.0" in said.stdout and "web:3.0.0" not in said.stdout
    before = lab.node_agent.link.bytes_down
    lab.deploy("2.0.0")
    assert lab.node_agent.link.bytes_down - before < SIZE // 4
    assert lab.report("2.0.0")["way"] == "present"
    # Before it starts; and one that was tampered with.
    lab.node_agent.kill()
    shutil.copytree(lab.repo.public / "targets/artifacts/web/3.0.0", stick / "targets/artifacts/web/3.0.0")
    payload = next((stick / "targets/artifacts/web/3.0.0").iterdir())
    right = payload.read_bytes()
    payload.write_bytes(right[:1000] + b"x" + right[1001:])
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 1 and "web:3.0.0" in said.stderr + said.stdout
    payload.write_bytes(right)
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0 and "web:3.0.0" in said.stdout, said.stdout + said.stderr
    lab.node_agent.start()
    before = lab.node_agent.link.bytes_down
    lab.deploy("3.0.0")
    assert lab.node_agent.link.bytes_down - before < SIZE // 4


def test_forged_artifact_is_refused_before_anything_runs(street):
    """Whoever serves the repository swaps the payload; chunks and deltas are gone, so that it must be taken whole."""
    lab = street.begin()
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    lab.push("2.0.0", random.Random(5).randbytes(SIZE))
    shutil.rmtree(lab.repo.public / "chunks")
    payload = next((lab.repo.public / "targets/artifacts/web/2.0.0").iterdir())
    right = payload.read_bytes()
    payload.chmod(0o644)
    payload.write_bytes(right.replace(b"echo web 2.0.0", b"echo bad 2.0.0"))
    lab.commit("2.0.0")
    lab.wait("the node to say what is wrong", lambda: "digest" in lab.message() or "bytes" in lab.message())
    assert lab.shown() == "1.0.0"
    assert lab.node_agent.file("ran").startswith("web 1.0.0")
    payload.write_bytes(right)
    lab.wait("the right one to be taken", lambda: lab.shown() == "2.0.0", timeout=120)


def test_disk_full_waits_and_goes_on(street):
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root to be mounted")
    lab = street.begin()
    partial = lab.node_agent.state / "partial"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(partial)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        lab.push("1.0.0")
        lab.commit("1.0.0")
        lab.wait("the node to say that the disk is full", lambda: "disk is full" in lab.message())
        assert lab.shown() is None
    finally:
        subprocess.run(["umount", "-l", str(partial)], check=True)
    lab.wait("1.0.0 to show", lambda: lab.shown() == "1.0.0", timeout=120)


POD_FLEET = """\
apiVersion: skerry/v1alpha1
kind: Fleet
metadata: {name: edge}
spec:
  selector: {matchLabels: {fleet: edge}}
  template: {apps: [web]}
---
apiVersion: skerry/v1alpha1
kind: App
metadata: {name: web}
spec:
  driver: podman
  artifacts: [{name: web, version: "VERSION"}]
  manifests: [web.k8s.yaml]
  readyTimeout: 60s
"""

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: localhost/web:VERSION
    args: [sh, -c, "exec sleep 1000"]
"""


@pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
def test_an_image_is_loaded_without_a_registry_and_tidied(build):
    lab = ArtifactLab(build, podman=True, log_level="debug")
    try:
        lab.begin()
        agent = lab.node_agent
        podman = ["podman", "--root", agent.state / "containers", "--runroot", lab.folder / "run0", "--storage-driver", "vfs",
                  "--storage-opt", f".imagestore={lab.folder}/images"]

        def images():
            # An image that goes in this very moment makes the listing fail.
            listed = subprocess.run([*map(str, podman), "images", "--format", "{{.Repository}}:{{.Tag}}"], check=False,
                                    capture_output=True, text=True, env=dict(os.environ, **lab.environment)).stdout
            return {line for line in listed.split() if line.startswith("localhost/web:")}

        def running():
            listed = subprocess.run([*map(str, podman), "ps", "--format", "{{.Image}}"], check=True, capture_output=True,
                                    text=True, env=dict(os.environ, **lab.environment)).stdout
            return {line for line in listed.split() if line.startswith("localhost/web:")}

        for version in ("1.0.0", "2.0.0", "3.0.0"):
            folder = lab.folder / f"image-{version}"
            folder.mkdir()
            shutil.copy("/bin/busybox", folder / "busybox")
            (folder / "version").write_text(version)
            (folder / "Containerfile").write_text(
                'FROM scratch\nCOPY busybox /bin/busybox\nCOPY version /version\nENTRYPOINT ["/bin/busybox"]\n')
            lab._podman_base("build", "-q", "-t", f"localhost/built:{version}", str(folder))
            archive = lab.folder / f"{version}.tar"
            lab._podman_base("save", "-q", "--format", "oci-archive", "-o", str(archive), f"localhost/built:{version}")
            # What the nodes share must not have it: it comes as an artifact.
            lab._podman_base("rmi", f"localhost/built:{version}")
            lab.repo.run("artifact", "push", "--type", "oci", "--platform", "linux/amd64", f"web:{version}", archive)
            announce(lab)
            lab.fleet_files.write("fleet.yaml", POD_FLEET.replace("VERSION", version))
            lab.fleet_files.write("web.k8s.yaml", POD.replace("VERSION", version))
            change = lab.fleet_files.commit(f"web {version}")
            lab.notify()
            lab.wait_rollout(change)
            assert running() == {f"localhost/web:{version}"}
        # What runs and what ran before stay; the one before that goes.
        lab.wait("the oldest image to go", lambda: images() == {"localhost/web:2.0.0", "localhost/web:3.0.0"})
    except BaseException:
        for log in sorted((lab.folder / "logs").glob("*.log")):
            print(f"==== {log.name}")
            print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        raise
    finally:
        lab.close()
