# SPDX-License-Identifier: Apache-2.0
"""Our TUF client against metadata and targets that are not what they should be."""
import json
import random
import shutil

import pytest

pytest.importorskip("tuf_repository", reason="python-tuf is not in build/venv: ./dev test puts it there")
from tuf_repository import FIRST, client, repository  # noqa: E402


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
