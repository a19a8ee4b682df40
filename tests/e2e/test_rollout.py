# SPDX-License-Identifier: Apache-2.0
"""The first street: a commit reaches the fleet, in waves, or goes back."""
import json

import fleets
from lab import wait_until


def start_fleet(lab, repository, names, labels=None, **what):
    """Nodes that run the first commit of a small fleet."""
    for name in names:
        lab.add_agent(name, dict(labels or {}, fleet="edge"))
    lab.wait_connected()
    fleets.write(repository, **what)
    commit = repository.commit("First version")
    lab.add_source(repository)
    lab.notify()
    lab.wait_rollout(commit)
    return commit


def test_a_commit_reaches_every_node_in_waves(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b", "c"])
    assert all(fleets.runs(agent, "one") for agent in lab.agents.values())

    commit = fleets.push(lab, fleet_repository, "Second", text="two")
    rollout = lab.wait_rollout(commit)
    whole = lab.rollout(rollout["metadata"]["name"])
    waves = whole["status"]["waves"]
    assert [w["name"] for w in waves] == ["canary", "rest"]
    assert [w["total"] for w in waves] == [1, 2]
    assert [w["healthy"] for w in waves] == [1, 2]
    assert waves[0]["startedAt"] < waves[1]["startedAt"]
    assert all(fleets.runs(agent, "two") for agent in lab.agents.values())
    for name, node in lab.nodes().items():
        assert node["status"]["observed"]["revision"] == whole["spec"]["revision"], name
        assert node["status"]["observed"]["state"] == "Healthy"
    assert lab.fleet("edge")["status"]["stableRevision"] == whole["spec"]["revision"]


def test_a_bad_commit_stops_at_the_canary_and_is_rolled_back(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b", "c"])
    good = lab.fleet("edge")["status"]["stableRevision"]
    commit = fleets.push(lab, fleet_repository, "Break it", text="bad", ready="3s")
    rollout = lab.wait_rollout(commit, "RolledBack")
    whole = lab.rollout(rollout["metadata"]["name"])
    failed = [m for m in whole["status"]["members"] if m["state"] not in ("Pending",)]
    assert len(failed) == 1, "only the canary was offered the bad revision"
    assert "text" in failed[0]["reason"], "the reason names the check that failed"
    assert whole["status"]["failed"] == 1
    lab.wait("all nodes to run the good revision",
             lambda: all(n["status"]["observed"] == {"revision": good, "state": "Healthy", "message": None}
                         for n in lab.nodes().values()))
    assert all(fleets.runs(agent, "one") for agent in lab.agents.values())
    assert lab.fleet("edge")["status"]["stableRevision"] == good

    fixed = fleets.push(lab, fleet_repository, "Mend it", text="three")
    lab.wait_rollout(fixed)
    assert all(fleets.runs(agent, "three") for agent in lab.agents.values())


def test_a_cut_off_node_is_deferred_and_goes_straight_to_the_newest(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b", "c"], defer=1)
    lab.agents["c"].link.cut()
    lab.wait("c to be away", lambda: not lab.node("c")["status"]["connected"])
    second = fleets.push(lab, fleet_repository, "Second", text="two", defer=1)
    rollout = lab.wait_rollout(second)
    assert lab.rollout(rollout["metadata"]["name"])["status"]["deferred"] == 1
    third = fleets.push(lab, fleet_repository, "Third", text="three", defer=1)
    newest = lab.wait_rollout(third)["spec"]["revision"]
    assert fleets.runs(lab.agents["c"], "one")

    lab.agents["c"].link.restore()
    lab.wait("c to catch up", lambda: lab.node("c")["status"]["observed"]["revision"] == newest)
    assert fleets.runs(lab.agents["c"], "three")
    log = lab.agents["c"].log.read_text()
    assert newest in log
    assert rollout["spec"]["revision"] not in log, "c never worked at the revision that it slept through"


def test_a_newer_commit_supersedes(lab, fleet_repository):
    slow = [{"name": "canary", "limit": 1, "pause": {"duration": "10m"}}, {"name": "rest"}]
    start_fleet(lab, fleet_repository, ["a", "b"])
    second = fleets.push(lab, fleet_repository, "Soak for long", text="two", waves=slow)
    lab.wait_rollout(second, "Soaking")
    third = fleets.push(lab, fleet_repository, "Newer", text="three")
    lab.wait_rollout(third)
    phases = {r["spec"]["commit"]: r["status"]["phase"] for r in lab.rollouts("edge")}
    assert phases[second] == "Superseded"
    assert all(fleets.runs(agent, "three") for agent in lab.agents.values())


def test_pause_resume_and_abort_by_hand(lab, fleet_repository):
    slow = [{"name": "canary", "limit": 1, "pause": {"duration": "4s"}}, {"name": "rest"}]
    start_fleet(lab, fleet_repository, ["a", "b"])
    second = fleets.push(lab, fleet_repository, "Second", text="two", waves=slow)
    name = lab.wait_rollout(second, "Soaking")["metadata"]["name"]
    lab.cli("rollout", "pause", name, "--reason", "lunch")
    paused = lab.rollout(name)
    assert paused["status"]["paused"] and paused["status"]["reason"] == "lunch"
    refused = lab.cli("rollout", "pause", name, check=False)
    assert refused.returncode == 1 and "paused" in refused.stderr
    lab.cli("rollout", "resume", name)
    lab.wait_rollout(second)

    third = fleets.push(lab, fleet_repository, "Third", text="three", waves=slow)
    name = lab.wait_rollout(third, "Soaking")["metadata"]["name"]
    lab.cli("rollout", "abort", name, "--reason", "no")
    lab.wait("the abort to be final", lambda: lab.rollout(name)["status"]["phase"] in ("Aborted", "RolledBack"))
    assert lab.fleet("edge")["status"]["stableRevision"] != lab.rollout(name)["spec"]["revision"]


def test_retry_takes_a_failed_rollout_up_again(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b"])
    marker = lab.folder / "may-start"
    fleets.write(fleet_repository, text="two", ready="2s")
    fleet_repository.replace("edge/web.yaml", "test two != bad", f"test -e {marker}")
    commit = fleet_repository.commit("Depends on a file")
    lab.notify()
    name = lab.wait_rollout(commit, "RolledBack")["metadata"]["name"]
    marker.touch()
    lab.cli("rollout", "retry", name)
    wait_until("the retried rollout to succeed", lambda: lab.rollout(name)["status"]["phase"] == "Succeeded", 90)
    assert all(fleets.runs(agent, "two") for agent in lab.agents.values())


def test_a_newcomer_gets_the_stable_revision(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    newcomer = lab.add_agent("late", {"fleet": "edge"})
    lab.wait("the newcomer to be healthy",
             lambda: (lab.nodes().get("late") or {"status": {"observed": {"state": None}}})["status"]["observed"]["state"] == "Healthy")
    assert fleets.runs(newcomer, "one")
    assert len(lab.rollouts("edge")) == 1, "a newcomer starts no rollout"


def test_a_change_of_one_nodes_variables_rolls_out_to_that_node_alone(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b"])
    before = lab.node("b")["status"]["desired"]["assignment"]
    fleet_repository.write("nodes.yaml", json.dumps({
        "apiVersion": "skerry/v1alpha1", "kind": "Node", "metadata": {"name": "a", "labels": {"fleet": "edge"}},
        "spec": {"variables": {"text": "special"}}}))
    commit = fleet_repository.commit("Give a its own text")
    lab.notify()
    rollout = lab.rollout(lab.wait_rollout(commit)["metadata"]["name"])
    assert [m["node"] for m in rollout["status"]["members"]] == ["a"]
    assert fleets.runs(lab.agents["a"], "special")
    assert fleets.runs(lab.agents["b"], "one")
    assert lab.node("b")["status"]["desired"]["assignment"] == before


def test_an_all_offline_canary_does_not_pass(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b"])
    lab.agents["a"].link.cut()
    lab.wait("a to be away", lambda: not lab.node("a")["status"]["connected"])
    waves = [{"name": "canary", "selector": {"matchLabels": {"canary": "yes"}}}, {"name": "rest"}]
    lab.cli("node", "label", "a", "canary=yes")
    commit = fleets.push(lab, fleet_repository, "Second", text="two", waves=waves, defer=1)
    name = lab.rollouts("edge")[0]["metadata"]["name"]
    lab.wait("the canary to be deferred", lambda: lab.rollout(name)["status"]["deferred"] == 1)
    status = lab.rollout(name)["status"]
    assert status["phase"] == "Progressing" and status["wave"] == "canary"
    assert fleets.runs(lab.agents["b"], "one")
    lab.agents["a"].link.restore()
    lab.wait_rollout(commit)
    assert fleets.runs(lab.agents["b"], "two")
