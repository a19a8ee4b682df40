# SPDX-License-Identifier: Apache-2.0
"""Our TUF client against repositories that lie, made with python-tuf; python-tuf against a repository of ours."""
import base64
import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import urllib.request

import pytest

tuf_repository = pytest.importorskip("tuf_repository", reason="python-tuf is not in build/venv: ./dev test puts it there")
from tuf.ngclient import Updater, UpdaterConfig  # noqa: E402
from tuf_repository import Client, Repository, later, new_signer  # noqa: E402

FIRST = {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


@pytest.fixture
def repository():
    made = Repository()
    yield made
    made.close()


@pytest.fixture
def client(build, tmp_path, repository):
    return Client(build, tmp_path, repository)


def test_first_refresh_asks_for_what_it_needs_and_no_more(client, repository):
    assert client.refresh()
    assert repository.requests == ["metadata/2.root.json", "metadata/timestamp.json", "metadata/1.snapshot.json",
                                   "metadata/1.targets.json"]
    assert client.versions() == FIRST
    assert (client.metadata / "snapshot.json").read_bytes() == repository.files["metadata/1.snapshot.json"]
    assert client.refresh()
    assert repository.requests == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_repository_without_consistent_snapshots(build, tmp_path):
    plain = Repository(consistent=False)
    plain.add("targets", "a/b", b"plain")
    plain.publish_all()
    client = Client(build, tmp_path, plain)
    assert client.download("a/b") and client.got() == [b"plain"]
    assert "metadata/snapshot.json" in plain.requests and "targets/a/b" in plain.requests
    plain.close()


# ---- roots

def test_root_chain_is_followed_step_by_step(client, repository):
    for _ in range(5):
        repository.rotate("root")
        repository.publish("root")
    assert client.refresh() and client.version("root") == 6
    assert [r for r in repository.requests if "root" in r] == [f"metadata/{n}.root.json" for n in range(2, 8)]


@pytest.mark.parametrize("signed_by", ["old", "new", "neither"])
def test_root_must_be_signed_by_old_and_new(client, repository, signed_by):
    old = repository.signers["root"]
    repository.set_keys("root", [new_signer()])
    new = repository.signers["root"]
    repository.signers["root"] = {"old": old, "new": new, "neither": [new_signer()]}[signed_by]
    repository.publish("root")
    assert not client.refresh() and "signature" in client.said
    assert client.versions() == {"root": 1}
    repository.signers["root"] = old + new
    repository.publish("root", keep_version=True)
    assert client.refresh() and client.version("root") == 2


def test_missing_and_skipped_roots(client, repository):
    repository.publish("root")
    repository.publish("root")
    third = repository.files.pop("metadata/3.root.json")
    assert client.refresh() and client.version("root") == 2
    repository.files["metadata/4.root.json"] = third
    assert client.refresh() and client.version("root") == 2
    repository.files["metadata/3.root.json"] = repository.files["metadata/2.root.json"]
    assert not client.refresh() and client.version("root") == 2
    repository.files["metadata/3.root.json"] = third
    repository.files.pop("metadata/4.root.json")
    assert client.refresh() and client.version("root") == 3


def test_first_root_must_be_good(build, tmp_path, repository):
    broken = json.loads(repository.files["metadata/1.root.json"])
    broken["signatures"][0]["sig"] = "00" * 64
    client = Client(build, tmp_path, repository, root=json.dumps(broken).encode())
    assert not client.refresh() and repository.requests == [] and "root" in client.said


# ---- thresholds and keys

@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_threshold(client, repository, role):
    signers = [new_signer("ed25519"), new_signer("ecdsa"), new_signer("ed25519")]
    repository.set_keys(role, signers, threshold=2)
    repository.publish("root")
    repository.publish_all()
    assert client.refresh()
    before = client.version(role)
    repository.signers[role] = signers[2:]
    repository.publish_all()
    assert not client.refresh() and client.version(role) == before
    assert "1 valid signature of the 2" in client.said
    repository.signers[role] = signers[1:]
    repository.publish_all()
    assert client.refresh() and client.version(role) > before


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_key_types(client, repository, kind):
    repository.set_keys("targets", [new_signer(kind)])
    repository.publish("root")
    repository.publish_all()
    assert client.refresh() and client.version("targets") == 2
    repository.rewrite("targets", lambda d: d["signed"].update(extra=1))
    repository.hashes = False
    repository.publish("targets", "snapshot", "timestamp")
    repository.rewrite("targets", lambda d: d["signed"].update(extra=1))
    assert not client.refresh() and client.version("targets") == 2


def test_two_signatures_of_one_key_do_not_count_twice(client, repository):
    only = new_signer()
    repository.set_keys("snapshot", [only, new_signer()], threshold=2)
    repository.signers["snapshot"] = [only]
    repository.hashes = False
    repository.publish("root")
    repository.publish("snapshot", "timestamp")
    repository.rewrite("snapshot", lambda d: d["signatures"].append(d["signatures"][0]))
    assert not client.refresh() and client.version("snapshot") is None


def test_one_key_under_two_ids_counts_once(client, repository):
    only = new_signer()
    repository.set_keys("timestamp", [only, new_signer()], threshold=2)
    repository.publish("root")

    def twice(signed):
        key = signed["keys"][only.public_key.keyid]
        signed["keys"]["alias"] = key
        signed["roles"]["timestamp"]["keyids"] = [only.public_key.keyid, "alias"]
    repository.resign("root", twice)
    repository.signers["timestamp"] = [only]
    repository.publish("timestamp")
    repository.rewrite("timestamp", lambda d: d["signatures"].append(
        {"keyid": "alias", "sig": d["signatures"][0]["sig"]}))
    assert not client.refresh()
    assert client.version("root") == 2 and client.version("timestamp") is None


def test_unknown_and_damaged_keys_are_ignored(client, repository):
    repository.publish("root")

    def add_keys(signed):
        signed["keys"]["quantum"] = {"keytype": "quantum", "scheme": "quantum-1", "keyval": {"public": "?"}}
        signed["keys"]["damaged"] = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "zz"}}
        signed["roles"]["timestamp"]["keyids"] += ["quantum", "damaged", "nowhere"]
    repository.resign("root", add_keys)
    repository.publish("timestamp")
    repository.rewrite("timestamp", lambda d: d["signatures"].extend(
        [{"keyid": "quantum", "sig": "ff"}, {"keyid": "damaged", "sig": ""}, {"keyid": "stranger", "sig": "no hex"}]))
    assert client.refresh() and client.version("timestamp") == 2


# ---- expiry, rollback, freeze

@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_expired(client, repository, role):
    assert client.refresh()
    repository.parts[role].expires = later(-1)
    repository.publish(role, *[r for r in ("snapshot", "timestamp") if role == "targets" or r == "timestamp" != role])
    if role == "snapshot":
        repository.publish("timestamp")
    assert not client.refresh() and f"{role} version" in client.said and "expired" in client.said
    assert client.version(role) == (2 if role == "root" else 1)
    repository.parts[role].expires = later()
    repository.publish(role, "snapshot", "timestamp") if role != "root" else repository.publish("root")
    assert client.refresh()


def test_expired_delegated_role(client, repository):
    repository.delegate("targets", "team").expires = later(-1)
    repository.publish_all()
    assert client.refresh()
    assert not client.download("a") and "team" in client.said and "expired" in client.said
    assert client.version("team") is None


def test_freeze(client, repository):
    repository.parts["timestamp"].expires = later(2)
    repository.publish("timestamp")
    now = datetime.datetime.now(datetime.timezone.utc)
    assert client.refresh()
    assert client.refresh(at=now + datetime.timedelta(days=1))
    assert not client.refresh(at=now + datetime.timedelta(days=3)) and "expired" in client.said
    repository.parts["timestamp"].expires = later(9)
    repository.publish("timestamp")
    assert client.refresh(at=now + datetime.timedelta(days=3))


def test_clock_wrong_by_years(client, repository):
    now = datetime.datetime.now(datetime.timezone.utc)
    assert not client.refresh(at=now + datetime.timedelta(days=3650)) and "clock" in client.said
    assert client.versions() == {"root": 1}
    assert client.refresh(at=now - datetime.timedelta(days=3650))
    assert client.refresh()


def test_timestamp_rollback(client, repository):
    repository.publish("timestamp")
    old = repository.files["metadata/timestamp.json"]
    repository.publish("timestamp")
    assert client.refresh()
    repository.files["metadata/timestamp.json"] = old
    assert not client.refresh() and "went back from version 3 to 2" in client.said
    assert client.version("timestamp") == 3


def test_timestamp_of_the_same_version_is_a_quiet_stop(client, repository):
    assert client.refresh()
    repository.parts["timestamp"].snapshot_meta.version = 99
    repository.publish("timestamp", keep_version=True)
    assert client.refresh() and repository.requests == ["metadata/2.root.json", "metadata/timestamp.json"]


@pytest.mark.parametrize("role", ["snapshot", "targets", "team"])
def test_rollback(client, repository, role):
    repository.delegate("targets", "team")
    repository.publish_all()
    repository.publish_all()
    assert client.refresh()
    before = client.versions()
    repository.parts[role].version -= 1
    repository.publish(role, "snapshot", "timestamp", keep_version=True) if role == "snapshot" else None
    if role != "snapshot":
        repository.parts[role].version -= 1
        repository.publish(role)
        repository.publish("snapshot", "timestamp")
    else:
        repository.publish("timestamp")
    assert not client.refresh() and "went back" in client.said
    assert client.versions()["snapshot"] == before["snapshot"]


def test_role_taken_out_of_the_snapshot(client, repository):
    repository.delegate("targets", "team")
    repository.publish_all()
    assert client.refresh()
    del repository.parts["snapshot"].meta["team.json"]
    repository.publish("snapshot", "timestamp")
    assert not client.refresh() and "team.json" in client.said


def test_mix_and_match(client, repository):
    repository.add("targets", "a", b"old")
    repository.publish_all()
    old = repository.files["metadata/2.targets.json"]
    repository.add("targets", "a", b"new")
    repository.publish_all()
    repository.files["metadata/3.targets.json"] = old
    assert not client.refresh() and client.version("targets") is None
    repository.hashes = False  # then the version inside tells
    repository.publish_all()
    repository.files["metadata/4.targets.json"] = old
    assert not client.refresh() and "version" in client.said and client.version("targets") is None


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_fast_forward_is_recovered_from_by_rotating_keys(client, repository, role):
    first = repository.parts[role].version
    repository.parts[role].version = 10**9
    repository.publish_all()
    assert client.refresh() and client.version(role) == 10**9 + 1
    repository.parts[role].version = first
    repository.publish_all()
    assert not client.refresh()
    for stolen in {"timestamp": ["timestamp"], "snapshot": ["timestamp", "snapshot"], "targets": ["snapshot"]}[role]:
        repository.rotate(stolen)
    repository.publish("root")
    repository.publish_all()
    assert client.refresh() and client.version(role) < 10


def test_rotation_that_is_cut_off_between_root_and_the_rest(client, repository):
    """The root that takes a key away is stored, and nothing after it could be had."""
    repository.parts["timestamp"].version = 500
    repository.publish_all()
    assert client.refresh()
    keys = [repository.signers["timestamp"][0], new_signer()]
    repository.set_keys("timestamp", keys[1:])
    repository.publish("root")
    repository.parts["timestamp"].version = 1
    repository.publish("timestamp")
    repository.statuses["metadata/timestamp.json"] = 503
    assert not client.refresh() and client.version("root") == 2
    repository.statuses.clear()
    assert client.refresh() and client.version("timestamp") == 2


# ---- files that are not what they should be

@pytest.mark.parametrize("version, good", [("1.0.99", True), ("1.7", True), ("2.0.0", False), ("1", False),
                                           ("1.x", False), ("", False)])
def test_spec_version(client, repository, version, good):
    repository.publish("timestamp")
    repository.resign("timestamp", lambda s: s.update(spec_version=version))
    assert client.refresh() == good


@pytest.mark.parametrize("change", [
    {"version": 0}, {"version": -1}, {"version": 1.5}, {"version": "2"}, {"version": True}, {"version": 2**60},
    {"version": 10**30}, {"expires": "tomorrow"}, {"expires": "2099-13-01T00:00:00Z"}, {"expires": 4070908800},
    {"_type": "snapshot"}, {"meta": []}, {"meta": {}}, {"meta": {"snapshot.json": {"version": 0}}},
    {"meta": {"snapshot.json": {"version": 1, "length": -1}}},
    {"meta": {"snapshot.json": {"version": 1, "hashes": {}}}},
    {"meta": {"snapshot.json": {"version": 1, "hashes": {"md5": "x"}}}},
    {"meta": {"snapshot.json": {"version": 1, "hashes": {"sha256": "ABC"}}}},
], ids=str)
def test_signed_nonsense(client, repository, change):
    assert client.refresh()
    repository.publish("timestamp")
    document = json.loads(repository.files["metadata/timestamp.json"])
    document["signed"].update(change)
    from securesystemslib.formats import encode_canonical
    try:
        data = encode_canonical(document["signed"]).encode()
    except Exception:  # what has no canonical form is signed as it stands
        data = json.dumps(document["signed"]).encode()
    signer = repository.signers["timestamp"][0]
    document["signatures"] = [{"keyid": signer.public_key.keyid, "sig": signer.sign(data).signature}]
    repository.files["metadata/timestamp.json"] = json.dumps(document).encode()
    assert not client.refresh()
    # An entry that cannot be met still had a good timestamp; anything else is not taken.
    assert client.version("timestamp") == (2 if "md5" in str(change) else 1)


@pytest.mark.parametrize("text", [
    b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"signed":{},"signatures":[]}', b"[" * 100000,
    b'{"signed":{"_type":"timestamp","_type":"timestamp"},"signatures":[]}', b'{"a":1e999}', b" " * 20000,
    b'{"signed":{"a":"\\u0000"},"signatures":[]}'], ids=lambda t: repr(t[:20]))
def test_garbage(client, repository, text):
    assert client.refresh()
    good = repository.files["metadata/timestamp.json"]
    repository.files["metadata/timestamp.json"] = text
    assert not client.refresh() and client.versions() == FIRST
    repository.files["metadata/timestamp.json"] = good
    assert client.refresh()


def test_every_file_flipped_somewhere(client, repository):
    """No flipped bit, wherever it is, becomes trusted."""
    chance = random.Random(20261120)
    repository.add("targets", "a", b"content")
    repository.publish_all()
    for place in ["metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"]:
        good = repository.files[place]
        for _ in range(8):
            bad = bytearray(good)
            at = chance.randrange(len(bad))
            bad[at] ^= 1 << chance.randrange(8)
            repository.files[place] = bytes(bad)
            client.refresh()
            stored = client.metadata / place.split(".")[-2].split("/")[-1]
            stored = stored.with_suffix(".json")
            if stored.exists():
                # What was flipped may have been no part of what is signed (a blank, an unused signature's digit).
                assert json.loads(stored.read_bytes())["signed"] == json.loads(good)["signed"]
        repository.files[place] = good
    assert client.refresh() and client.download("a")


def test_too_long(client, repository):
    repository.files["metadata/2.root.json"] = b"{" + b" " * (600 << 10) + b"}"
    assert not client.refresh() and client.versions() == {"root": 1}
    del repository.files["metadata/2.root.json"]
    repository.publish_all()
    # Longer than the timestamp says, though the JSON is the same.
    repository.files["metadata/2.snapshot.json"] += b"\n"
    assert not client.refresh() and client.version("snapshot") is None


@pytest.mark.parametrize("place", ["metadata/timestamp.json", "metadata/1.snapshot.json", "metadata/1.targets.json"])
@pytest.mark.parametrize("status", [404, 403, 500])
def test_files_that_cannot_be_had(client, repository, place, status):
    repository.statuses[place] = status
    assert not client.refresh() and place in client.said
    repository.statuses.clear()
    assert client.refresh() and client.versions() == FIRST


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("damage", [b"", b"garbage", b"{}", "other", "folder"], ids=str)
def test_stored_state_that_is_damaged_is_fetched_anew(client, repository, role, damage):
    assert client.refresh()
    stored = client.metadata / f"{role}.json"
    if damage == "folder":
        stored.unlink()
        (stored / "x").mkdir(parents=True)
        assert not client.refresh()  # a person has to look; nothing is thrown away unasked
        shutil.rmtree(stored)
    else:
        stored.write_bytes((client.metadata / "root.json").read_bytes() if damage == "other" else damage)
    assert client.refresh() and client.versions() == FIRST


# ---- delegations

def graph(repository, edges):
    for edge in edges:
        repository.delegate(edge[0], edge[1], **(edge[2] if len(edge) > 2 else {}))
    repository.publish_all()


def visited(repository):
    return [r.split(".")[1] for r in repository.requests if r.startswith("metadata/1.") and
            r.split(".")[1] not in ("root", "snapshot", "targets")]


@pytest.mark.parametrize("edges, order", [
    ([("targets", "a"), ("targets", "b")], "ab"),
    ([("targets", "a"), ("targets", "b"), ("a", "c"), ("c", "d")], "acdb"),
    ([("targets", "a"), ("targets", "b"), ("a", "c", {"terminating": True}), ("a", "d"), ("c", "e")], "ace"),
    ([("targets", "a"), ("targets", "b", {"terminating": True}), ("targets", "c"), ("b", "d")], "abd"),
    ([("targets", "a", {"paths": ["*.py"], "terminating": True}), ("targets", "b")], "b"),
    ([("targets", "a"), ("a", "b"), ("b", "a"), ("b", "c")], "abc"),
    ([("targets", "a"), ("targets", "b"), ("a", "c"), ("b", "c")], "acb"),
    ([("targets", "a", {"paths": ["x/*"]}), ("targets", "b", {"paths": ["*/missing"]})], ""),
    ([("targets", "a", {"paths": ["m?ss[a-i]ng"]}), ("targets", "b", {"paths": ["m[!i]ssing"]})], "a"),
], ids=lambda v: v if isinstance(v, str) else None)
def test_order_of_search(client, repository, edges, order):
    graph(repository, edges)
    assert not client.download("missing") and "no role" in client.said
    assert "".join(visited(repository)) == order


def test_search_is_bounded(client, repository):
    signers = [new_signer()]
    graph(repository, [("targets" if n == 0 else f"r{n - 1}", f"r{n}", {"signers": signers}) for n in range(40)])
    assert not client.download("missing") and "more than 32 roles" in client.said
    assert len(visited(repository)) == 31


@pytest.mark.parametrize("pattern, path, found", [
    ("*", "a", True), ("*", "a/b", False), ("*/*", "a/b", True), ("a/*.tar", "a/x.tar", True), ("a/*", "b/x", False),
    ("A/*", "a/x", False), ("a?c", "abc", True), ("a?c", "a/c", False), ("*", "ü b?#%", True), ("", "a", False),
    ("a*b*c*d", "aXbXcX", False), ("a**", "ab", True), ("[", "[", True)])
def test_patterns(client, repository, pattern, path, found):
    repository.delegate("targets", "team", paths=[pattern])
    repository.add("team", path, b"content")
    repository.publish_all()
    assert client.download(path) == found


def test_hash_prefixes(client, repository):
    import hashlib
    first = [f"{n:x}" for n in range(8)]
    second = [f"{n:x}" for n in range(8, 16)]
    repository.delegate("targets", "low", prefixes=first)
    repository.delegate("targets", "high", prefixes=second)
    for path in ["one", "two", "three", "four/five"]:
        low = hashlib.sha256(path.encode()).hexdigest()[0] in first
        repository.add("low" if low else "high", path, path.encode())
        repository.add("high" if low else "low", path, b"never")
    repository.publish_all()
    for path in ["one", "two", "three", "four/five"]:
        assert client.download(path)
    assert client.got() == sorted(p.encode() for p in ["one", "two", "three", "four/five"])


def test_cached_role_is_verified_against_the_current_delegator(client, repository):
    """One role, delegated to by two with different keys, and signed for one of them alone."""
    repository.delegate("targets", "team-a", paths=["a/*"])
    repository.delegate("targets", "team-b", paths=["b/*"])
    repository.delegate("team-a", "release", paths=["a/*"])
    repository.delegate("team-b", "release", paths=["b/*"])
    repository.signers["release"] = repository.signers["release"][:1]
    repository.add("release", "a/x", b"of a")
    repository.add("release", "b/x", b"pretends to be of b")
    repository.publish_all()
    assert not client.download("a/x", "b/x") and client.got() == [b"of a"]
    assert not client.download("b/x") and "release" in client.said  # stored by now
    assert client.download("a/x")


def test_delegated_role_that_the_snapshot_does_not_list(client, repository):
    repository.delegate("targets", "team")
    repository.publish("team", "targets")
    del repository.parts["snapshot"].meta["team.json"]
    repository.publish("snapshot", "timestamp")
    assert client.refresh()
    assert not client.download("a") and "does not list it" in client.said and client.version("team") is None


def test_delegated_keys_rotate(client, repository):
    repository.delegate("targets", "team")
    repository.add("team", "a", b"one")
    repository.publish_all()
    assert client.download("a")
    stolen = repository.signers["team"][0]
    repository.parts["targets"].revoke_key(stolen.public_key.keyid, "team")
    new = new_signer()
    repository.parts["targets"].add_key(new.public_key, "team")
    repository.publish("targets", "snapshot", "timestamp")
    assert not client.download("a") and "team" in client.said
    repository.signers["team"] = [new]
    repository.add("team", "a", b"two")
    repository.publish_all()
    assert client.download("a") and client.got() == [b"two"]


@pytest.mark.parametrize("name", ["?", "#", "/abs", "../up", "a b", "ü", ".", "..", "%2e"])
def test_unusual_role_names(client, repository, name):
    repository.delegate("targets", name)
    repository.add(name, "x", b"content")
    repository.publish_all()
    assert client.download("x")
    # All that was stored lies in the folder, beside the four.
    assert len(list(client.metadata.iterdir())) == 5
    assert client.refresh()


@pytest.mark.parametrize("name", ["root", "timestamp", "snapshot", "targets", "", "x" * 81, "a\nb"], ids=repr)
def test_impossible_role_names(client, repository, name):
    repository.delegate("targets", "team")
    repository.publish_all()
    repository.hashes = False
    repository.publish("targets", "snapshot", "timestamp")
    repository.resign("targets", lambda s: s["delegations"]["roles"][0].update(name=name))
    assert not client.refresh() and client.version("targets") is None


# ---- targets

@pytest.mark.parametrize("path", ["plain", "a/b/c.txt", "a b/ü?#%41&=+.txt", "..x/y..", "-", "x" * 200, "日本/語"])
def test_unusual_file_names(client, repository, path):
    repository.add("targets", path, b"content of " + path.encode())
    repository.publish_all()
    assert client.download(path) and client.got() == [b"content of " + path.encode()]


@pytest.mark.parametrize("algorithms", [["sha256"], ["sha512"], ["sha256", "sha512"]])
def test_target_hashes(client, repository, algorithms):
    target = repository.add("targets", "a", b"content", algorithms)
    repository.publish_all()
    assert client.download("a") and client.download("a")
    assert not [r for r in repository.requests if r.startswith("targets/")]  # it was there already
    for place in [p for p in repository.files if p.startswith("targets/")]:
        repository.files[place] = b"CONTENT"
    for file in client.targets.iterdir():
        file.unlink()
    assert not client.download("a") and client.got() == []
    target.hashes = {"unknown": "00"}
    repository.publish_all()
    assert not client.download("a") and client.got() == []


def test_target_of_another_length(client, repository):
    target = repository.add("targets", "a", b"content")
    target.length = 6
    repository.publish_all()
    assert not client.download("a") and client.got() == []
    target.length = 8
    repository.publish_all()
    assert not client.download("a") and client.got() == []


# ---- a repository of ours, and others as its judges

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
