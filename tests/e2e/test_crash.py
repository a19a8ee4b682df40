# SPDX-License-Identifier: Apache-2.0
"""Crash safety, shown by killing: server, relay and agents die at random points; the fleet still converges.

SKERRY_SEED=N replays one run.
"""
import os
import random
import re
import time

import fleets
import pytest
from lab import wait_until
from test_agent import processes

NODES = ["a", "b", "c", "d"]


def seeds(run_long):
    if os.environ.get("SKERRY_SEED"):
        return [int(os.environ["SKERRY_SEED"])]
    first = random.SystemRandom().randrange(1 << 30)
    return [first + i for i in range(6 if run_long else 2)]


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", seeds(bool(os.environ.get("SKERRY_TEST_ALL"))))


def converged(lab, revision, text):
    nodes = lab.nodes()
    return all(nodes[n]["status"]["observed"]["revision"] == revision
               and nodes[n]["status"]["observed"]["state"] == "Healthy" for n in NODES) and \
        all(fleets.runs(lab.agents[n], text) for n in NODES)


def test_kills_at_random_points(lab, fleet_repository, seed):
    print(f"seed {seed}")
    dice = random.Random(seed)
    lab.start_relay("relay")
    for number, name in enumerate(NODES):
        lab.add_agent(name, {"fleet": "edge"}, relay="relay" if number % 2 else None)
    lab.wait_connected()
    waves = [{"name": "canary", "limit": 1}, {"name": "rest"}]
    what = dict(waves=waves, defer=600, deadline=600)
    fleets.write(fleet_repository, text="t0", **what)
    first = fleet_repository.commit("Version 0")
    lab.add_source(fleet_repository)
    lab.notify()
    lab.wait_rollout(first)

    for version in range(1, 4):
        text = f"t{version}"
        fleets.write(fleet_repository, text=text, **what)
        commit = fleet_repository.commit(f"Version {version}")
        lab.notify()
        for _ in range(dice.randrange(2, 5)):
            time.sleep(dice.random() * 0.8)
            victim = dice.choice(["server", "relay", *NODES])
            print(f"version {version}: kill {victim}")
            if victim == "server":
                lab.server.kill()
                time.sleep(dice.random() * 0.5)
                lab.start_server()
            elif victim == "relay":
                lab.relays["relay"].kill()
                lab.start_relay("relay")
            else:
                lab.agents[victim].kill()
                lab.agents[victim].start()
        rollout = lab.wait_rollout(commit, timeout=180)
        lab.wait(f"everything to run {text}", lambda: converged(lab, rollout["spec"]["revision"], text))
        for name in NODES:
            def one_process():
                mine = processes(lab.agents[name])
                return len(mine) == 1
            wait_until(f"exactly one process of web on {name}", one_process)

    assert len(lab.rollouts("edge")) == 4, "a crash starts no rollout of its own"
    for name in NODES:
        half = [p for p in lab.agents[name].sysroot.rglob("*") if ".skerry-" in p.name]
        assert not half, "no half-written file is left"


def test_the_server_dies_between_commit_and_rollout(lab, fleet_repository):
    """Kill -9 as soon as the push is noticed, many times: each commit is taken up in the end, exactly once."""
    lab.add_agent("a", {"fleet": "edge"})
    lab.wait_connected()
    fleets.write(fleet_repository, text="t0", waves=[])
    lab.add_source(fleet_repository)
    commit = fleet_repository.commit("Version 0")
    lab.notify()
    lab.wait_rollout(commit)
    for version in range(1, 6):
        fleets.write(fleet_repository, text=f"t{version}", waves=[])
        commit = fleet_repository.commit(f"Version {version}")
        lab.cli("notify", "fleet")
        time.sleep(0.01 * version * version)
        lab.server.kill()
        lab.start_server()
        lab.cli("notify", "fleet")
        lab.wait_rollout(commit)
        assert len([r for r in lab.rollouts("edge") if r["spec"]["commit"] == commit]) == 1
        wait_until("the node to run it", lambda: fleets.runs(lab.agents["a"], f"t{version}"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_on_the_node(lab, fleet_repository):
    """The node cannot store the new revision: it says so, keeps the old one, and goes on when there is room."""
    import subprocess
    agent = lab.add_agent("a", {"fleet": "edge"}, start=False)
    agent.state.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(agent.state)], check=True)
    try:
        agent.start()
        lab.wait_connected()
        fleets.write(fleet_repository, text="one")
        first = fleet_repository.commit("First")
        lab.add_source(fleet_repository)
        lab.notify()
        lab.wait_rollout(first)
        filler = agent.state / "filler"
        with open(filler, "wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"x" * 4096)
            except OSError:
                pass  # full
        fleets.push(lab, fleet_repository, "Second", text="two")
        time.sleep(3)
        assert agent.is_running() and fleets.runs(agent, "one")
        filler.unlink()
        lab.wait("the second version once there is room", lambda: fleets.runs(agent, "two"))
        assert re.search("No space left|disk", agent.log.read_text())
    finally:
        agent.kill()
        subprocess.run(["umount", "-l", str(agent.state)], check=False)
