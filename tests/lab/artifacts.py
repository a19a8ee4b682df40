# SPDX-License-Identifier: Apache-2.0
"""A signed artifact repository beside a fleet: what publishers, releasers and thieves of keys do with it."""
import json
import os
import pathlib
import random
import ssl
import urllib.request

from .lab import Lab

FILES_FLEET = """\
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
  driver: files
  artifacts: [{name: web, version: "VERSION", path: /opt/web}]
"""


class ArtifactRepository:
    """A work folder with one key for all roles, unless a test delegates and rotates."""

    def __init__(self, lab, name="artifacts", *options):
        self.lab = lab
        self.folder = lab.folder / name
        self.public = self.folder / "public"
        lab.cli("repo", "init", *(options or ["--development"]), self.folder)
        self.run("repo", "publish")

    def run(self, *arguments, check=True):
        command, sub, *rest = arguments
        return self.lab.cli(command, sub, "--repository", self.folder, *rest, check=check)

    def push(self, version, text, platform="linux/amd64", name="web", *options):
        """A tree of two files, the larger one the same in every version."""
        tree = self.lab.folder / "trees" / f"{name}-{version}-{platform.replace('/', '-')}"
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "index.html").write_text(text)
        (tree / "same.bin").write_bytes(bytes((i * 7919 + i // 251) % 256 for i in range(200000)))
        self.run("artifact", "push", "--type", "tree", "--platform", platform, *options, f"{name}:{version}", tree)

    def release(self, tree, *options, check=True):
        return self.lab.cli("release", "--repository", self.folder, *options, tree, check=check)

    def timestamp(self):
        return json.loads((self.public / "metadata/timestamp.json").read_text())

    def target_file(self, version, platform="linux-amd64", name="web"):
        """Where the payload lies in the published folder."""
        found = list((self.public / "targets/artifacts" / name / version).glob(f"*.{platform}"))
        assert len(found) == 1, found
        return pathlib.Path(found[0])


def commit(fleet, version, message=None):
    fleet.write("fleet.yaml", FILES_FLEET.replace("VERSION", version))
    return fleet.commit(message or f"web {version}")


def shown(agent):
    """What the node shows at /opt/web, or None."""
    try:
        return (agent.sysroot / "opt/web/index.html").read_text()
    except OSError:
        pass
    # An absolute link is the node's, which sees another root.
    link = agent.sysroot / "opt/web"
    if link.is_symlink():
        path = pathlib.Path(str(link.readlink()))
        for base in (path, agent.sysroot / str(path).lstrip("/")):
            try:
                return (base / "index.html").read_text()
            except OSError:
                continue
    return None


def call(lab, method, path):
    """The API, where no command stands for it."""
    request = urllib.request.Request(f"https://127.0.0.1:{lab.api_port}/api/v1{path}", method=method,
                                     headers={"authorization": f"Bearer {lab.token_file.read_text().strip()}"})
    with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def announce(lab):
    """Has the server look at the repository, as a push's hook would, and waits until it knows what is there."""
    wanted = lab.repo.timestamp()["signed"]["version"]
    call(lab, "POST", "/repository/notify")
    lab.wait(f"the server to know version {wanted} of the repository",
             lambda: call(lab, "GET", "/repository").get("versions", {}).get("timestamp", 0) >= wanted)


def message(lab, name):
    return lab.node(name)["status"]["observed"]["message"] or ""


# ---- a node that runs programs

PROGRAM_FLEET = """\
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
  driver: process
  command: [bin/web]
  artifacts: [{name: web, version: "VERSION", path: /opt/web}]
  readyTimeout: 20s
  healthChecks:
  - name: up
    exec: {command: [bin/check]}
    interval: 200ms
    failureThreshold: 2
"""

SIZE = 1_500_000


def shared_bytes(size=SIZE):
    return random.Random(7).randbytes(size)


class ArtifactLab(Lab):
    """A server, a repository, one node `n` that runs a program out of a tree."""

    def begin(self, *options, start=True):
        self.init_server()
        self.repo = ArtifactRepository(self)
        self.start_server("--repository", self.repo.folder, "--trust", "server")
        self.fleet_files = self.repository()
        self.fleet_files.write("README", "a fleet")
        self.fleet_files.commit("begin")
        self.add_source(self.fleet_files)
        self.node_agent = self.add_agent("n", {"fleet": "edge"}, options=options, start=start)
        if start:
            self.wait_connected()
        return self

    def push(self, version, data=None, well=True, files=0):
        """A program that says its version, beside a large file that hardly changes, and so many small ones."""
        tree = self.folder / "trees" / version
        (tree / "bin").mkdir(parents=True)
        for name, text in (("web", f'echo web {version} in "$PWD" > "$SKERRY_SYSROOT/ran"; exec sleep 1000'),
                           ("check", "exit 0" if well else "echo this version is bad; exit 1")):
            program = tree / "bin" / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        data = data if data is not None else shared_bytes()
        (tree / "large.bin").write_bytes(data)
        (tree / "version").write_text(version)
        for number in range(files):
            folder = tree / f"many/{number % 50}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(number)).write_text(f"{version} {number}")
        self.repo.run("artifact", "push", "--type", "tree", "--platform", "any", f"web:{version}", tree)
        announce(self)

    def commit(self, version):
        self.fleet_files.write("fleet.yaml", PROGRAM_FLEET.replace("VERSION", version))
        change = self.fleet_files.commit(f"web {version}")
        self.notify()
        return change

    def shown(self):
        try:
            return (pathlib.Path(os.readlink(self.node_agent.sysroot / "opt/web")) / "version").read_text()
        except OSError:
            return None

    def report(self, version):
        """What the node says of the artifact."""
        for a in (self.node_agent.status() or {}).get("artifacts", []):
            if a["version"] == version:
                return a
        return None

    def message(self):
        return (self.node_agent.status() or {}).get("message") or ""

    def deploy(self, version):
        change = self.commit(version)
        self.wait_rollout(change)
        self.wait(f"{version} to show", lambda: self.shown() == version)

    def told(self):
        """What the server shows of the node's message."""
        return self.node("n")["status"]["observed"]["message"] or ""

    def transfer(self, **changes):
        """What the node wrote down of its day's budget; changed, as if it were another day, while it does not run."""
        path = self.node_agent.state / "transfer.json"
        kept = json.loads(path.read_text()) if path.exists() else {"used": 0}
        if changes:
            kept.update(changes)
            path.write_text(json.dumps(kept))
        return kept
