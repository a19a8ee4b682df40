# SPDX-License-Identifier: Apache-2.0
"""Who can do what: the server, whoever serves the repository, and thieves of keys, each played with real programs.
The table is in docs/threat-model.md."""
import pytest

from lab import Lab
from trust import Repository, announce, call, commit, message, shown


@pytest.fixture
def street(request, build):
    """A server with a repository, one node, one fleet. param: whom nodes trust for revisions."""
    lab = Lab(build, log_level="debug")
    try:
        lab.init_server()
        lab.repo = Repository(lab)
        lab.trust = getattr(request, "param", "server")
        lab.start_server("--repository", lab.repo.folder, "--trust", lab.trust)
        lab.fleet_files = lab.repository()
        lab.fleet_files.write("README", "a fleet")
        lab.fleet_files.commit("begin")
        lab.add_source(lab.fleet_files)
        lab.agent = lab.add_agent("n", {"fleet": "edge"})
        lab.wait_connected()
        yield lab
        report = getattr(request.node, "outcome_of_call", None)
        if report is not None and report.failed:
            for log in sorted((lab.folder / "logs").glob("*.log")):
                print(f"==== {log.name}")
                print("\n".join(log.read_text(errors="replace").splitlines()[-60:]))
    finally:
        lab.close()


def waits_for(lab):
    return lab.fleet("edge")["status"]["waitsFor"] or ""


def test_a_version_that_is_not_there_waits_and_goes_on_by_itself(street):
    lab = street
    lab.repo.push("1.0.0", "one")
    announce(lab)
    change = commit(lab.fleet_files, "2.0.0")
    said = lab.cli("notify", "fleet", "--wait", check=False)
    assert said.returncode == 1
    assert 'fleet.yaml:13:36: error: artifact "web" has no version "2.0.0" in the repository; there are 1.0.0' in said.stderr
    assert "skerry artifact push web:2.0.0" in said.stderr
    lab.repo.push("2.0.0", "two")
    announce(lab)
    lab.wait_rollout(change)
    lab.wait("the node to show it", lambda: shown(lab.agent) == "two")
    # Another platform's node waits and says why; nobody else is held up.
    assert lab.node("n")["status"]["desired"]["artifacts"][0]["target"].startswith("artifacts/web/2.0.0/")
    lab.repo.push("3.0.0", "three", "linux/riscv64")
    announce(lab)
    before = lab.node("n")["status"]["desired"]["assignment"]
    commit(lab.fleet_files, "3.0.0")
    lab.notify()
    lab.wait("the fleet to say why it waits", lambda: "no artifact web:3.0.0 for" in waits_for(lab))
    assert lab.node("n")["status"]["desired"]["assignment"] == before
    lab.repo.push("3.1.0", "three and one")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "3.1.0"), lab.notify())[0])
    assert waits_for(lab) == ""


@pytest.mark.parametrize("street", ["release-key"], indirect=True)
def test_the_server_cannot_make_a_revision(street):
    lab = street
    lab.repo.push("1.0.0", "one")
    lab.repo.push("2.0.0", "two")
    announce(lab)
    first = commit(lab.fleet_files, "1.0.0")
    lab.notify()
    lab.wait("the fleet to wait for a release", lambda: "skerry release" in waits_for(lab))
    assert shown(lab.agent) is None
    said = lab.repo.release(lab.fleet_files.tree, "--dry-run").stdout
    assert "would be released" in said
    assert "skerry release" in waits_for(lab)
    assert "released" in lab.repo.release(lab.fleet_files.tree).stdout
    announce(lab)
    lab.wait_rollout(first)
    lab.wait("the node to show it", lambda: shown(lab.agent) == "one")
    # Again on the same commit: nothing new.
    assert "released before" in lab.repo.release(lab.fleet_files.tree).stdout
    commit(lab.fleet_files, "2.0.0")
    lab.notify()
    lab.wait("the next to wait", lambda: "skerry release" in waits_for(lab))
    # The server turns: it is started with the trust that lets it do as it likes. The node knows better.
    lab.server.stop()
    lab.server = None
    lab.start_server("--repository", lab.repo.folder, "--trust", "server")
    lab.wait("the node to refuse what was not released",
             lambda: "release" in message(lab, "n") or "revisions/edge" in message(lab, "n"))
    assert shown(lab.agent) == "one"
    # And takes it when it is.
    lab.repo.release(lab.fleet_files.tree)
    announce(lab)
    lab.wait("the node to show it", lambda: shown(lab.agent) == "two")


def test_a_swapped_artifact_is_refused_before_anything_shows(street):
    lab = street
    lab.repo.push("1.0.0", "one")
    lab.repo.push("2.0.0", "two", "linux/amd64", "web", "--no-chunks")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "1.0.0"), lab.notify())[0])
    file = lab.repo.target_file("2.0.0")
    good = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(good[:-600] + b"evil" + good[-596:])
    commit(lab.fleet_files, "2.0.0")
    lab.notify()
    lab.wait("the node to say that it is not what was signed", lambda: "web" in message(lab, "n"))
    assert shown(lab.agent) == "one"
    file.write_bytes(good)
    lab.wait("the node to take the right one", lambda: shown(lab.agent) == "two", 180)


def test_an_older_repository_is_refused(street):
    """A mirror that is frozen, or goes back: the node and the server keep what they know."""
    lab = street
    lab.repo.push("1.0.0", "one")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "1.0.0"), lab.notify())[0])
    old = (lab.repo.public / "metadata/timestamp.json").read_bytes()
    lab.repo.push("2.0.0", "two")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "2.0.0"), lab.notify())[0])
    (lab.repo.public / "metadata/timestamp.json").write_bytes(old)
    call(lab, "POST", "/repository/notify")
    error = lab.wait("the server to complain", lambda: call(lab, "GET", "/repository")["error"])
    assert "timestamp" in error
    # What it knew stays: a new node gets what the others have.
    assert len(call(lab, "GET", "/repository/targets")["targets"]) == 2
    assert lab.node("n")["status"]["observed"]["state"] == "Healthy"
    assert shown(lab.agent) == "two"
