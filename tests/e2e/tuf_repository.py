# SPDX-License-Identifier: Apache-2.0
"""A TUF repository in memory, made with python-tuf, that can be as wrong as a test wants it; and our client, run
against it."""
import datetime
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# In front: Debian has some of these packages, older.
sys.path[:0] = [str(p) for p in (ROOT / "build" / "venv" / "lib").glob("python3*/site-packages")]

from securesystemslib.signer import CryptoSigner  # noqa: E402
from tuf.api.metadata import (  # noqa: E402
    DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp)

TOP = ("root", "timestamp", "snapshot", "targets")
FIRST = dict.fromkeys(TOP, 1)  # the versions that a new repository has


def later(days=30):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).replace(microsecond=0)


def new_signer(kind="ed25519"):
    return {"ed25519": CryptoSigner.generate_ed25519, "ecdsa": CryptoSigner.generate_ecdsa,
            "rsa": lambda: CryptoSigner.generate_rsa(scheme="rsassa-pss-sha256")}[kind]()


class Repository:
    """`parts` holds each role's unsigned state; publish() signs it into `files`, which are what is served."""

    def __init__(self, hashes=True, consistent=True):
        self.files, self.requests, self.statuses = {}, [], {}
        self.hashes = hashes
        self.signers = {role: [new_signer()] for role in TOP}
        self.parts = {"root": Root(expires=later(), consistent_snapshot=consistent),
                      "targets": Targets(expires=later()),
                      "snapshot": Snapshot(expires=later()), "timestamp": Timestamp(expires=later())}
        for role in TOP:
            self.parts["root"].add_key(self.signers[role][0].public_key, role)
            self.parts[role].version = 0
        self.publish(*TOP)
        repository = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.lstrip("/")
                repository.requests.append(path)
                status = repository.statuses.get(path)
                body = repository.files.get(path)
                if body is None:
                    body = repository.files.get(urllib.parse.unquote(path)) if path.startswith("targets/") else None
                if status is None:
                    status = 200 if body is not None else 404
                body = (body or b"") if status == 200 else b"no"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def place(self, role, version):
        name = urllib.parse.quote(role, "")
        versioned = role == "root" or (self.parts["root"].consistent_snapshot and role != "timestamp")
        return f"metadata/{version}.{name}.json" if versioned else f"metadata/{name}.json"

    def sign(self, role):
        signed = Metadata(self.parts[role])
        for signer in self.signers[role]:
            signed.sign(signer, append=True)
        return signed.to_bytes()

    def publish(self, *roles, keep_version=False):
        """In the order they refer to each other; each becomes one version newer."""
        order = [r for r in roles if r not in ("snapshot", "timestamp")]
        for role in order + [r for r in ("snapshot", "timestamp") if r in roles]:
            part = self.parts[role]
            if not keep_version:
                part.version += 1
            data = self.sign(role)
            self.files[self.place(role, part.version)] = data
            entry = MetaFile(part.version)
            if self.hashes:
                entry = MetaFile.from_data(part.version, data, ["sha256"])
            if isinstance(part, Targets):
                self.parts["snapshot"].meta[f"{role}.json"] = entry
            elif role == "snapshot":
                self.parts["timestamp"].snapshot_meta = entry

    def publish_all(self):
        self.publish(*[r for r in self.parts if r != "root"])

    def rewrite(self, role, change):
        """Changes the newest published file of a role as JSON, signatures as they were."""
        place = self.place(role, self.parts[role].version)
        document = json.loads(self.files[place])
        change(document)
        self.files[place] = json.dumps(document).encode()

    def resign(self, role, change):
        """Changes what is signed as JSON, signs it, and puts it in the place of the newest file of the role."""
        from securesystemslib.formats import encode_canonical
        place = self.place(role, self.parts[role].version)
        document = json.loads(self.files[place])
        change(document["signed"])
        data = encode_canonical(document["signed"]).encode()
        document["signatures"] = [{"keyid": s.public_key.keyid, "sig": s.sign(data).signature}
                                  for s in self.signers[role]]
        self.files[place] = json.dumps(document).encode()

    def set_keys(self, role, signers, threshold=1):
        root = self.parts["root"]
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
        for signer in signers:
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = threshold
        self.signers[role] = list(signers)

    def rotate(self, role):
        old = self.signers[role]
        self.set_keys(role, [new_signer()])
        if role == "root":  # by both
            self.signers[role] += old

    def delegate(self, delegator, name, paths=("*",), terminating=False, signers=None, prefixes=None, threshold=1):
        signers = signers or [new_signer()]
        part = self.parts[delegator]
        if part.delegations is None:
            part.delegations = Delegations({}, {})
        part.delegations.roles[name] = DelegatedRole(
            name, [], threshold, terminating, None if prefixes else list(paths), prefixes)
        for signer in signers:
            part.add_key(signer.public_key, name)
        if name not in self.parts:
            self.parts[name] = Targets(expires=later())
            self.parts[name].version = 0
            self.signers[name] = []
        self.signers[name] += signers
        return self.parts[name]

    def add(self, role, path, data, algorithms=("sha256",)):
        target = TargetFile.from_data(path, data, list(algorithms))
        self.parts[role].targets[path] = target
        folder, _, name = path.rpartition("/")
        for digest in target.hashes.values():
            self.files["targets/" + (folder + "/" if folder else "") + f"{digest}.{name}"] = data
        self.files["targets/" + path] = data
        return target


class Client:
    def __init__(self, build, folder, repository, root=None):
        self.program = build / "tests" / "tuf_client" / "tuf_client"
        self.metadata, self.targets = folder / "trusted", folder / "downloaded"
        self.metadata.mkdir(parents=True)
        self.targets.mkdir()
        self.repository = repository
        (folder / "root.json").write_bytes(root or repository.files["metadata/1.root.json"])
        assert self.run("init", folder / "root.json").returncode == 0

    def run(self, *words, at=None):
        env = dict(os.environ)
        # libfaketime is loaded before the sanitizer
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        command = [str(self.program), "--metadata-dir", str(self.metadata), "--metadata-url",
                   self.repository.url + "/metadata", *map(str, words)]
        if at is not None:
            command = ["faketime", at.strftime("%Y-%m-%d %H:%M:%S"), *command]
            env["TZ"] = "UTC"
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
        assert done.returncode in (0, 1) and "Sanitizer" not in done.stderr, done.stderr
        assert done.returncode == 0 or done.stderr.startswith("tuf_client: "), done.stderr
        self.said = done.stderr
        return done

    def refresh(self, at=None):
        self.repository.requests.clear()
        return self.run("refresh", at=at).returncode == 0

    def download(self, *paths, at=None):
        self.repository.requests.clear()
        names = [word for path in paths for word in ("--target-name", path)]
        return self.run(*names, "--target-base-url", self.repository.url + "/targets", "--target-dir", self.targets,
                        "download", at=at).returncode == 0

    def version(self, role):
        file = self.metadata / (urllib.parse.quote(role, "") + ".json")
        return json.loads(file.read_bytes())["signed"]["version"] if file.exists() else None

    def versions(self):
        return {file.stem: json.loads(file.read_bytes())["signed"]["version"] for file in self.metadata.glob("*.json")}

    def got(self):
        return sorted(file.read_bytes() for file in self.targets.iterdir())


# ---- for the tests to import

@pytest.fixture
def repository():
    made = Repository()
    yield made
    made.close()


@pytest.fixture
def client(build, tmp_path, repository):
    return Client(build, tmp_path, repository)
