# SPDX-License-Identifier: Apache-2.0
"""One node: drift, standing alone, prune, adoption, rollback, order."""
import os
import pathlib
import signal

import fleets
from lab import wait_until
from test_rollout import start_fleet


def state_of(lab, name):
    return lab.node(name)["status"]["observed"]["state"]


def processes(agent):
    """Pids of what the node's apps run, found by the environment they were given."""
    mark = f"SKERRY_SYSROOT={agent.sysroot}\0".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                line = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = pathlib.Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if mark in environment and "sleep" in line:
                found.append(int(entry))
    return found


def app_process(agent):
    """The one process that the node's only app runs."""
    return lambda: (lambda pids: pids[0] if len(pids) == 1 else None)(processes(agent))


def test_an_edited_file_is_put_back_and_counted(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    managed = lab.agents["a"].sysroot / "etc/edge.conf"
    right = managed.read_text()
    managed.write_text("changed by hand\n")
    wait_until("the edit to be put back", lambda: managed.read_text() == right)
    managed.unlink()
    wait_until("the file to be put back", lambda: managed.exists() and managed.read_text() == right)
    managed.chmod(0o777)
    wait_until("the mode to be put back", lambda: managed.stat().st_mode & 0o777 == 0o644, timeout=120)
    lab.wait("the drift to be reported", lambda: lab.node("a")["status"]["driftCorrected"] >= 3)


def test_a_dead_process_is_started_again(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    pid = wait_until("the app's process", app_process(lab.agents["a"]))
    os.kill(pid, signal.SIGKILL)
    again = wait_until("another process", lambda: (lambda p: p if p and p != pid else None)(app_process(lab.agents["a"])()))
    assert again != pid
    lab.wait("the restart to be reported",
             lambda: [a["restarts"] for a in lab.node("a")["status"]["apps"] if a["name"] == "web"][0] >= 1)
    lab.wait("a to be healthy", lambda: state_of(lab, "a") == "Healthy")


def test_apps_outlive_the_agent_and_are_adopted(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    agent = lab.agents["a"]
    pid = wait_until("the app's process", app_process(lab.agents["a"]))
    agent.kill()
    assert app_process(lab.agents["a"])() == pid
    agent.start()
    lab.wait_connected(["a"])
    lab.wait("a to be healthy", lambda: state_of(lab, "a") == "Healthy")
    assert processes(lab.agents["a"]) == [pid], "the agent took the running process over"
    os.kill(pid, signal.SIGKILL)
    wait_until("the adopted process to be replaced", lambda: app_process(lab.agents["a"])() not in (None, pid))


def test_without_a_network_a_node_converges_from_its_own_state(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    agent = lab.agents["a"]
    agent.link.cut()
    agent.kill()
    pid = wait_until("the app's process", app_process(lab.agents["a"]))
    os.kill(pid, signal.SIGKILL)
    managed = agent.sysroot / "etc/edge.conf"
    right = managed.read_text()
    managed.unlink()
    agent.start()
    wait_until("the file to be back", managed.exists)
    assert managed.read_text() == right
    wait_until("the process to be back", app_process(lab.agents["a"]))
    assert not lab.node("a")["status"]["connected"]


def test_what_left_the_repository_is_removed(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"], apps=("web", "till"))
    assert len(processes(lab.agents["a"])) == 2
    fleets.write(fleet_repository, apps=("web",))
    (fleet_repository.tree / "edge/till.yaml").unlink()
    text = fleet_repository.read("edge/fleet.yaml")
    start, end = text.index("    files:"), text.index("    apps:")
    fleet_repository.write("edge/fleet.yaml", text[:start] + text[end:])
    commit = fleet_repository.commit("Drop till and the file")
    lab.notify()
    lab.wait_rollout(commit)
    assert len(processes(lab.agents["a"])) == 1
    assert lab.agents["a"].file("/etc/edge.conf") is None
    assert [a["name"] for a in lab.node("a")["status"]["apps"]] == ["web"]


def test_an_app_that_may_stay_stays(lab, fleet_repository):
    fleets.write(fleet_repository, apps=("web", "till"))
    lab.add_agent("a", {"fleet": "edge"})
    lab.wait_connected()
    fleet_repository.replace("edge/till.yaml", "  driver: process", "  prune: Keep\n  driver: process")
    commit = fleet_repository.commit("Keep till when it goes")
    lab.add_source(fleet_repository)
    lab.notify()
    lab.wait_rollout(commit)
    fleets.write(fleet_repository, apps=("web",))
    (fleet_repository.tree / "edge/till.yaml").unlink()
    lab.wait_rollout((fleet_repository.commit("Drop till"), lab.notify())[0])
    assert len(processes(lab.agents["a"])) == 2


def test_an_unchanged_app_is_left_alone(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"], apps=("web", "till"))
    before = sorted(processes(lab.agents["a"]))
    fleet_repository.replace("edge/till.yaml", 'TEXT: "one"', 'TEXT: "other"')
    commit = fleet_repository.commit("Change till only")
    lab.notify()
    lab.wait_rollout(commit)
    after = sorted(processes(lab.agents["a"]))
    assert len(after) == 2 and len(set(before) & set(after)) == 1


def test_apps_start_in_the_order_of_their_dependencies(lab, fleet_repository):
    order = lab.folder / "order"
    fleets.write(fleet_repository, apps=("web", "database"))
    for app in ("web", "database"):
        fleet_repository.replace(f"edge/{app}.yaml", "echo one started", f"echo {app} >> {order}")
    fleet_repository.replace("edge/web.yaml", "  driver: process", "  dependsOn: [database]\n  driver: process")
    lab.add_agent("a", {"fleet": "edge"})
    lab.wait_connected()
    commit = fleet_repository.commit("web needs database")
    lab.add_source(fleet_repository)
    lab.notify()
    lab.wait_rollout(commit)
    assert order.read_text().split() == ["database", "web"]


def test_a_failed_version_gives_way_to_the_one_before(lab, fleet_repository):
    """Without rollback by the server: the node alone puts the old version back."""
    start_fleet(lab, fleet_repository, ["a"], rollback=False)
    good = lab.node("a")["status"]["observed"]["revision"]
    fleets.push(lab, fleet_repository, "Bad", text="bad", ready="3s", rollback=False)
    lab.wait("the node to have gone back", lambda: state_of(lab, "a") == "RolledBack")
    status = lab.node("a")["status"]
    assert status["observed"]["revision"] == good
    assert "web" in status["observed"]["message"] and "text" in status["observed"]["message"]
    assert fleets.runs(lab.agents["a"], "one")
    process = pathlib.Path(f"/proc/{wait_until('the old process', app_process(lab.agents['a']))}/environ").read_bytes()
    assert b"TEXT=one\0" in process
    rollout = lab.rollouts("edge")[0]["status"]
    assert rollout["paused"] and rollout["failed"] == 1


def test_the_agent_stops_cleanly_and_leaves_its_apps(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    pid = wait_until("the app's process", app_process(lab.agents["a"]))
    assert lab.agents["a"].stop() == 0
    assert app_process(lab.agents["a"])() == pid
    lab.wait("the node to be seen leaving", lambda: not lab.node("a")["status"]["connected"])
    lab.agents["a"].stop_apps()
    wait_until("the app to be gone", lambda: not processes(lab.agents["a"]))


def test_a_symlink_in_the_sysroot_leads_nowhere_outside(lab, fleet_repository):
    agent = lab.add_agent("a", {"fleet": "edge"}, start=False)
    outside = lab.folder / "outside"
    outside.mkdir()
    (agent.sysroot / "etc").symlink_to(outside)
    agent.start()
    lab.wait_connected()
    fleets.write(fleet_repository)
    fleet_repository.commit("First")
    lab.add_source(fleet_repository)
    lab.notify()
    lab.wait("the node to fail", lambda: state_of(lab, "a") in ("Failed", "RolledBack"))
    assert list(outside.iterdir()) == []
    assert "/etc/edge.conf" in lab.node("a")["status"]["observed"]["message"]
