# SPDX-License-Identifier: Apache-2.0
"""What a source follows and believes: tags, signatures, commit statuses, webhooks, bounds."""
import collections
import hashlib
import hmac
import http.server
import json
import os
import subprocess
import threading

import fleets
import pytest
from test_git import post


def add(lab, repository, name, *options):
    lab.cli("source", "add", name, "--url", str(repository.bare), "--poll", "1h", *options)


def notify(lab, name="fleet"):
    lab.cli("notify", name, "--wait", check=False)
    return lab.source(name)["status"]


def tag(repository, name, text, *options):
    fleets.write(repository, text=text)
    commit = repository.commit(f"Release {name}")
    repository.git("tag", *options, name)
    repository.git("push", "-q", "-f", "origin", name)
    return commit


def test_the_newest_tag_in_the_range(lab, fleet_repository):
    first = tag(fleet_repository, "v1.2.0", "one")
    tag(fleet_repository, "v1.10.0-rc.1", "pre")
    tag(fleet_repository, "v2.0.0", "two")
    tag(fleet_repository, "other-9.0.0", "other")
    add(lab, fleet_repository, "fleet", "--tags", ">=1.2 <2")
    status = notify(lab)
    assert status["healthy"] and status["tag"] == "v1.2.0" and status["compiledCommit"] == first
    assert status["branch"] is None
    newer = tag(fleet_repository, "v1.9.0", "newer", "-a", "-m", "Annotated")
    tag(fleet_repository, "v1.3.0", "older, though pushed later")
    status = notify(lab)
    assert (status["tag"], status["compiledCommit"]) == ("v1.9.0", newer)
    moved = tag(fleet_repository, "v1.9.0", "moved", "-f")
    status = notify(lab)
    assert (status["tag"], status["compiledCommit"]) == ("v1.9.0", moved)
    assert any("the tag was moved" in e["message"] for e in lab.cli_json("get", "events")["items"])
    # Another source may ask for pre-releases, or for other names; each stands for itself.
    fleet_repository.git("push", "-q", "origin", ":v1.2.0")
    lab.cli("source", "remove", "fleet")
    add(lab, fleet_repository, "pre", "--tags", ">=1.10.0-0 <2")
    assert notify(lab, "pre")["tag"] == "v1.10.0-rc.1"
    lab.cli("source", "remove", "pre")
    add(lab, fleet_repository, "none", "--tags", "^7")
    status = notify(lab, "none")
    assert not status["healthy"] and "^7" in status["error"] and "tags" in status["error"]
    shown = lab.cli("get", "sources").stdout
    assert "^7" in shown


@pytest.mark.parametrize("options, says", [
    (["--tags", ">=one"], "column 1"),
    (["--tags", "1.x", "--branch", "main"], "not both"),
    (["--tag-prefix", "x-"], "goes with tags"),
    (["--signatures", "required"], "allowedSignersFile"),
    (["--status-host", "github"], "statusTokenFile"),
    (["--status-host", "github", "--status-token-file", "/nowhere"], "OWNER/NAME"),
    (["--fetch-limit", "0"], "fetchLimitMegabytes"),
])
def test_what_makes_no_sense_is_refused(lab, fleet_repository, options, says):
    result = lab.cli("source", "add", "fleet", "--url", fleet_repository.bare, *options, check=False)
    assert result.returncode != 0 and says in result.stderr
    assert lab.cli_json("get", "sources")["items"] == []


@pytest.mark.parametrize("option, field", [("--password-file", "passwordFile"), ("--username-file", "usernameFile"),
                                           ("--status-token-file", "statusTokenFile")])
def test_no_other_file_is_told_to_a_host(lab, fleet_repository, tmp_path, option, field):
    """Whoever may add a source cannot have the server send its keys to a host of theirs."""
    inside = lab.state / "credentials"
    inside.mkdir()
    (inside / "word").write_text("s3cret\n")
    more = ["--status-host", "gitlab", "--status-url", "https://127.0.0.1:1"] if field == "statusTokenFile" else []

    def add_with(path):
        return lab.cli("source", "add", "fleet", "--url", "https://127.0.0.1:1/fleet.git", "--branch", "main", *more, option,
                       path, check=False)
    for path in (lab.state / "ca/root.key", "/etc/hostname", f"{inside}/../server.json", f"{inside}x/word", inside,
                 f"{inside}/./word", f"{inside}//../word"):
        said = add_with(path)
        assert said.returncode != 0 and f"{field}: " in said.stderr and "--credentials" in said.stderr, (path, said.stderr)
        assert lab.cli_json("get", "sources")["items"] == []
    assert add_with(inside / "word").returncode == 0
    # A server with another folder does not go on with it.
    other = tmp_path / "other"
    other.mkdir()
    lab.server.stop()
    lab.server = None
    lab.start_server("--credentials", other)
    message = lab.wait("the source to say so", lambda: (lambda e: e if "--credentials" in e else None)(json.dumps(lab.source()["status"])))
    assert field in message


@pytest.fixture
def keys(tmp_path):
    """SSH keys alice and mallory, and an OpenPGP one."""
    for name in ("alice", "mallory"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(tmp_path / name)], check=True)
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    environment = dict(os.environ, GNUPGHOME=str(home))
    subprocess.run(["gpg", "-q", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-gen-key",
                    "ada@example.org", "ed25519", "sign", "never"], check=True, capture_output=True, env=environment)
    (tmp_path / "keyring").write_bytes(subprocess.run(["gpg", "--export"], check=True, capture_output=True, env=environment).stdout)
    (tmp_path / "allowed").write_text(f"ada@example.org {(tmp_path / 'alice.pub').read_text()}")
    yield tmp_path
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)


def sign_with(repository, keys, name):
    """From here on commits are signed with this key: a name, "openpgp", or None."""
    repository.git("config", "commit.gpgsign", "true" if name else "false")
    repository.git("config", "tag.gpgsign", "true" if name else "false")
    repository.git("config", "gpg.format", "openpgp" if name == "openpgp" else "ssh")
    repository.git("config", "user.signingkey", "ada@example.org" if name == "openpgp" else str(keys / f"{name}.pub"))
    repository._environment["GNUPGHOME"] = str(keys / "gnupg")


def test_only_what_is_signed_is_used(lab, fleet_repository, keys, tmp_path):
    sign_with(fleet_repository, keys, "alice")
    good = fleets.push_only(fleet_repository, "Signed")
    add(lab, fleet_repository, "fleet", "--signatures", "required", "--allowed-signers-file", keys / "allowed",
        "--keyring-file", keys / "keyring")
    status = notify(lab)
    assert status["healthy"] and status["compiledCommit"] == good
    assert status["signature"]["signer"] == "ada@example.org" and status["signature"]["format"] == "ssh"
    def revisions():
        return [r["metadata"]["name"] for r in lab.cli_json("get", "revisions")["items"] if r["status"]["source"] == "fleet"]

    before = revisions()

    def refused(commit, reason):
        status = notify(lab)
        assert status["commit"] == commit and status["compiledCommit"] == good and not status["healthy"]
        assert reason in status["refused"] and commit[:9] in status["error"] and "git commit -S" in status["error"]
        shown = " ".join(lab.cli("get", "sources").stdout.split())
        assert commit[:9] in shown and "refused" in shown and reason in shown
        assert revisions() == before

    sign_with(fleet_repository, keys, None)
    refused(fleets.push_only(fleet_repository, "Unsigned", text="two"), "not signed")
    sign_with(fleet_repository, keys, "mallory")
    refused(fleets.push_only(fleet_repository, "By another", text="three"), "does not allow")
    # Even one that does not compile is not read: the signature comes first.
    fleet_repository.write("edge/broken.yaml", "kind: Nonsense\n")
    broken = fleet_repository.commit("Broken and unsigned")
    refused(broken, "does not allow")
    assert lab.source()["status"]["diagnostics"] == []

    # Another source goes on meanwhile, and nodes as well.
    from lab.repository import FleetRepository
    other = FleetRepository(tmp_path / "other")
    fleets.write(other, name="other")
    commit = other.commit("Nobody asks for signatures here")
    add(lab, other, "other")
    assert notify(lab, "other")["compiledCommit"] == commit

    # The way out: the key is let in, and the same commit is taken.
    sign_with(fleet_repository, keys, "mallory")
    (fleet_repository.tree / "edge/broken.yaml").unlink()
    fourth = fleets.push_only(fleet_repository, "By another again", text="four")
    refused(fourth, "does not allow")
    with open(keys / "allowed", "a", encoding="utf-8") as allowed:
        allowed.write(f"mallory@example.org namespaces=\"git\" {(keys / 'mallory.pub').read_text()}")
    status = notify(lab)
    assert status["healthy"] and status["compiledCommit"] == fourth and status["refused"] is None
    assert status["signature"]["signer"] == "mallory@example.org"

    sign_with(fleet_repository, keys, "openpgp")
    fifth = fleets.push_only(fleet_repository, "With OpenPGP", text="five")
    status = notify(lab)
    assert status["compiledCommit"] == fifth and status["signature"]["format"] == "openpgp"


def test_signed_tags(lab, fleet_repository, keys):
    sign_with(fleet_repository, keys, "alice")
    good = tag(fleet_repository, "v1.0.0", "one", "-s", "-m", "One")
    add(lab, fleet_repository, "fleet", "--tags", "1.x", "--signatures", "required", "--allowed-signers-file", keys / "allowed")
    status = notify(lab)
    assert status["compiledCommit"] == good and status["signature"]["signer"] == "ada@example.org"
    # An old release under a newer name: its signature is right, and does not count.
    fleet_repository.git("push", "-q", "origin", "refs/tags/v1.0.0:refs/tags/v1.5.0")
    status = notify(lab)
    assert "another name" in status["refused"] and status["compiledCommit"] == good
    fleet_repository.git("push", "-q", "origin", ":refs/tags/v1.5.0")
    sign_with(fleet_repository, keys, None)
    tag(fleet_repository, "v1.1.0", "two")
    status = notify(lab)
    assert "plain tag" in status["refused"] and "git tag -s" in status["error"] and status["compiledCommit"] == good


class StatusHost:
    """Takes commit statuses as a Git host does, and records what was posted."""

    def __init__(self):
        self.posted, self.answers, self.lock = [], collections.deque(), threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    status = outer.answers.popleft() if outer.answers else 201
                    outer.posted.append((status, self.path, dict(self.headers), body))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/repos/acme/fleet"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def taken(self, context, commit):
        """States that the host took for this context and commit, in order."""
        with self.lock:
            return [b["state"] for status, path, _, b in self.posted
                    if status < 300 and path.endswith(f"/statuses/{commit}") and b.get("context", b.get("name")) == context]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def host():
    it = StatusHost()
    yield it
    it.close()


@pytest.mark.parametrize("kind, header, token, field, pending, failure", [
    ("github", "Authorization", "Bearer s3cret-token", "context", "pending", "failure"),
    ("gitlab", "PRIVATE-TOKEN", "s3cret-token", "name", "running", "failed"),
    ("gitea", "Authorization", "token s3cret-token", "context", "pending", "failure"),
])
def test_the_host_hears_what_becomes_of_a_commit(lab, fleet_repository, host, tmp_path, kind, header, token, field, pending,
                                                 failure):
    credentials = lab.state / "credentials"
    credentials.mkdir()
    (credentials / "token").write_text("s3cret-token\n")
    host.answers.extend([503, 500])  # tried again, and nothing is lost or out of order
    commit = fleets.push_only(fleet_repository, "One")
    add(lab, fleet_repository, "fleet", "--status-host", kind, "--status-url", host.url, "--status-token-file",
        credentials / "token")
    lab.add_agent("node-1", labels={"fleet": "edge"})
    lab.wait("the good end", lambda: host.taken("skerry/fleet/edge", commit)[-1:] == ["success"])
    states = host.taken("skerry/fleet/edge", commit)
    assert set(states[:-1]) <= {pending} and host.taken("skerry/fleet", commit)[-1] == "success"
    second = fleets.push(lab, fleet_repository, "Two", text="two")
    lab.wait("the second", lambda: host.taken("skerry/fleet/edge", second)[-1:] == ["success"])
    states = host.taken("skerry/fleet/edge", second)
    assert states[0] == pending and states[-1] == "success"
    third = fleets.push(lab, fleet_repository, "Bad", text="bad")
    lab.wait("the bad end", lambda: host.taken("skerry/fleet/edge", third)[-1:] == [failure])
    fleet_repository.replace("edge/fleet.yaml", "selector:", "selektor:")
    fourth = fleet_repository.commit("Misspelled")
    notify(lab)
    lab.wait("the error", lambda: host.taken("skerry/fleet", fourth)[-1:] == [failure])
    with host.lock:
        for _, path, headers, body in host.posted:
            assert path.startswith("/repos/acme/fleet/statuses/") and headers[header] == token
            assert set(body) <= {"state", field, "description", "target_url"} and body["target_url"].startswith("https://")
        assert [b["description"] for _, _, _, b in host.posted if "selektor" in b["description"]]
        assert [p[1:2] + (p[3],) for p in host.posted[:1]] == [p[1:2] + (p[3],) for p in host.posted[1:2]]
    assert lab.source()["status"]["statusError"] is None
    assert "s3cret" not in (lab.folder / "logs/server.log").read_text()


def test_a_host_that_refuses_statuses_is_shown_and_harms_nothing(lab, fleet_repository, host, tmp_path):
    credentials = lab.state / "credentials"
    credentials.mkdir()
    (credentials / "token").write_text("wrong\n")
    host.answers.extend([401] * 1000)
    commit = fleets.push_only(fleet_repository, "One")
    add(lab, fleet_repository, "fleet", "--status-host", "github", "--status-url", host.url, "--status-token-file",
        credentials / "token")
    status = lab.wait("the error", lambda: (lambda s: s if s["statusError"] else None)(lab.source()["status"]))
    assert "401" in status["statusError"] and "statusTokenFile" in status["statusError"]
    assert notify(lab)["compiledCommit"] == commit
    assert "401" in lab.cli("describe", "source", "fleet").stdout
    host.answers.clear()
    lab.wait("the status", lambda: host.taken("skerry/fleet", commit)[-1:] == ["success"])
    lab.wait("the error to go", lambda: lab.source()["status"]["statusError"] is None)


def test_webhooks_forged_replayed_and_in_floods(lab, fleet_repository, tmp_path):
    commit = fleets.push_only(fleet_repository, "One")
    secret = tmp_path / "secret"
    secret.write_text("hook-secret\n")
    add(lab, fleet_repository, "fleet", "--webhook-secret-file", secret)
    assert notify(lab)["compiledCommit"] == commit

    def send(body, number, key="hook-secret"):
        mac = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        return post(lab, "github/fleet", body, {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={mac}",
                                                "X-GitHub-Delivery": number})

    def body(number):
        return json.dumps({"ref": "refs/heads/main", "number": number}).encode()

    def fetches():
        return (lab.folder / "logs/server.log").read_text().count("looked at the Git host")

    before = fetches()
    assert [send(body(0), str(i), key="guess") for i in range(30)] == [401] * 30
    assert fetches() == before
    assert send(body(1), "a") == 202
    lab.wait("the fetch", lambda: fetches() > before)
    before = fetches()
    assert send(body(1), "a") == 202 and send(body(1), "another number") == 202  # says fetch: false
    answers = [send(body(i), str(i)) for i in range(100, 160)]
    assert 429 in answers and answers[0] == 202 and set(answers) == {202, 429}
    second = fleets.push_only(fleet_repository, "Two", text="two")
    lab.wait("the push in the flood", lambda: lab.source()["status"]["compiledCommit"] == second)


def test_a_huge_commit_is_bounded(lab, fleet_repository, tmp_path):
    from git_hosts import HttpsHost
    from lab.repository import FleetRepository
    good = fleets.push_only(fleet_repository, "Small")
    other = FleetRepository(tmp_path / "other")
    fleets.write(other, name="other")
    other.commit("Other")
    hosted = HttpsHost(tmp_path / "host", fleet_repository.folder).start()
    try:
        add(lab, fleet_repository, "fleet", "--fetch-limit", "4")
        add(lab, other, "other")
        assert notify(lab)["compiledCommit"] == good
        with open(fleet_repository.tree / "large", "wb") as large:  # not compressible
            for _ in range(8):
                large.write(os.urandom(1 << 20))
        with open(fleet_repository.tree / "hollow", "wb") as hollow:
            hollow.truncate(1 << 30)
        fleet_repository.commit("A gigabyte and some")
        status = notify(lab)
        assert not status["healthy"] and status["compiledCommit"] == good
        assert "4 MB" in status["error"] and "fetchLimitMegabytes" in status["error"]
        lab.cli("source", "remove", "fleet")
        lab.cli("source", "add", "web", "--url", hosted.url("fleet.git"), "--ca-file", hosted.certificate, "--fetch-limit", "4")
        status = notify(lab, "web")
        assert not status["healthy"] and "4 MB" in status["error"]
        fleets.write(other, name="other", text="two")
        commit = other.commit("The other goes on")
        assert notify(lab, "other")["compiledCommit"] == commit
    finally:
        hosted.stop()


def test_ten_thousand_waves_and_files(lab, fleet_repository):
    good = fleets.push_only(fleet_repository, "Few")
    add(lab, fleet_repository, "fleet")
    assert notify(lab)["compiledCommit"] == good
    fleets.write(fleet_repository, waves=[{"name": f"w{i}", "limit": 1} for i in range(10000)])
    many = fleet_repository.commit("Ten thousand waves")
    status = notify(lab)
    assert status["commit"] == many and status["compiledCommit"] == good
    fault = status["diagnostics"][0]
    assert fault["file"] == "edge/rollout.yaml" and fault["line"] > 0 and "too many, at most" in fault["message"]
    fleets.write(fleet_repository)
    for number in range(10000):
        fleet_repository.write(f"nodes/n{number}.yaml", f"apiVersion: skerry/v1alpha1\nkind: Node\nmetadata: {{name: n{number}}}\n")
    commit = fleet_repository.commit("Ten thousand files")
    assert notify(lab)["compiledCommit"] == commit
