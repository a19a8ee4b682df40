# SPDX-License-Identifier: Apache-2.0
"""Who can do what: the server, whoever serves the repository, and thieves of keys, each played with real programs.
The table is in docs/threat-model.md."""
import json
import random
import shutil

import pytest

from lab import Lab
from lab.artifacts import ArtifactRepository, announce, call, commit, message, shown


@pytest.fixture
def street(request, build):
    """A server with a repository, one node, one fleet. param: whom nodes trust for revisions."""
    lab = Lab(build, log_level="debug")
    try:
        lab.init_server()
        lab.repo = ArtifactRepository(lab)
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


def test_the_fleet_gets_the_delta_that_was_made_for_it(street):
    """The server makes it as soon as a newer version is there; plan, describe and node agree on the bytes."""
    lab = street
    lab.repo.push("1.0.0", "one")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "1.0.0"), lab.notify())[0])
    lab.repo.push("2.0.0", "two")
    announce(lab)
    delta = lab.wait("the delta to be made",
                     lambda: next((d for d in call(lab, "GET", "/deltas")["items"] if d["state"] == "Made"), None))
    assert (delta["artifact"], delta["from"], delta["to"], delta["nodes"]) == ("web", "1.0.0", "2.0.0", 1)
    change = commit(lab.fleet_files, "2.0.0")
    plan = json.loads(lab.cli("plan", "--server", "-o", "json", lab.fleet_files.tree, check=False).stdout)
    transfer, = plan["fleets"][0]["transfers"]
    assert (transfer["node"], transfer["way"]) == ("n", "delta")
    assert delta["bytes"] <= transfer["bytes"] < transfer["bytesWhole"] / 10
    text = lab.cli("plan", "--server", lab.fleet_files.tree, check=False).stdout
    assert "artifact web 1.0.0 -> 2.0.0" in text
    assert "artifact web 2.0.0: 1 by delta; " in text
    lab.notify()
    rollout = lab.wait_rollout(change)["metadata"]["name"]
    artifact = lab.wait("the node to say how it got it",
                        lambda: next((a for a in lab.node("n")["status"]["artifacts"] if a["version"] == "2.0.0"), None))
    assert artifact["way"] == "delta"
    assert 0 < artifact["bytesFetched"] < transfer["bytesWhole"] / 10
    summed = lab.rollout(rollout)["status"]["transfer"]
    assert summed["nodes"] == 1
    assert summed["bytesFetched"] >= artifact["bytesFetched"]
    assert "Predicted" in lab.cli("describe", "rollout", rollout).stdout
    assert shown(lab.agent) == "two"


def test_the_plan_says_what_each_way_will_cost(street):
    """Predicted before the commit is pushed, against what the node counted on the wire: within 5 % and 4 KiB."""
    lab = street
    noise = random.Random(11)
    tree = lab.folder / "large"
    tree.mkdir()
    content = bytearray(noise.randbytes(3000000))

    def push(version, *options):
        (tree / "content.bin").write_bytes(content)
        (tree / "index.html").write_text(version)
        lab.repo.run("artifact", "push", "--type", "tree", "--platform", "linux/amd64", *options, f"web:{version}", tree)
        announce(lab)

    def take(version, way):
        change = commit(lab.fleet_files, version)
        plan = json.loads(lab.cli("plan", "--server", "-o", "json", lab.fleet_files.tree, check=False).stdout)
        transfer, = plan["fleets"][0]["transfers"]
        lab.notify()
        lab.wait_rollout(change)
        artifact = lab.wait("the node to say how it got it", lambda: next(
            (a for a in lab.node("n")["status"]["artifacts"] if a["version"] == version and a["state"] == "Ready"), None))
        assert (transfer["way"], artifact["way"]) == (way, way), (transfer, artifact)
        assert abs(artifact["bytesFetched"] - transfer["bytes"]) <= 4096 + transfer["bytes"] // 20, (transfer, artifact)
        return transfer

    deltas = lab.repo.public / "deltas"
    shutil.rmtree(deltas, ignore_errors=True)
    deltas.write_text("no deltas for now")
    push("1.0.0", "--no-chunks")
    whole = take("1.0.0", "whole")
    assert whole["bytes"] >= 3000000
    # Without the old one's chunk index nobody can tell what a node lacks of the new one's chunks; with it, they can.
    content[1000000:1000000] = noise.randbytes(50000)
    push("2.0.0")
    lab.wait_rollout((commit(lab.fleet_files, "2.0.0"), lab.notify())[0])
    lab.wait("the node to have it", lambda: shown(lab.agent) == "2.0.0")
    content[2000000:2010000] = noise.randbytes(30000)
    push("3.0.0")
    chunks = take("3.0.0", "chunks")
    assert 30000 < chunks["bytes"] < whole["bytes"] / 4, chunks
    deltas.unlink()
    content[500000:500100] = noise.randbytes(100)
    push("4.0.0")
    lab.wait("the delta to be made", lambda: any(
        d["state"] == "Made" and (d["from"], d["to"]) == ("3.0.0", "4.0.0") for d in call(lab, "GET", "/deltas")["items"]))
    assert take("4.0.0", "delta")["bytes"] < chunks["bytes"]


def test_a_delta_that_failed_is_tried_again_or_says_why_not(street):
    """What stands in the way of a delta goes away; what two files have in common does not come."""
    lab = street
    lab.repo.push("1.0.0", "one")
    deltas = lab.repo.public / "deltas"
    shutil.rmtree(deltas, ignore_errors=True)
    deltas.write_text("in the way of the folder")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "1.0.0"), lab.notify())[0])
    lab.repo.push("2.0.0", "two")
    announce(lab)

    def delta(to, *states):
        return next((d for d in call(lab, "GET", "/deltas")["items"] if d["to"] == to and d["state"] in states), None)

    waits = lab.wait("the delta to fail", lambda: delta("2.0.0", "Retrying"))
    assert waits["failures"] >= 1 and "deltas" in waits["message"] and waits["retryInSeconds"] >= 0
    table = lab.cli("get", "deltas").stdout
    assert "2.0.0" in table and "Retrying" in table
    assert "skerry get deltas" in lab.cli("status").stdout
    deltas.unlink()
    made = lab.wait("the delta to be made", lambda: delta("2.0.0", "Made"))
    assert made["message"] is None and made["retryInSeconds"] is None
    # Noise has nothing in common with anything.
    noise = lab.folder / "noise"
    noise.write_bytes(random.Random(7).randbytes(300000))
    lab.repo.run("artifact", "push", "--type", "file", "--platform", "linux/amd64", "web:3.0.0", noise)
    announce(lab)
    hopeless = lab.wait("the delta to fail for good", lambda: delta("3.0.0", "Failed"))
    assert hopeless["failures"] == 1 and "no smaller than the target" in hopeless["message"]
    assert "no smaller than the target" in lab.cli("get", "deltas", "-o", "wide").stdout


def test_another_repository_is_another_root(street):
    """A server that turns brings a repository of its own: what its keys sign is nothing to a node that knows ours."""
    lab = street
    lab.repo.push("1.0.0", "one")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "1.0.0"), lab.notify())[0])
    ours = lab.repo
    lab.repo = ArtifactRepository(lab, "evil")
    lab.repo.push("1.0.0", "another one")
    lab.repo.push("6.6.6", "evil")
    lab.server.stop()
    lab.server = None
    shutil.rmtree(lab.state / "director")
    lab.start_server("--repository", lab.repo.folder)
    announce(lab)
    commit(lab.fleet_files, "6.6.6")
    lab.cli("notify", "fleet", "--wait", check=False)
    lab.wait("the server to tell the node to take it",
             lambda: "6.6.6" in json.dumps(lab.node("n")["status"]["desired"]["artifacts"]))
    lab.wait("the node to refuse it", lambda: message(lab, "n") and lab.node("n")["status"]["observed"]["state"] != "Healthy")
    assert shown(lab.agent) == "one"
    assert ours.public.is_dir()


def test_a_thief_with_the_folder_makes_no_root(street):
    """Who can write to the published folder puts a next root there, signed by keys of its own: neither the server, after
    a restart, nor a node that joins then takes it."""
    lab = street
    lab.repo.push("1.0.0", "one")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "1.0.0"), lab.notify())[0])
    evil = ArtifactRepository(lab, "evil")
    evil.run("repo", "key", "--no-passphrase", "generate", "second")
    evil.run("repo", "rotate", "--add", "second", "root")
    evil.run("repo", "publish")
    forged = evil.public / "metadata/2.root.json"
    assert forged.is_file()
    first = (lab.repo.public / "metadata/1.root.json").read_bytes()
    ours = json.loads(first)["signed"]
    shutil.copy(forged, lab.repo.public / "metadata/2.root.json")
    shutil.copy(evil.public / "metadata/1.root.json", lab.repo.public / "metadata/1.root.json")
    lab.server.stop()
    lab.server = None
    lab.start_server("--repository", lab.repo.folder)
    late = lab.add_agent("late", {"fleet": "edge"})
    lab.wait_connected()
    lab.wait("the server to complain", lambda: call(lab, "GET", "/repository")["error"])
    given = json.loads((late.state / "identity/bundle.json").read_text())["repository"]["root"]["signed"]
    assert given == ours
    # Once the folder is put right again both nodes go on.
    (lab.repo.public / "metadata/2.root.json").unlink()
    (lab.repo.public / "metadata/1.root.json").write_bytes(first)
    lab.repo.push("2.0.0", "two")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "2.0.0"), lab.notify())[0])
    lab.wait("both to show it", lambda: shown(lab.agent) == "two" and shown(late) == "two")


@pytest.mark.parametrize("street", ["release-key"], indirect=True)
def test_one_of_two_release_keys_releases_nothing(street):
    lab = street
    for name in ("alice", "bob"):
        lab.repo.run("repo", "key", "--no-passphrase", "generate", name)
    lab.repo.run("repo", "delegate", "--key", "alice", "--key", "bob", "--threshold", "2", "--path", "revisions/*/*",
                 "revisions")
    lab.repo.run("repo", "publish")
    lab.repo.push("1.0.0", "one")
    announce(lab)
    change = commit(lab.fleet_files, "1.0.0")
    lab.notify()
    elsewhere = lab.folder / "bob.pem"
    (lab.repo.folder / "keys/bob.pem").rename(elsewhere)
    said = lab.repo.release(lab.fleet_files.tree).stdout
    assert "staged" in said and "Not public yet" in said
    announce(lab)
    assert "skerry release" in waits_for(lab)
    elsewhere.rename(lab.repo.folder / "keys/bob.pem")
    (lab.repo.folder / "keys/alice.pem").unlink()
    said = lab.repo.release(lab.fleet_files.tree, "--sign-with", "bob").stdout
    assert ": released" in said
    announce(lab)
    lab.wait_rollout(change)
    lab.wait("the node to show it", lambda: shown(lab.agent) == "one")


PLAIN = """\
apiVersion: skerry/v1alpha1
kind: Fleet
metadata: {name: edge}
spec:
  selector: {matchLabels: {fleet: edge}}
  template: {files: [{path: /etc/edge.conf, content: "CONTENT"}]}
"""


@pytest.mark.parametrize("street", ["release-key"], indirect=True)
def test_the_server_cannot_bring_an_old_release_back(street):
    """What was released, and then superseded, stays released: nodes count."""
    lab = street
    conf = lab.agent.sysroot / "etc/edge.conf"

    def write(text):
        lab.fleet_files.write("fleet.yaml", PLAIN.replace("CONTENT", text))
        change = lab.fleet_files.commit(text)
        lab.notify()
        return change

    def release(*options):
        said = lab.repo.release(lab.fleet_files.tree, *options).stdout
        announce(lab)
        return said

    for text in ("one", "two", "three", "four", "five"):
        change = write(text)
        assert ": released" in release()
        lab.wait_rollout(change)
        lab.wait("the node to show it", lambda text=text: conf.read_text() == text)
    # An honest server knows what its nodes would say.
    write("one")
    assert "Release 5 came after it" in release()
    lab.wait("the fleet to wait for a new release", lambda: "skerry release --again" in waits_for(lab))
    # One that turned does not ask: it is started with the trust that lets it do as it likes.
    lab.server.stop()
    lab.server = None
    lab.start_server("--repository", lab.repo.folder, "--trust", "server")
    lab.wait("the node to refuse it", lambda: "is release 1 of fleet edge" in message(lab, "n"))
    assert conf.read_text() == "five"
    lab.agent.kill()
    lab.agent.start()
    lab.wait("the node to refuse it still", lambda: lab.node("n")["status"]["connected"] and
             "is release 1 of fleet edge" in message(lab, "n"))
    assert conf.read_text() == "five"
    # Whoever holds the release key may say otherwise.
    assert "release 6: released" in release("--again", "--no-way-back")
    lab.wait("the node to take it", lambda: conf.read_text() == "one")
    # And then there is no way back, not even by one.
    write("five")
    lab.wait("the node to refuse what it had", lambda: "takes none below 6" in message(lab, "n"))
    assert conf.read_text() == "one"


@pytest.mark.long
def test_a_frozen_repository_is_noticed_and_what_runs_goes_on(street, run_all):
    if not run_all:
        pytest.skip("a timestamp is good for a minute at least")
    lab = street
    lab.repo.push("1.0.0", "one")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "1.0.0"), lab.notify())[0])
    lab.repo.run("repo", "rotate", "--expires", "60s", "timestamp")
    lab.repo.run("repo", "publish")

    def error():
        call(lab, "POST", "/repository/notify")
        return call(lab, "GET", "/repository")["error"]

    said = lab.wait("the server to say that the timestamp is too old", error, 180)
    assert "timestamp" in said and "expired" in said
    assert lab.node("n")["status"]["observed"]["state"] == "Healthy"
    assert shown(lab.agent) == "one"
    lab.repo.run("repo", "rotate", "--expires", "24h", "timestamp")
    lab.repo.run("repo", "publish")
    lab.wait("the server to read it again", lambda: error() is None)
    lab.repo.push("2.0.0", "two")
    announce(lab)
    lab.wait_rollout((commit(lab.fleet_files, "2.0.0"), lab.notify())[0])
    assert shown(lab.agent) == "two"
