# SPDX-License-Identifier: Apache-2.0
"""What a fleet ran, going back to it in spite of Git, and plans for pull requests."""
import json

import fleets


def fleet(lab):
    return lab.fleet("edge")["status"]


def test_back_to_an_earlier_revision_until_it_is_cleared(lab, fleet_repository):
    lab.add_source(fleet_repository)
    agent = lab.add_agent("node-1", labels={"fleet": "edge"})
    first = fleets.push(lab, fleet_repository, "One", text="one")
    lab.wait_rollout(first)
    second = fleets.push(lab, fleet_repository, "Two", text="two")
    lab.wait_rollout(second)
    lab.wait("two", lambda: fleets.runs(agent, "two"))
    history = lab.cli("history", "edge").stdout
    assert history.index(second[:9]) < history.index(first[:9])
    old = [r["spec"]["revision"] for r in lab.rollouts("edge") if r["spec"]["commit"] == first][0]

    for wrong, says in ((["--to", "abcdefabcdef"], "skerry history edge"), (["--to", "abc"], "7 or more"),
                        (["--to", second], "already"), ([], "--clear"), (["--clear"], "not pinned"),
                        (["--to", old, "--clear"], "either")):
        result = lab.cli("rollback", "edge", *wrong, check=False)
        assert result.returncode != 0 and says in result.stderr, result.stderr
    assert lab.cli("rollback", "nosuch", "--to", old, check=False).returncode != 0

    said = lab.cli("rollback", "edge", "--to", old[:12], "--reason", "tills are slow").stdout
    assert "--clear" in said
    lab.wait("one again", lambda: fleets.runs(agent, "one"))
    lab.wait("the rollback to be over", lambda: fleet(lab)["stableRevision"] == old)
    # Shown everywhere, kept across a restart, and Git's word is only remembered.
    third = fleets.push(lab, fleet_repository, "Three", text="three")
    lab.wait("the compile", lambda: lab.source()["status"]["compiledCommit"] == third)
    lab.server.stop()
    lab.start_server()
    lab.wait_connected()
    pinned = fleet(lab)["pinned"]
    assert pinned["reason"] == "tills are slow" and pinned["gitCommit"] == third and pinned["by"] and pinned["at"]
    assert fleet(lab)["desiredRevision"] == old and fleets.runs(agent, "one")
    shown = " ".join(lab.cli("get", "fleets").stdout.split())
    assert "edge is pinned to revision " + old[:12] in shown and "tills are slow" in shown
    assert "tills are slow" in lab.cli("describe", "fleet", "edge").stdout
    assert "pinned" in lab.cli("history", "edge").stderr
    assert not [r for r in lab.rollouts("edge") if r["spec"]["commit"] == third]

    assert "follows Git" in lab.cli("rollback", "edge", "--clear").stdout
    lab.wait("three", lambda: fleets.runs(agent, "three"))
    assert fleet(lab)["pinned"] is None and "pinned" not in lab.cli("get", "fleets").stdout
    acts = [a["act"] for a in lab.cli_json("audit", "list")["items"]]
    assert "fleet.rollback" in acts and "fleet.follow" in acts
    lab.cli("audit", "verify")


def test_a_rollback_ends_a_rollout_that_goes_wrong(lab, fleet_repository):
    lab.add_source(fleet_repository)
    agents = [lab.add_agent(f"node-{i}", labels={"fleet": "edge"}) for i in range(2)]
    first = fleets.push(lab, fleet_repository, "One", text="one")
    lab.wait_rollout(first)
    waves = [{"name": "canary", "limit": 1, "pause": {"duration": "1h"}}, {"name": "rest"}]
    second = fleets.push(lab, fleet_repository, "Two", text="two", waves=waves)
    lab.wait("the canary", lambda: any(fleets.runs(a, "two") for a in agents))
    lab.cli("rollback", "edge", "--to", first)
    lab.wait("all on one", lambda: all(fleets.runs(a, "one") for a in agents))
    assert fleet(lab)["pinned"]["gitCommit"] == second


def test_a_plan_for_a_pull_request(lab, fleet_repository):
    fleets.write(fleet_repository, text="one")
    commit = fleet_repository.commit("One")
    lab.add_source(fleet_repository)
    lab.cli("notify", "fleet", "--wait")
    assert lab.source()["status"]["compiledCommit"] == commit
    agent = lab.add_agent("node-1", labels={"fleet": "edge"})
    lab.wait("one", lambda: fleets.runs(agent, "one"))
    result = lab.cli("plan", fleet_repository.tree, "--server", "-o", "markdown", check=False)
    assert result.returncode == 0 and "No changes." in result.stdout
    fleets.write(fleet_repository, text="`two` <b>|")
    result = lab.cli("plan", fleet_repository.tree, "--server", "-o", "markdown", check=False)
    assert result.returncode == 2, result.stderr
    text = result.stdout
    assert "| `edge` | change |" in text and "`canary` 1" in text
    before, after = text.split("```diff\n")
    assert "<b>" not in before and after.rstrip().endswith("</details>")
    assert any(line.startswith("+") for line in after.splitlines())
    assert json.loads(lab.cli("plan", fleet_repository.tree, "--server", "-o", "json", check=False).stdout)["changes"]


def test_what_lies_between_two_commits_and_two_revisions(lab, fleet_repository, tmp_path):
    lab.add_source(fleet_repository)
    first = fleets.push(lab, fleet_repository, "One", text="one")
    lab.wait("one", lambda: lab.source()["status"]["compiledCommit"] == first)
    second = fleets.push(lab, fleet_repository, "Two", text="two")
    lab.wait("two", lambda: lab.source()["status"]["compiledCommit"] == second)

    def diff(*arguments):
        return lab.cli("diff", *arguments, check=False)

    clone = ("-C", fleet_repository.tree)
    result = diff(first, "HEAD", *clone)
    assert result.returncode == 2 and "~ fleet edge" in result.stdout and "~ variable text: one -> two" in result.stdout
    assert "app web" in result.stdout
    document = json.loads(diff(first, second, "-o", "json", *clone).stdout)
    assert document["changes"] and document["fleets"][0]["name"] == "edge"
    assert diff(second, "main", *clone).returncode == 0
    assert diff(first, f"{fleet_repository.tree}/", *clone).returncode == 2
    assert diff("HEAD", "HEAD", "--path", "edge", *clone).returncode == 0
    for wrong, says in ((("nosuch", "HEAD"), "no commit"), (("--", "--output=x", "HEAD"), "no commit"),
                        (("HEAD", "HEAD", "--path", "nowhere"), "no folder nowhere")):
        result = diff(*clone, *wrong)
        assert result.returncode == 1 and says in result.stderr, result.stderr
    fleet_repository.replace("edge/fleet.yaml", "selector:", "selektor:")
    broken = fleet_repository.commit("Misspelled", push=False)
    result = diff("HEAD~1", broken, *clone)
    assert result.returncode == 1 and "fleet.yaml:5:3" in result.stderr

    revisions = {r["status"]["commit"]: r["metadata"]["name"] for r in lab.cli_json("get", "revisions")["items"]}
    result = diff("--revisions", revisions[first], revisions[second][:12])
    assert result.returncode == 2 and "~ variable text: one -> two" in result.stdout, result.stdout + result.stderr
    assert diff("--revisions", revisions[first], revisions[first]).returncode == 0
    assert diff("--revisions", revisions[first], "0" * 64).returncode == 1
