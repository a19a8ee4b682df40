# SPDX-License-Identifier: Apache-2.0
"""What named people say of a rollout: approvals, promotions, emergencies; and the records they leave."""
import os
import subprocess

import fleets
import pytest


class People:
    """The command line in the hands of several people, each with a token of their own."""

    def __init__(self, lab, *names):
        self.lab = lab
        self.tokens = {}
        for name in names:
            self.tokens[name] = lab.run("src/server/skerry-server", "admin-token", "create", "--state", lab.state,
                                        "--name", name).stdout.strip()

    def cli(self, name, *arguments):
        return subprocess.run([str(self.lab.build / "src/cli/skerry"), *arguments], capture_output=True, text=True,
                              env=dict(os.environ, **self.lab.environment, SKERRY_TOKEN=self.tokens[name]), check=False)

    def ready(self):
        """A running server learns of new tokens within seconds."""
        for name in self.tokens:
            self.lab.wait(f"the token of {name}", lambda n=name: self.cli(n, "get", "nodes").returncode == 0)


@pytest.fixture
def fleet(lab, fleet_repository):
    people = People(lab, "ada", "ben", "eve")
    lab.add_agent("a", {"fleet": "edge"})
    lab.add_agent("b", {"fleet": "edge"})
    lab.wait_connected()
    fleets.write(fleet_repository, text="one")
    lab.add_source(fleet_repository)
    fleet_repository.commit("One")
    lab.notify()
    people.ready()

    def settled():
        return all(fleets.runs(lab.agents[n], "one") for n in ("a", "b"))
    lab.wait("the first version everywhere", settled)
    lab.wait("no rollout to be under way", lambda: not lab.cli_json("rollout", "list", "--active")["items"])

    def begin(waves):
        fleets.write(fleet_repository, text="two", waves=waves)
        commit = fleet_repository.commit("Two")
        lab.notify()

        def under_way():
            found = [r for r in lab.rollouts("edge") if r["spec"]["commit"] == commit]
            return found[0]["metadata"]["name"] if found else None
        return lab.wait("the rollout", under_way), commit
    return lab, people, begin


def acts(lab, rollout):
    return [(r["act"], r["actor"], r.get("reason"), r["detail"].get("wave"))
            for r in lab.cli_json("audit", "list")["items"] if r["on"]["name"] == rollout]


def test_waves_wait_for_people(fleet):
    lab, people, begin = fleet
    rollout, commit = begin([{"name": "canary", "limit": 1},
                             {"name": "rest", "approval": "Manual", "approvals": 2, "approvers": ["ada", "ben"]}])
    lab.wait("the wave to wait", lambda: lab.rollout(rollout)["status"]["phase"] == "AwaitingApproval")
    status = lab.cli("rollout", "status", "edge").stdout
    assert "waits for the approval of 2 people" in status and "ada or ben" in status, status
    assert sum(fleets.runs(lab.agents[n], "two") for n in ("a", "b")) == 1

    refused = people.cli("eve", "rollout", "approve", "edge")
    assert refused.returncode != 0 and "ada or ben" in refused.stderr
    refused = people.cli("ada", "rollout", "approve", "edge", "--wave", "canary")
    assert refused.returncode != 0 and "at wave rest" in refused.stderr
    first = people.cli("ada", "rollout", "approve", "edge", "--wave", "rest", "--reason", "looks good")
    assert first.returncode == 0 and "ada has approved" in first.stdout, first.stdout + first.stderr
    refused = people.cli("ada", "rollout", "approve", "edge")
    assert refused.returncode != 0 and "already" in refused.stderr
    assert lab.rollout(rollout)["status"]["phase"] == "AwaitingApproval"
    approval = lab.rollout(rollout)["status"]["approvals"][0]
    assert approval["by"] == "ada" and approval["at"].endswith("Z")
    lab.server.kill()  # what was said is kept
    lab.start_server()
    assert people.cli("ben", "rollout", "approve", "edge").returncode == 0
    lab.wait_rollout(commit)
    assert acts(lab, rollout) == [("rollout.approve", "ada", "looks good", "rest"),
                                  ("rollout.approve", "ben", None, "rest")]
    assert people.cli("ben", "rollout", "approve", "edge").returncode != 0
    lab.cli("audit", "verify")


def test_two_people_promote_or_skip_the_soak(fleet):
    lab, people, begin = fleet
    soak = {"pause": {"duration": "10m"}}
    rollout, commit = begin([{"name": "canary", "limit": 1, **soak}, {"name": "rest", **soak}])
    lab.wait("the soak", lambda: lab.rollout(rollout)["status"]["phase"] == "Soaking")
    said = people.cli("ada", "rollout", "promote", "edge", "--reason", "seen it before")
    assert said.returncode == 0 and "takes a second person" in said.stdout, said.stdout + said.stderr
    assert "ada asked to let wave canary pass" in lab.cli("rollout", "status", "edge").stdout
    assert people.cli("ada", "rollout", "promote", "edge").returncode != 0, "one person is not two"
    assert people.cli("eve", "rollout", "promote", "edge", "--wave", "canary").returncode == 0
    lab.wait("the next wave to soak", lambda: lab.rollout(rollout)["status"]["phase"] == "Soaking" and
             lab.rollout(rollout)["status"]["wave"] == "rest")
    assert people.cli("ben", "rollout", "emergency", "edge", "--reason", "a hole is open").returncode == 0
    assert lab.rollout(rollout)["status"]["phase"] == "Soaking"
    assert people.cli("eve", "rollout", "emergency", "edge").returncode == 0
    lab.wait_rollout(commit)
    assert acts(lab, rollout) == [("rollout.promote", "ada", "seen it before", "canary"),
                                  ("rollout.promote", "eve", None, "canary"),
                                  ("rollout.emergency", "ben", "a hole is open", None),
                                  ("rollout.emergency", "eve", None, None)]
