# SPDX-License-Identifier: Apache-2.0
"""Kubernetes manifests without a cluster: real pods by podman."""
import subprocess
import urllib.request

import pytest
from lab import wait_until
from lab.lab import WEB_IMAGE
from lab.ports import free_port

FLEET = """\
apiVersion: skerry/v1alpha1
kind: Fleet
metadata: {{name: pods}}
spec:
  selector: {{matchLabels: {{fleet: pods}}}}
  template:
    variables: {{port: "{port}"}}
    apps: [web]
---
apiVersion: skerry/v1alpha1
kind: App
metadata: {{name: web}}
spec:
  driver: podman
  manifests: [web.k8s.yaml]
  readyTimeout: 30s
  healthChecks:
    - name: page
      http: {{port: "${{vars.port}}", path: /index.html}}
      interval: 500ms
      timeout: 10s
      startupGrace: 10s
"""

MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: page}}
data:
  index.html: "{text} on ${{node.name}}"
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      hostNetwork: true
      containers:
        - name: web
          image: {image}
          args: [httpd, -f, -p, "127.0.0.1:${{vars.port}}", -h, /www]
          volumeMounts: [{{name: page, mountPath: /www}}]
      volumes: [{{name: page, configMap: {{name: page}}}}]
"""


def page(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=2) as answer:
            return answer.read().decode()
    except OSError:
        return None


def write(repository, port, text, image=WEB_IMAGE):
    repository.write("fleet.yaml", FLEET.format(port=port))
    repository.write("web.k8s.yaml", MANIFEST.format(text=text, image=image))


def podman(lab, agent, *words):
    command = ["podman", "--root", agent.state / "containers", "--storage-driver", "vfs", *words]
    return subprocess.run([str(w) for w in command], env=agent.environment, capture_output=True, text=True)


@pytest.fixture
def pods(podman_lab):
    lab, port = podman_lab, free_port()
    agent = lab.add_agent("a", {"fleet": "pods"})
    lab.wait_connected()
    repository = lab.repository()
    write(repository, port, "first")
    commit = repository.commit("First")
    lab.add_source(repository)
    lab.notify()
    lab.wait_rollout(commit)
    return lab, agent, repository, port


def test_a_deployment_runs_and_is_replaced(pods):
    lab, _, repository, port = pods
    assert page(port) == "first on a"
    write(repository, port, "second")
    lab.wait_rollout((repository.commit("Second"), lab.notify())[0])
    assert page(port) == "second on a"


def test_a_pod_that_somebody_removed_comes_back(pods):
    lab, agent, _, port = pods
    pid = subprocess.run(["pkill", "-9", "-f", f"httpd -f -p 127.0.0.1:{port}"], check=False)
    assert pid.returncode == 0
    wait_until("the page to be back", lambda: page(port) == "first on a", 60)
    lab.wait("the drift or the restart to be reported",
             lambda: any(a["restarts"] + a["driftCorrected"] > 0 for a in lab.node("a")["status"]["apps"]))


def test_an_image_that_is_not_there_is_rolled_back(pods):
    lab, _, repository, port = pods
    write(repository, port, "third", image="localhost/nosuch/image:1")
    rollout = lab.wait_rollout((repository.commit("Third"), lab.notify())[0], "RolledBack")
    reason = lab.rollout(rollout["metadata"]["name"])["status"]["members"][0]["reason"]
    assert "web" in reason and "nosuch" in reason
    wait_until("the page of before", lambda: page(port) == "first on a", 60)


def test_the_app_leaves_with_its_pod(pods):
    lab, _, repository, port = pods
    repository.replace("fleet.yaml", "apps: [web]", "files: [{path: /etc/x, content: x}]")
    lab.wait_rollout((repository.commit("Drop the app"), lab.notify())[0])
    assert page(port) is None
