# SPDX-License-Identifier: Apache-2.0
"""Our TUF client among delegated roles."""

import pytest

pytest.importorskip("tuf_repository", reason="python-tuf is not in build/venv: ./dev test puts it there")
from tuf_repository import client, new_signer, repository  # noqa: E402


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
