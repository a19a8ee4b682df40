# SPDX-License-Identifier: Apache-2.0
"""A region: nodes behind a relay, with and without the server."""
import fleets
from lab import wait_until
from test_agent import app_process
from test_rollout import start_fleet


def start_region(lab, repository, names=("a", "b")):
    lab.start_relay("relay")
    for name in names:
        lab.add_agent(name, {"fleet": "edge"}, relay="relay")
    lab.wait_connected()
    fleets.write(repository)
    commit = repository.commit("First version")
    lab.add_source(repository)
    lab.notify()
    lab.wait_rollout(commit)


def test_a_commit_passes_through_the_relay(lab, fleet_repository):
    start_region(lab, fleet_repository)
    assert all(lab.node(n)["status"]["relay"] == "relay" for n in ("a", "b"))
    commit = fleets.push(lab, fleet_repository, "Second", text="two")
    lab.wait_rollout(commit)
    assert all(fleets.runs(agent, "two") for agent in lab.agents.values())


def test_nodes_go_on_while_the_server_is_away(lab, fleet_repository):
    start_region(lab, fleet_repository, ["a", "b"])
    lab.server.kill()
    agent = lab.agents["a"]
    agent.kill()
    # All that the node knows is lost but its identity: the relay has the rest.
    for left in ("assignment.json", "objects"):
        target = agent.state / left
        assert target.exists(), f"{target} is where a node keeps what the relay can give again"
        if target.is_dir():
            import shutil
            shutil.rmtree(target)
        else:
            target.unlink()
    (agent.sysroot / "etc/edge.conf").unlink()
    agent.start()
    wait_until("a to converge through the relay alone", lambda: fleets.runs(agent, "one"))
    lab.start_server()
    lab.wait_connected(["a", "b"])
    lab.wait("a to be healthy", lambda: lab.node("a")["status"]["observed"]["state"] == "Healthy")


def test_the_relay_restarts_under_its_nodes(lab, fleet_repository):
    start_region(lab, fleet_repository)
    lab.relays["relay"].kill()
    lab.wait("the nodes to be seen leaving", lambda: not any(n["status"]["connected"] for n in lab.nodes().values()))
    lab.start_relay("relay")
    lab.wait_connected()
    commit = fleets.push(lab, fleet_repository, "Second", text="two")
    lab.wait_rollout(commit)


def test_status_reported_while_the_server_was_away_arrives(lab, fleet_repository):
    start_region(lab, fleet_repository, ["a"])
    lab.server.kill()
    managed = lab.agents["a"].sysroot / "etc/edge.conf"
    managed.unlink()
    wait_until("the file to be put back", managed.exists)
    lab.start_server()
    lab.wait("the drift to be known at the centre", lambda: lab.node("a")["status"]["driftCorrected"] >= 1)


def test_a_revoked_node_is_cut_off_at_the_relay(lab, fleet_repository):
    start_region(lab, fleet_repository)
    lab.cli("node", "revoke", "a", "--reason", "stolen")
    lab.wait("a to be cut off", lambda: not lab.node("a")["status"]["connected"])
    lab.agents["a"].kill()
    lab.agents["a"].start()
    fleets.push(lab, fleet_repository, "Second", text="two")
    lab.wait("b to have it", lambda: fleets.runs(lab.agents["b"], "two"))
    assert fleets.runs(lab.agents["a"], "one")
    assert not lab.node("a")["status"]["connected"]


def test_an_enrolment_passes_through_the_relay(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["direct"])
    lab.start_relay("relay")
    lab.add_agent("behind", {"fleet": "edge"}, relay="relay")
    lab.wait("the newcomer to be healthy",
             lambda: "behind" in lab.nodes() and lab.node("behind")["status"]["observed"]["state"] == "Healthy")
    assert wait_until("its process", app_process(lab.agents["behind"]))
    assert lab.cli_json("get", "relays")["items"][0]["status"]["nodes"] == 1
