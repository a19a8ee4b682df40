# SPDX-License-Identifier: Apache-2.0
"""Our TUF client against repositories that are old, go back, or stand still."""
import datetime

import pytest

pytest.importorskip("tuf_repository", reason="python-tuf is not in build/venv: ./dev test puts it there")
from tuf_repository import client, later, new_signer, repository  # noqa: E402


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
