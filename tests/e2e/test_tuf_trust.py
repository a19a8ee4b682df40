# SPDX-License-Identifier: Apache-2.0
"""Our TUF client: what it asks for, and whom it believes: the chain of roots, thresholds, keys."""
import json

import pytest

pytest.importorskip("tuf_repository", reason="python-tuf is not in build/venv: ./dev test puts it there")
from tuf_repository import FIRST, Client, Repository, client, new_signer, repository  # noqa: E402


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
