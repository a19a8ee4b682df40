# SPDX-License-Identifier: Apache-2.0
"""A repository of ours, and others as its judges: python-tuf, our own client, the suite of the TUF project."""
import base64
import json
import os
import pathlib
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("tuf_repository", reason="python-tuf is not in build/venv: ./dev test puts it there")
from tuf.ngclient import Updater, UpdaterConfig  # noqa: E402
from tuf_repository import Client  # noqa: E402


class Work:
    """A work folder, and `skerry repo` on it."""

    def __init__(self, build, folder, *options):
        self.program, self.folder = build / "src" / "cli" / "skerry", folder / "repository"
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text("correct horse battery staple\n")
        self.keyed = ["--passphrase-file", str(self.passphrase)]
        self.file = folder / "payload"
        self.call("init", self.folder, *(options or self.keyed))

    def call(self, word, *words, code=0, on=True):
        where = ["-r", str(self.folder)] if word != "init" and on else []
        done = subprocess.run([str(self.program), "repo", word, *map(str, words), *where], capture_output=True,
                              text=True, timeout=120, stdin=subprocess.DEVNULL, start_new_session=True)
        assert done.returncode == code, (word, words, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def add(self, path, content, *words):
        self.file.write_bytes(content)
        self.call("add", path, self.file, *words)

    def publish(self, **options):
        return self.call("publish", *self.keyed, **options)


@pytest.fixture
def work(build, tmp_path):
    return Work(build, tmp_path)


@pytest.fixture
def served(work):
    server = subprocess.Popen([str(work.program), "repo", "serve", "-r", str(work.folder), "-l", "127.0.0.1:0"],
                              stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    yield line.split()[-1]
    server.terminate()
    assert server.wait(30) == 0


class Judge:
    """python-tuf's client."""

    def __init__(self, folder, url, root):
        self.folder, self.url = folder, url
        (folder / "metadata").mkdir()
        (folder / "targets").mkdir()
        self.root = root

    def get(self, path):
        updater = Updater(str(self.folder / "metadata"), self.url + "/metadata/", str(self.folder / "targets"),
                          self.url + "/targets/", config=UpdaterConfig(), bootstrap=self.root)
        updater.refresh()
        info = updater.get_targetinfo(path)
        if info is None:
            return None, None
        return pathlib.Path(updater.download_target(info)).read_bytes(), info


def test_python_tuf_follows_a_repository_of_ours(work, served, tmp_path):
    (tmp_path / "custom.json").write_text('{"skerry":{"kind":"artifact","releaseCounter":1}}')
    work.add("artifacts/web/1.0/linux-amd64", b"web one", "--custom", tmp_path / "custom.json")
    work.publish()
    root = work.call("root").encode()
    (tmp_path / "judge").mkdir()
    judge = Judge(tmp_path / "judge", served, root)
    content, info = judge.get("artifacts/web/1.0/linux-amd64")
    assert content == b"web one"
    assert info.custom == {"skerry": {"kind": "artifact", "releaseCounter": 1}}
    assert judge.get("artifacts/web/9") == (None, None)

    # Every key changes, one role after the other, with another kind of key.
    for role in ["timestamp", "snapshot", "targets", "root"]:
        work.call("key", "generate", f"{role}-2", "-t", "ecdsa", "--no-passphrase")
        work.call("rotate", role, "--add", f"{role}-2", "--remove", f"{role}-1")
        work.add(f"after/{role}", role.encode())
        work.publish()
        assert judge.get(f"after/{role}")[0] == role.encode()

    # A team signs for itself, by patterns and by hash prefix.
    for team, how in [("team-a", ["-p", "team-a/*"]), ("bin", [w for c in "0123456789abcdef" for w in ("--hash-prefix", c)])]:
        work.call("key", "generate", team, "--no-passphrase")
        work.call("delegate", team, "-k", team, *how)
    work.add("team-a/x", b"of team a", "--role", "team-a")
    work.add("anything", b"in the bin", "--role", "bin")
    work.publish()
    assert judge.get("team-a/x")[0] == b"of team a"
    assert judge.get("anything")[0] == b"in the bin"
    work.call("remove", "anything")
    work.call("publish", "--sweep")
    assert judge.get("anything") == (None, None)
    assert json.loads(work.call("verify", "-o", "json"))["files"] == 6


def test_ours_follows_ours(work, served, build, tmp_path):
    class Served:
        url, requests = served, []
    work.add("a/b", b"content")
    work.publish()
    (tmp_path / "client").mkdir()
    client = Client(build, tmp_path / "client", Served, root=work.call("root").encode())
    assert client.download("a/b") and client.got() == [b"content"]
    first = client.versions()
    work.publish()
    assert client.refresh() and client.version("timestamp") == first["timestamp"] + 1


def test_signing_elsewhere(build, tmp_path):
    """The targets key is on another machine; the root key signs by another program; both know only files."""
    (tmp_path / "away").mkdir()
    secret, public = tmp_path / "away" / "targets.pem", tmp_path / "targets.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", secret], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", secret, "-pubout", "-out", public], check=True)
    hsm, hsm_public = tmp_path / "away" / "root.pem", tmp_path / "root.pub"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", hsm], check=True)
    subprocess.run(["openssl", "pkey", "-in", hsm, "-pubout", "-out", hsm_public], check=True)
    work = Work(build, tmp_path, "--targets-key", public, "--root-key", hsm_public)
    work.add("a", b"content")
    said = work.call("publish", code=1)
    assert "targets" in said or "root" in said
    assert "prepare" in said

    prepared = tmp_path / "targets.json"
    work.call("prepare", "targets", prepared)
    work.call("submit", "targets", prepared)  # nothing new in it
    work.call("sign", "--prepared", prepared, "--private-key", secret, on=False)
    forged = json.loads(prepared.read_bytes())
    forged["signed"]["targets"]["evil"] = forged["signed"]["targets"]["a"]
    (tmp_path / "forged").write_text(json.dumps(forged))
    work.call("submit", "targets", tmp_path / "forged", code=1)
    work.call("submit", "targets", prepared)

    # What an HSM gives: raw bytes, or base64.
    (tmp_path / "bytes").write_text(work.call("prepare", "root", "--bytes"))
    raw = subprocess.run(["openssl", "dgst", "-sha256", "-sign", hsm, tmp_path / "bytes"], check=True,
                         capture_output=True).stdout
    (tmp_path / "signature").write_bytes(base64.b64encode(raw))
    work.call("submit", "root", tmp_path / "signature", "--key", "targets-1", code=77)
    work.call("submit", "root", tmp_path / "signature", "--key", "root-1")
    work.call("publish")
    work.call("verify")

    # The same key behind a command.
    work.call("key", "generate", "root-2", "--no-passphrase")
    script = tmp_path / "signer"
    script.write_text(f"#!/bin/sh\nopenssl dgst -sha256 -sign {hsm} | openssl base64 -A\n")
    script.chmod(0o755)
    work.call("sign", "--renew", "root")
    status = {r["name"]: r for r in json.loads(work.call("status", "-o", "json"))}
    assert status["root"]["staged"] == 2 and status["root"]["missing"] == "root-1" and not status["root"]["ready"]
    config = json.loads((work.folder / "repository.json").read_text())
    config["keys"]["root-1"]["command"] = str(script)
    (work.folder / "repository.json").write_text(json.dumps(config))
    work.call("sign", "root")
    work.call("sign", "--renew", "targets")
    script.write_text("#!/bin/sh\necho the stick is not plugged in >&2\nexit 3\n")
    work.call("sign", "--discard", "root")
    assert "the stick is not plugged in" in work.call("sign", "--renew", "root", code=1)
    script.write_text("#!/bin/sh\ncat >/dev/null\necho 00ff00ff\n")
    assert "does not fit" in work.call("sign", "root", code=77)


def test_messages_say_the_way_out(work, tmp_path):
    work.call("publish")  # the first metadata was signed as it was made
    work.call("sign", "--renew", "targets")
    said = work.call("publish", code=1)
    assert "targets-1" in said and "--passphrase-file" in said and "prepare targets" in said
    assert "init" in work.call("status", "-r", tmp_path / "nowhere", code=1, on=False)
    assert "is not a file" in work.call("add", "a", tmp_path, code=1)
    assert "no path for a target" in work.call("add", "../a", work.passphrase, code=1)
    assert "no key" in work.call("rotate", "root", "--add", "nobody", code=1)
    assert "already" in work.call("init", work.folder, *work.keyed, code=1)
    assert "add keys" in work.call("rotate", "root", "--remove", "root-1", code=1)
    work.call("rotate", "targets", "--expires", "1h")
    work.add("a", b"x")
    done = subprocess.run([str(work.program), "repo", "publish", "-r", str(work.folder), *work.keyed],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "warning: targets version" in done.stderr and "--renew targets" in done.stderr


def test_serving(work, served):
    work.add("a/b", b"0123456789")
    work.publish()
    digest = json.loads((work.folder / "public/metadata/1.targets.json").read_bytes())["signed"]["targets"]["a/b"][
        "hashes"]["sha256"]

    def get(path, **headers):
        try:
            with urllib.request.urlopen(urllib.request.Request(served + path, headers=headers)) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers
    status, body, headers = get(f"/targets/a/{digest}.b")
    assert (status, body) == (200, b"0123456789") and "immutable" in headers["Cache-Control"]
    assert get(f"/targets/a/{digest}.b", Range="bytes=2-4")[:2] == (206, b"234")
    assert get(f"/targets/a/{digest}.b", **{"If-None-Match": headers["ETag"]})[0] == 304
    assert "immutable" not in get("/metadata/timestamp.json")[2]["Cache-Control"]
    assert get("/metadata/2.root.json")[0] == 404
    for path in ["/", "/metadata", "/../repository.json", "/%2e%2e/repository.json", "/metadata/.hidden",
                 "/..%2fkeys%2froot-1.pem", "/targets/../../keys/root-1.pem"]:
        assert get(path)[0] in (400, 404), path
    os.symlink(work.folder / "repository.json", work.folder / "public" / "out")
    assert get("/out")[0] == 404


def test_private_keys_are_private(work):
    for file in (work.folder / "keys").iterdir():
        assert file.stat().st_mode & 0o077 == 0
    assert "ENCRYPTED" in (work.folder / "keys/root-1.pem").read_text()
    assert "ENCRYPTED" in (work.folder / "keys/targets-1.pem").read_text()
    wrong = work.passphrase.with_name("wrong")
    wrong.write_text("wrong")
    work.call("sign", "--renew", "targets", code=0)
    assert "does not open" in work.call("sign", "--passphrase-file", wrong, code=77)


def test_a_passphrase_file_for_all_to_read_is_warned_of(build, tmp_path):
    work = Work(build, tmp_path)

    def said(*words):
        return subprocess.run([str(work.program), "repo", *map(str, words), *work.keyed], capture_output=True, text=True,
                              timeout=120, check=True).stderr

    work.passphrase.chmod(0o644)
    assert f"chmod 600 {work.passphrase}" in said("publish", "-r", work.folder)
    assert f"chmod 600 {work.passphrase}" in said("init", tmp_path / "second")
    work.passphrase.chmod(0o600)
    assert "chmod" not in said("publish", "-r", work.folder)


def test_a_clock_that_is_behind_is_warned_of(work):
    def said(*front):
        # libfaketime is loaded before the sanitizer
        env = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")
        return subprocess.run([*front, str(work.program), "repo", "publish", "-r", str(work.folder), *work.keyed],
                              capture_output=True, text=True, timeout=120, check=True, env=env).stderr

    assert "clock seems" not in said()
    assert "clock seems" not in said("faketime", "-f", "+2h")
    assert "clock seems to be behind" in said()
    assert "clock seems" not in said()


# ---- the suite of the TUF project, where somebody has unpacked it

def test_conformance(build):
    suite = os.environ.get("SKERRY_TUF_CONFORMANCE")
    if not suite:
        pytest.skip("SKERRY_TUF_CONFORMANCE does not name an unpacked tuf-conformance")
    env = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
               PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tuf_conformance",
                           "--entrypoint", str(build / "tests" / "tuf_client" / "tuf_client")],
                          cwd=suite, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "xfailed" not in done.stdout, done.stdout[-4000:]
