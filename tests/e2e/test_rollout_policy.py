# SPDX-License-Identifier: Apache-2.0
"""What a policy holds back: slots, maintenance windows, people."""
import fleets

ONE_WAVE = [{"name": "all"}]


def start_fleet(lab, repository, names, **what):
    for name in names:
        lab.add_agent(name, {"fleet": "edge", "site": "kiel" if name < "c" else "husum"})
    lab.wait_connected()
    fleets.write(repository, waves=ONE_WAVE, **what)
    commit = repository.commit("First version")
    lab.add_source(repository)
    lab.notify()
    lab.wait_rollout(commit)


def change_rollout(repository, *lines):
    """Adds fields to the Rollout of the next commit."""
    path = "edge/rollout.yaml"
    repository.write(path, fleets.ROLLOUT.format(name="edge", waves='[{"name": "all"}]', max_failed=0, min_sample=1,
                                                 deadline=120, defer=3, rollback="true") + "".join(f"  {line}\n" for line in lines))


def states(lab, rollout):
    return {m["node"]: m["state"] for m in lab.rollout(rollout)["status"]["members"]}


def test_a_group_is_changed_one_node_at_a_time(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b", "c"])
    fleets.write(fleet_repository, text="bad", waves=ONE_WAVE, ready="60s")
    change_rollout(fleet_repository, "disruptionBudgets: [{groupBy: [site], maxUnavailable: 1}]")
    commit = fleet_repository.commit("Never confirms, so its slot stays taken")
    lab.notify()
    name = lab.wait_rollout(commit, "Progressing")["metadata"]["name"]
    lab.wait("one node of each site to have its slot, and the other to wait for it",
             lambda: sorted(states(lab, name).values()) == ["Confirming", "Confirming", "Staged"])
    waiting = [n for n, s in states(lab, name).items() if s == "Staged"]
    assert waiting[0] in ("a", "b") and states(lab, name)["c"] == "Confirming"
    assert fleets.runs(lab.agents[waiting[0]], "one"), "who waits goes on with what it has"
    fleets.write(fleet_repository, text="two", waves=ONE_WAVE)
    change_rollout(fleet_repository, "maxUnavailable: 1")
    commit = fleet_repository.commit("Mended, one after the other")
    lab.notify()
    lab.wait_rollout(commit)
    assert all(fleets.runs(agent, "two") for agent in lab.agents.values())


def test_a_node_keeps_its_windows(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    fleet_repository.write("edge/schedule.yaml", """\
apiVersion: skerry/v1alpha1
kind: Schedule
metadata: {name: frozen}
spec:
  timeZone: Europe/Berlin
  freezes: [{from: "2020-01-01", to: "2099-12-31", reason: winter}]
""")
    fleets.write(fleet_repository, text="two", waves=ONE_WAVE)
    change_rollout(fleet_repository, "schedule: frozen")
    commit = fleet_repository.commit("Out of its window")
    lab.notify()
    name = lab.wait_rollout(commit, "Progressing")["metadata"]["name"]
    lab.wait("the node to wait for its window", lambda: states(lab, name)["a"] == "WaitingWindow")
    assert "frozen (winter)" in lab.rollout(name)["status"]["members"][0]["reason"]
    assert fleets.runs(lab.agents["a"], "one")
    fleet_repository.write("edge/schedule.yaml", """\
apiVersion: skerry/v1alpha1
kind: Schedule
metadata: {name: frozen}
spec:
  windows: [{from: "00:00", to: "24:00"}]
""")
    fleets.write(fleet_repository, text="three", waves=ONE_WAVE)
    change_rollout(fleet_repository, "schedule: frozen")
    commit = fleet_repository.commit("At any time of the day")
    lab.notify()
    lab.wait_rollout(commit)
    assert fleets.runs(lab.agents["a"], "three")


def test_a_wave_waits_for_a_person(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    commit = fleets.push(lab, fleet_repository, "To be approved", text="two",
                         waves=[{"name": "all", "approval": "Manual"}])
    rollout = lab.wait_rollout(commit, "AwaitingApproval")
    status = lab.rollout(rollout["metadata"]["name"])["status"]
    assert status["reason"] == "wave all waits to be approved by anybody who may act on it (0 of 1)"
    assert status["waves"][0]["state"] == "AwaitingApproval"
    assert fleets.runs(lab.agents["a"], "one")
