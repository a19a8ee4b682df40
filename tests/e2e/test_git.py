# SPDX-License-Identifier: Apache-2.0
"""Git sources: every transport, webhooks, and everything that goes wrong with a Git host."""
import hashlib
import hmac
import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request

import fleets
import pytest
from git_hosts import HttpsHost, SshHost


def revisions(lab):
    return lab.cli_json("get", "revisions")["items"]


def first_commit(lab, repository, **what):
    fleets.write(repository, **what)
    return repository.commit("First version")


def wait_compiled(lab, commit, source="fleet"):
    return lab.wait(f"{commit[:9]} to be compiled",
                    lambda: (lambda s: s if s["status"]["compiledCommit"] == commit else None)(lab.source(source)))


def test_file(lab, fleet_repository):
    commit = first_commit(lab, fleet_repository)
    lab.add_source(fleet_repository)
    lab.notify()
    source = wait_compiled(lab, commit)
    assert source["status"]["healthy"] and source["status"]["commitSubject"] == "First version"
    assert len(revisions(lab)) == 1


def test_https_with_its_own_authority_and_password(lab, fleet_repository, tmp_path):
    commit = first_commit(lab, fleet_repository)
    host = HttpsHost(tmp_path / "host", fleet_repository.folder, "deploy", "s3cret").start()
    try:
        credentials = lab.state / "credentials"
        credentials.mkdir()
        (credentials / "user").write_text("deploy\n")
        (credentials / "password").write_text("s3cret\n")
        lab.cli("source", "add", "fleet", "--url", host.url("fleet.git"), "--branch", "main", "--ca-file", host.certificate,
                "--username-file", credentials / "user", "--password-file", credentials / "password")
        lab.notify()
        wait_compiled(lab, commit)

        (credentials / "password").write_text("wrong\n")
        second = fleets.push_only(fleet_repository, "Second", text="two")
        lab.cli("notify", "fleet", "--wait", check=False)
        status = lab.source()["status"]
        assert not status["healthy"] and status["compiledCommit"] == commit
        assert "s3cret" not in json.dumps(lab.source()) and "wrong" not in (lab.folder / "logs/server.log").read_text()

        (credentials / "password").write_text("s3cret\n")
        lab.notify()
        wait_compiled(lab, second)
    finally:
        host.stop()


def test_https_refuses_an_unknown_authority(lab, fleet_repository, tmp_path):
    first_commit(lab, fleet_repository)
    host = HttpsHost(tmp_path / "host", fleet_repository.folder).start()
    try:
        lab.cli("source", "add", "fleet", "--url", host.url("fleet.git"), "--branch", "main")
        lab.cli("notify", "fleet", "--wait", check=False)
        status = lab.wait("the error", lambda: (lambda s: s["status"] if s["status"]["error"] else None)(lab.source()))
        assert "certificate" in status["error"].lower()
        assert revisions(lab) == []
    finally:
        host.stop()


def test_ssh_with_a_key_and_a_known_host(lab, fleet_repository, tmp_path):
    commit = first_commit(lab, fleet_repository)
    host = SshHost(tmp_path / "ssh").start()
    try:
        lab.cli("source", "add", "fleet", "--url", host.url(fleet_repository.bare), "--branch", "main",
                "--ssh-key-file", host.key, "--known-hosts-file", host.known_hosts)
        lab.notify()
        wait_compiled(lab, commit)
    finally:
        host.stop()


def test_ssh_refuses_an_unknown_host_key(lab, fleet_repository, tmp_path):
    first_commit(lab, fleet_repository)
    host = SshHost(tmp_path / "ssh").start()
    other = SshHost(tmp_path / "other")
    key = (tmp_path / "other/host.pub").read_text().split()
    host.known_hosts.write_text(f"[127.0.0.1]:{host.port} {key[0]} {key[1]}\n")
    assert other.port
    try:
        lab.cli("source", "add", "fleet", "--url", host.url(fleet_repository.bare), "--branch", "main",
                "--ssh-key-file", host.key, "--known-hosts-file", host.known_hosts)
        lab.cli("notify", "fleet", "--wait", check=False)
        status = lab.wait("the error", lambda: (lambda s: s["status"] if s["status"]["error"] else None)(lab.source()))
        assert "host key" in status["error"]
    finally:
        host.stop()


def test_a_commit_that_does_not_compile_changes_nothing(lab, fleet_repository):
    good = first_commit(lab, fleet_repository)
    lab.add_source(fleet_repository)
    lab.notify()
    wait_compiled(lab, good)
    before = revisions(lab)
    fleet_repository.replace("edge/fleet.yaml", "selector:", "selektor:")
    bad = fleet_repository.commit("Misspell a field")
    lab.cli("notify", "fleet", "--wait", check=False)
    status = lab.wait("the diagnostics", lambda: (lambda s: s["status"] if s["status"]["diagnostics"] else None)(lab.source()))
    assert status["commit"] == bad and status["compiledCommit"] == good
    fault = status["diagnostics"][0]
    assert (fault["file"], fault["line"], fault["column"]) == ("edge/fleet.yaml", 5, 3)
    assert "selektor" in fault["message"] and "selector" in fault["suggestion"]
    assert revisions(lab) == before
    shown = lab.cli("get", "sources", "fleet").stdout + lab.cli("describe", "source", "fleet").stdout
    assert "edge/fleet.yaml:5:3" in shown


def test_branch_gone_then_back(lab, fleet_repository):
    commit = first_commit(lab, fleet_repository)
    lab.add_source(fleet_repository)
    lab.notify()
    wait_compiled(lab, commit)
    fleet_repository.git("push", "-q", "origin", "main:other")
    fleet_repository.git("symbolic-ref", "HEAD", "refs/heads/other", cwd=fleet_repository.bare)
    fleet_repository.git("push", "-q", "origin", ":main")
    lab.cli("notify", "fleet", "--wait", check=False)
    status = lab.source()["status"]
    assert not status["healthy"] and "main" in status["error"] and status["compiledCommit"] == commit
    fleets.write(fleet_repository, text="two")
    second = fleet_repository.commit("Back again")
    lab.notify()
    assert wait_compiled(lab, second)["status"]["healthy"]


def test_rewritten_history_is_followed_and_said(lab, fleet_repository):
    first_commit(lab, fleet_repository)
    fleets.write(fleet_repository, text="two")
    second = fleet_repository.commit("Second")
    lab.add_source(fleet_repository)
    lab.notify()
    wait_compiled(lab, second)
    fleet_repository.git("reset", "-q", "--hard", "HEAD~1")
    fleets.write(fleet_repository, text="three")
    rewritten = fleet_repository.commit("Another second", force=True)
    lab.notify()
    wait_compiled(lab, rewritten)
    messages = [e["message"] for e in lab.cli_json("get", "events")["items"]]
    assert any("rewritten" in m for m in messages)


def test_host_down_keeps_the_last_good(lab, fleet_repository):
    commit = first_commit(lab, fleet_repository)
    lab.add_source(fleet_repository)
    lab.notify()
    wait_compiled(lab, commit)
    hidden = fleet_repository.bare.with_name("hidden.git")
    fleet_repository.bare.rename(hidden)
    lab.cli("notify", "fleet", "--wait", check=False)
    status = lab.source()["status"]
    assert not status["healthy"] and str(fleet_repository.bare) in status["error"]
    assert status["compiledCommit"] == commit and len(revisions(lab)) == 1
    hidden.rename(fleet_repository.bare)
    lab.notify()
    assert lab.source()["status"]["healthy"]


def test_only_the_followed_branch_and_folder_matter(lab, fleet_repository):
    fleets.write(fleet_repository, name="edge")
    fleet_repository.write("site/ours/keep.txt", "x")
    shutil.move(str(fleet_repository.tree / "edge"), str(fleet_repository.tree / "site/ours/edge"))
    fleet_repository.write("site/theirs/broken.yaml", "apiVersion: skerry/v1alpha1\nkind: Nonsense\n")
    commit = fleet_repository.commit("Two folders")
    lab.add_source(fleet_repository, "fleet", "--path", "site/ours")
    lab.notify()
    assert wait_compiled(lab, commit)["status"]["healthy"]
    fleet_repository.write("site/theirs/other.txt", "y")
    elsewhere = fleet_repository.commit("Change only the other folder")
    lab.notify()
    wait_compiled(lab, elsewhere)
    assert len(revisions(lab)) == 1 and len(lab.rollouts()) <= 1
    fleet_repository.git("push", "-q", "origin", "HEAD:refs/heads/noise")
    lab.notify()
    branches = subprocess.run(["git", "for-each-ref", "--format=%(refname)"], capture_output=True, text=True,
                              cwd=next((lab.state).rglob("objects")).parent, check=False).stdout
    assert "noise" not in branches


def post(lab, path, body, headers):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"https://127.0.0.1:{lab.api_port}/api/v1/hooks/{path}", data=body,
                                     headers=dict(headers, **{"Content-Type": "application/json"}), method="POST")
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("host", ["github", "gitlab", "gitea"])
def test_webhooks_are_checked(lab, fleet_repository, tmp_path, host):
    commit = first_commit(lab, fleet_repository)
    secret = tmp_path / "secret"
    secret.write_text("hook-secret\n")
    lab.add_source(fleet_repository, "fleet", "--webhook-secret-file", secret)
    lab.notify()
    wait_compiled(lab, commit)
    fleets.write(fleet_repository, text="two")
    second = fleet_repository.commit("Second")
    body = json.dumps({"ref": "refs/heads/main", "after": second}).encode()

    def headers(key, delivery):
        mac = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        return {"github": {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={mac}", "X-GitHub-Delivery": delivery},
                "gitlab": {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": key, "X-Gitlab-Event-UUID": delivery},
                "gitea": {"X-Gitea-Event": "push", "X-Gitea-Signature": mac, "X-Gitea-Delivery": delivery}}[host]

    assert post(lab, f"{host}/fleet", body, headers("another", "1")) == 401
    assert post(lab, f"{host}/fleet", body, {}) in (400, 401)
    assert lab.source()["status"]["compiledCommit"] == commit
    assert post(lab, f"{host}/nosuch", body, headers("hook-secret", "2")) in (401, 404)
    assert post(lab, f"{host}/fleet", body, headers("hook-secret", "3")) == 202
    wait_compiled(lab, second)


def test_a_repository_of_50000_files(lab, fleet_repository):
    first_commit(lab, fleet_repository)
    for folder in range(100):
        place = fleet_repository.tree / "docs" / f"d{folder}"
        place.mkdir(parents=True)
        for number in range(500):
            (place / f"f{number}.txt").write_text("same\n")
    commit = fleet_repository.commit("Many files")
    lab.add_source(fleet_repository)
    lab.notify()
    assert wait_compiled(lab, commit)["status"]["healthy"]
