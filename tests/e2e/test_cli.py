# SPDX-License-Identifier: Apache-2.0
"""The command line as a person meets it."""
import json
import os
import pathlib
import signal
import subprocess

import fleets
import pytest
from test_rollout import start_fleet

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ["src/cli/skerry", "src/server/skerry-server", "src/relay/skerry-relay", "src/agent/skerry-agent"]


def run(build, *words, **options):
    return subprocess.run([str(build / words[0]), *map(str, words[1:])], capture_output=True, text=True, **options)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_version_and_man_page(build, program):
    shown = run(build, program, "--help")
    assert shown.returncode == 0 and "usage" in shown.stdout.lower()
    assert run(build, program, "--version").stdout.split()[1].count(".") == 2
    page = run(build, program, "--help-man")
    assert page.returncode == 0 and page.stdout.startswith(".")
    rendered = subprocess.run(["man", "-l", "-"], input=page.stdout, capture_output=True, text=True,
                              env={"LC_ALL": "C", "MANPAGER": "cat", "PATH": "/usr/bin:/bin"})
    assert "NAME" in rendered.stdout and pathlib.Path(program).name in rendered.stdout
    assert "EXIT STATUS" in rendered.stdout


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_parse(build, program, shell):
    script = run(build, program, "--help-completion", shell)
    assert script.returncode == 0 and script.stdout
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=script.stdout, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


def test_wrong_usage_says_what_is_near(build):
    result = run(build, "src/cli/skerry", "rolout", "status")
    assert result.returncode == 64 and "rollout" in result.stderr
    result = run(build, "src/cli/skerry", "get", "nodes", "--selektor", "a=b")
    assert result.returncode == 64 and "--selector" in result.stderr


def test_validate_shows_every_fault_at_once(build, tmp_path):
    (tmp_path / "fleet.yaml").write_text("""\
apiVersion: skerry/v1alpha1
kind: Fleet
metadata: {name: Shops}
spec:
  selector: {matchLabels: {role: shop}}
  template:
    aps: [web]
    apps: [wev]
---
apiVersion: skerry/v1alpha1
kind: App
metadata: {name: web}
spec:
  driver: proces
""")
    result = run(build, "src/cli/skerry", "validate", tmp_path)
    assert result.returncode == 1
    text = result.stdout + result.stderr
    for place, words in [("fleet.yaml:3:", "Shops"), ("fleet.yaml:7:5", "aps"), ("fleet.yaml:8:", "wev"), ("fleet.yaml:14:", "proces")]:
        assert place in text and words in text
    assert "apps" in text and "process" in text
    machine = json.loads(run(build, "src/cli/skerry", "validate", tmp_path, "-o", "json").stdout)
    assert len([d for d in machine["diagnostics"] if d["severity"] == "error"]) >= 4


def test_the_example_and_a_fresh_repository_are_valid(build, tmp_path):
    assert run(build, "src/cli/skerry", "validate", ROOT / "examples/fleet").returncode == 0
    assert run(build, "src/cli/skerry", "init", tmp_path / "new").returncode == 0
    result = run(build, "src/cli/skerry", "validate", tmp_path / "new")
    assert result.returncode == 0, result.stdout + result.stderr
    again = run(build, "src/cli/skerry", "init", tmp_path / "new")
    assert again.returncode != 0, "it does not write over what is there"


def test_plan_tells_what_would_change(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b"])
    same = lab.cli("plan", fleet_repository.tree, "--server", check=False)
    assert same.returncode == 0, same.stdout + same.stderr
    fleets.write(fleet_repository, text="two")
    changed = lab.cli("plan", fleet_repository.tree, "--server", check=False)
    assert changed.returncode == 2
    for words in ("web", "canary", "rest", "two"):
        assert words in changed.stdout
    plan = json.loads(lab.cli("plan", fleet_repository.tree, "--server", "-o", "json", check=False).stdout)
    assert plan["fleets"][0]["name"] == "edge"
    fleet_repository.write("edge/fleet.yaml", "apiVersion: skerry/v1alpha1\nkind: [\n")
    assert lab.cli("plan", fleet_repository.tree, "--server", check=False).returncode == 1


def test_plan_looks_at_one_source_alone(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a"])
    other = lab.repository("other")
    fleets.write(other, name="other")
    commit = other.commit("Another fleet")
    lab.add_agent("b", {"fleet": "other"})
    lab.wait_connected()
    lab.add_source(other, "other")
    lab.notify("other")
    lab.wait_rollout(commit, fleet="other")
    for repository in (fleet_repository, other):
        same = lab.cli("plan", repository.tree, "--server", check=False)
        assert same.returncode == 0, same.stdout + same.stderr
    fleets.write(other, name="other", text="two")
    changed = lab.cli("plan", other.tree, "--server", check=False)
    assert changed.returncode == 2 and "other" in changed.stdout and "edge" not in changed.stdout
    # A folder that no remote tells of: which source it stands for has to be said.
    subprocess.run(["git", "remote", "remove", "origin"], cwd=other.tree, check=True)
    unclear = lab.cli("plan", other.tree, "--server", check=False)
    assert unclear.returncode == 64 and "--source" in unclear.stderr and "fleet, other" in unclear.stderr
    assert lab.cli("plan", other.tree, "--server", "--source", "other", check=False).stdout == changed.stdout
    wrong = lab.cli("plan", other.tree, "--server", "--source", "others", check=False)
    assert wrong.returncode == 1 and "others" in wrong.stderr


@pytest.mark.parametrize("kind", ["nodes", "fleets", "apps", "rollouts", "sources", "revisions"])
def test_every_kind_in_every_form(lab, fleet_repository, kind):
    start_fleet(lab, fleet_repository, ["a"])
    count = 2 if kind == "apps" else 1  # the fleet's own files are an app
    table = lab.cli("get", kind).stdout.splitlines()
    assert len(table) == 1 + count and table[0] == table[0].upper()
    assert len(lab.cli("get", kind, "-o", "wide").stdout.splitlines()) == 1 + count
    items = lab.cli_json("get", kind)["items"]
    assert len(items) == count
    name = lab.cli("get", kind, "-o", "name").stdout.split()[0]
    assert name.split("/")[-1] == items[0]["metadata"]["name"]
    assert items[0]["metadata"]["name"] in lab.cli("get", kind, "-o", "yaml").stdout
    assert items[0]["metadata"]["name"] in lab.cli("describe", kind, items[0]["metadata"]["name"]).stdout


def test_watching_shows_what_changes_and_nothing_else(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b"])
    lab.add_agent("c", {"site": "other"})
    lab.wait_connected()
    shown = {what: lab.folder / f"watch-{what}" for what in ("a", "fleets")}
    watches = []
    for what, path in shown.items():
        words = ["get", "nodes", "a"] if what == "a" else ["get", "fleets"]
        watches.append(subprocess.Popen([str(lab.build / "src/cli/skerry"), *words, "--watch"], stdout=path.open("w"),
                                        env=dict(os.environ, **lab.environment)))
    lab.wait("the first lines", lambda: all(len(path.read_text().splitlines()) == 2 for path in shown.values()))
    commit = fleets.push(lab, fleet_repository, "Second", text="two")
    revision = lab.wait_rollout(commit)["spec"]["revision"][:12]
    lab.wait("the last lines", lambda: revision in shown["a"].read_text().splitlines()[-1]
             and "Healthy" in shown["a"].read_text().splitlines()[-1] and commit[:9] in shown["fleets"].read_text())
    for watch in watches:
        watch.send_signal(signal.SIGINT)
        assert watch.wait() == 128 + signal.SIGINT
    for what, path in shown.items():
        lines = [line.split() for line in path.read_text().splitlines()]
        assert not any(line == following for line, following in zip(lines, lines[1:])), "a line that says nothing new"
        names = {line[0] for line in lines if line[0] != "NAME"}
        assert names == ({"a"} if what == "a" else {"edge"})


def test_status_tells_of_a_rollout_that_failed(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["b-10", "b-9"])
    assert "Rollouts" not in lab.cli("status").stdout
    commit = fleets.push(lab, fleet_repository, "Bad", text="bad", ready="2s")
    lab.wait_rollout(commit, "RolledBack")
    status = lab.cli("status").stdout
    assert "RolledBack" in status and "rollout retry edge" in status
    assert len(lab.cli_json("status")["rollouts"]["items"]) == 1
    assert lab.cli("rollout", "status", "edge", check=False).stdout.count("rollout retry edge") == 1
    described = lab.cli("describe", "rollout", "edge").stdout
    assert commit in described and "goes back to the last good revision" in described
    # Numbers in names are numbers.
    assert lab.cli("get", "nodes", "-o", "name").stdout.split() == ["node/b-9", "node/b-10"]


def test_nothing_to_check_is_said(build, tmp_path):
    result = run(build, "src/cli/skerry", "validate", tmp_path)
    assert result.returncode == 0 and "skerry init" in result.stdout
    assert run(build, "src/cli/skerry", "validate", tmp_path, "--strict").returncode == 1


def test_an_unreachable_server_is_said_plainly(lab):
    lab.server.stop()
    result = lab.cli("get", "nodes", check=False)
    assert result.returncode == 69
    assert f"127.0.0.1:{lab.api_port}" in result.stderr


def test_status_says_loudly_whom_one_trusts(lab):
    assert "trust" in lab.cli("status").stdout.lower()


def test_rollout_status_watch_follows_to_the_end(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b"])
    fleets.push(lab, fleet_repository, "Second", text="two")
    watched = lab.cli("rollout", "status", "edge", "--watch")
    assert "canary" in watched.stdout and "Succeeded" in watched.stdout
    fleets.push(lab, fleet_repository, "Bad", text="bad", ready="2s")
    watched = lab.cli("rollout", "status", "edge", "--watch", check=False)
    assert watched.returncode == 1 and "RolledBack" in watched.stdout and "text" in watched.stdout
