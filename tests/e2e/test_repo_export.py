# SPDX-License-Identifier: Apache-2.0
"""Artifacts to a site: ahead of being asked for, and in a folder that is carried there."""
import hashlib
import json

import pytest
from lab import Lab, wait_until
from lab.origin import Origin
from lab.artifacts import ArtifactRepository, announce, commit, shown


@pytest.fixture
def site(request, build):
    """A server with a repository, a relay with one node, and a relay whose nodes are still to come."""
    lab = Lab(build, log_level="debug")
    try:
        lab.init_server()
        lab.repo = ArtifactRepository(lab)
        lab.start_server("--repository", lab.repo.folder)
        lab.fleet_files = lab.repository()
        lab.fleet_files.write("README", "a fleet")
        lab.fleet_files.commit("begin")
        lab.add_source(lab.fleet_files)
        lab.start_relay("near")
        lab.start_relay("far")
        lab.agent = lab.add_agent("n", {"fleet": "edge"}, relay="near")
        lab.wait_connected()
        lab.repo.push("1.0.0", "one")
        announce(lab)
        lab.wait_rollout(commit_and_notify(lab, "1.0.0"))
        lab.wait("the node to show it", lambda: shown(lab.agent) == "one")
        yield lab
        report = getattr(request.node, "outcome_of_call", None)
        if report is not None and report.failed:
            for log in sorted((lab.folder / "logs").glob("*.log")):
                print(f"==== {log.name}")
                print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
    finally:
        lab.close()


def commit_and_notify(lab, version):
    change = commit(lab.fleet_files, version)
    lab.notify()
    return change


def objects(lab, relay):
    return {f.parent.name + f.name for f in (lab.folder / relay / "objects/sha256").rglob("*") if f.is_file()}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_next_waves_find_it_there(site):
    lab = site
    # A node goes by chunks where there are some: their index is fetched ahead, the pack only in parts.
    payload = lab.repo.target_file("1.0.0")
    index = lab.repo.public / "chunks" / digest(payload)[:2] / (digest(payload) + ".index")
    wanted = digest(index if index.exists() else payload)
    wait_until("the relay that no node asked to have it", lambda: wanted in objects(lab, "far"))
    if index.exists():
        assert list((lab.folder / "near/repository/parts").glob("*.pack")), "the node fetched it through its relay"
        assert not list((lab.folder / "far/repository/parts").glob("*.pack"))


def test_a_folder_holds_all_that_a_node_needs(site, tmp_path):
    lab = site
    out, by_url = tmp_path / "usb", tmp_path / "url"
    payload = lab.repo.target_file("1.0.0")
    said = lab.cli("repo", "export", "--repository", lab.repo.folder, "--for", "edge", out).stdout
    assert "assignments of 1 nodes" in said
    copy = out / payload.relative_to(lab.repo.public)
    assert copy.read_bytes() == payload.read_bytes()
    assignment = json.loads((out / "assignments/n.json").read_text())
    assert assignment["signed"]["node"] == "n" and assignment["signatures"]
    revision = assignment["signed"]["revision"]["sha256"]
    # What is one node's alone is not for everybody on the machine that exports.
    for secret in ("assignments/n.json", f"objects/sha256/{revision}"):
        assert (out / secret).stat().st_mode & 0o077 == 0
    assert digest(out / "objects/sha256" / revision) == revision
    assert (out / "metadata/timestamp.json").read_text() == (lab.repo.public / "metadata/timestamp.json").read_text()
    assert not list(out.rglob("*.part"))
    # The same from a web server, by node, and what is asked for without a server.
    origin = Origin(lab.repo.public)
    try:
        lab.cli("repo", "export", "--repository", origin.url, "--for", "n", by_url)
        names = {str(f.relative_to(out)) for f in out.rglob("*") if f.is_file()}
        assert {str(f.relative_to(by_url)) for f in by_url.rglob("*") if f.is_file()} == names
        # One that does not hold what was signed gives nothing.
        origin.misbehave("targets/", "forge")
        bad = lab.cli("repo", "export", "--repository", origin.url, "--artifact", "web:1.0.0", tmp_path / "bad", check=False)
        assert bad.returncode == 1 and "not what its signed metadata says" in bad.stderr
        assert not [f for f in (tmp_path / "bad" / "targets").rglob("*") if f.is_file()]
    finally:
        origin.close()
    assert lab.cli("repo", "export", "--repository", lab.repo.folder, "--for", "nobody", tmp_path / "x", check=False).returncode == 1
    missing = lab.cli("repo", "export", "--repository", lab.repo.folder, "--artifact", "web:9", tmp_path / "y", check=False)
    assert missing.returncode == 1 and "none of these artifacts" in missing.stderr
    # The node takes it with nobody to be asked.
    lab.server.kill()
    for relay in lab.relays.values():
        relay.kill()
    taken = lab.run("src/agent/skerry-agent", "import", "--state", lab.agent.state, out)
    assert "there already" in taken.stdout + taken.stderr
