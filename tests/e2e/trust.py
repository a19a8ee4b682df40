# SPDX-License-Identifier: Apache-2.0
"""A signed artifact repository beside a fleet: what publishers, releasers and thieves of keys do with it."""
import json
import pathlib
import ssl
import urllib.request

FLEET = """\
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


class Repository:
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
    fleet.write("fleet.yaml", FLEET.replace("VERSION", version))
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
