# SPDX-License-Identifier: Apache-2.0
"""Artifacts on a node whose power goes while it unpacks, whose disk is full, and whose state is damaged."""
import os
import pathlib
import random
import subprocess
import time

import pytest

from lab import wait_until
from lab.artifacts import SIZE, shared_bytes

FILES = 1500


def is_whole(tree, version, files):
    """The tree has all that was packed."""
    if (tree / "version").read_text() != version or (tree / "large.bin").read_bytes() != shared_bytes():
        return False
    found = {path.name: path.read_text() for path in (tree / "many").glob("*/*")}
    return found == {str(n): f"{version} {n}" for n in range(files)}


def expect_nothing_half(lab, version, files=FILES):
    """Whatever shows by its final name is whole."""
    trees = lab.node_agent.state / "trees"
    for tree in trees.iterdir() if trees.is_dir() else ():
        assert tree.name.endswith(".new") or is_whole(tree, version, files), f"{tree} is half a tree"
    link = lab.node_agent.sysroot / "opt/web"
    if link.is_symlink():
        assert is_whole(pathlib.Path(os.readlink(link)), version, files)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_while_it_unpacks(street, seed):
    lab = street.begin()
    lab.push("1.0.0", files=FILES)
    agent, chance = lab.node_agent, random.Random(seed)
    trees = agent.state / "trees"
    lab.commit("1.0.0")
    caught = 0
    for turn in range(6):
        # Looked for often, and the first kill comes at first sight: it finds the tree half made on any machine.
        wait_until("it to unpack", lambda: (trees.is_dir() and any(trees.iterdir())) or lab.shown(), 120, interval=0.002,
                   alive=lab.assert_alive)
        time.sleep(chance.uniform(0, 0.15) if turn else 0)
        agent.kill()
        caught += any(name.name.endswith(".new") for name in trees.iterdir())
        expect_nothing_half(lab, "1.0.0")
        agent.start()
    lab.wait("1.0.0 to show", lambda: lab.shown() == "1.0.0")
    expect_nothing_half(lab, "1.0.0")
    assert caught > 0, "no kill came while a tree was being made"
    lab.wait("the node to be healthy", lambda: (agent.status() or {}).get("state") == "Healthy")
    assert not [name for name in trees.iterdir() if name.name.endswith(".new")]


class SmallDisk:
    """A file system of few bytes where the node keeps everything."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        if os.geteuid() != 0:
            pytest.skip("a small file system needs root to be mounted")
        self.folder.mkdir(parents=True, mode=0o700)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "tmpfs", str(self.folder)], check=False).returncode:
            pytest.skip("a small file system cannot be mounted here")
        return self

    def resize(self, kib):
        subprocess.run(["mount", "-o", f"remount,size={kib}k", str(self.folder)], check=True)

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


# KiB: for metadata and state alone; half the payload; the payload and not its tree; half the tree; nearly all.
@pytest.mark.parametrize("kib", [600, 1000, 1700, 2400, 3000])
def test_disk_that_is_full_at_any_stage(street, kib):
    lab = street.begin(start=False)
    agent = lab.node_agent
    lab.push("1.0.0", files=50)
    with SmallDisk(agent.state) as disk:
        disk.resize(kib)
        try:
            agent.start()
            lab.wait_connected()
            lab.commit("1.0.0")
            lab.wait("the node to say that it has no room",
                     lambda: any(word in lab.told() for word in ("disk is full", "No space", "no room")))
            expect_nothing_half(lab, "1.0.0", 50)
            assert lab.shown() is None
            agent.kill()
            agent.start()
            expect_nothing_half(lab, "1.0.0", 50)
            disk.resize(64 << 10)
            lab.wait("1.0.0 to show", lambda: lab.shown() == "1.0.0", timeout=180)
            expect_nothing_half(lab, "1.0.0", 50)
            lab.wait("nothing half to be left", lambda: not list((agent.state / "partial").iterdir()))
            lab.wait("the node to be healthy", lambda: (agent.status() or {}).get("state") == "Healthy")
        finally:
            agent.kill()
            agent.stop_apps()


def damage(lab, *names):
    for name in names:
        path = lab.node_agent.state / name
        path.write_bytes(path.read_bytes()[:20])


def test_damaged_state_is_said_and_costs_no_trust(street):
    lab = street.begin()
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    agent = lab.node_agent
    # One copy of each: nothing is lost.
    agent.kill()
    damage(lab, "repository/state.json", "artifacts.json.spare")
    agent.start()
    lab.push("2.0.0")
    lab.deploy("2.0.0")
    assert "lost" not in lab.told()
    # Both: what runs goes on, it is told where people look, and the strictest trust is assumed.
    agent.kill()
    damage(lab, "repository/state.json", "repository/state.json.spare", "artifacts.json", "artifacts.json.spare")
    payloads = {p.name for p in (agent.state / "artifacts").iterdir()}
    agent.start()
    lab.wait("the server to show it", lambda: "was lost" in lab.told())
    assert lab.shown() == "2.0.0"
    lab.push("3.0.0")
    lab.commit("3.0.0")
    lab.wait("the node to refuse what no release key signed", lambda: "not signed by a release key" in lab.told())
    assert lab.shown() == "2.0.0"
    assert payloads <= {p.name for p in (agent.state / "artifacts").iterdir()}
    # The operator says whom to trust.
    assert agent.stop() == 0
    agent.command += ["--trust", "server"]
    agent.start()
    lab.wait("3.0.0 to show", lambda: lab.shown() == "3.0.0")
    lab.wait("the message to go", lambda: "lost" not in lab.told())
    assert payloads <= {p.name for p in (agent.state / "artifacts").iterdir()}


FILE_FLEET = """\
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
  artifacts: [{name: tool, version: "1.0.0", path: /opt/tool}]
"""


def test_file_that_was_written_to_is_had_again(street):
    lab = street.begin("--check-interval", "1s")
    agent = lab.node_agent
    data = random.Random(4).randbytes(SIZE // 4)
    source = lab.folder / "tool"
    source.write_bytes(data)
    lab.repo.run("artifact", "push", "--type", "file", "--platform", "any", "tool:1.0.0", source)
    lab.fleet_files.write("fleet.yaml", FILE_FLEET)
    change = lab.fleet_files.commit("a tool")
    lab.wait("the server to know the tool", lambda: lab.cli("notify", "fleet", "--wait", check=False).returncode == 0)
    lab.wait_rollout(change)
    tool = pathlib.Path(os.readlink(agent.sysroot / "opt/tool"))
    assert tool.read_bytes() == data
    mode, stamp = tool.stat().st_mode, tool.stat().st_mtime_ns
    tool.chmod(mode | 0o200)
    with open(tool, "r+b") as f:
        f.seek(1000)
        f.write(b"not what was signed")
    tool.chmod(mode)
    os.utime(tool, ns=(stamp, stamp))

    def is_right():
        try:
            return tool.read_bytes() == data
        except OSError:
            return False

    lab.wait("the right file to be back", is_right)
    lab.wait("the node to be healthy", lambda: (agent.status() or {}).get("state") == "Healthy")
