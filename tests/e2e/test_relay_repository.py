# SPDX-License-Identifier: Apache-2.0
"""The artifact repository through server and relay: one fetch for many, cuts, kills, liars, full disks, peers."""
import concurrent.futures
import hashlib
import http.client
import json
import os
import pathlib
import random
import subprocess

import pytest
from lab import wait_until
from lab.origin import Origin
from test_hostile import call, member

MIB = 1 << 20
PREFIX = "/edge/v1/repository/"


class Folder:
    """A published folder; what relays do not judge, signatures, is left out. Not so of the root, which the server
    hands to nodes."""

    def __init__(self, folder, root):
        self.folder = pathlib.Path(folder)
        self.random = random.Random(7)
        self.version = 0
        self.write("metadata/1.root.json", root)
        self.publish()

    def write(self, path, data):
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(".new")
        temporary.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        temporary.rename(target)
        return path

    @staticmethod
    def metadata(kind, version):
        return {"signed": {"_type": kind, "version": version}, "signatures": []}

    def publish(self):
        self.version += 1
        self.write("metadata/timestamp.json", self.metadata("timestamp", self.version))

    def target(self, name, size):
        data = self.random.randbytes(size)
        digest = hashlib.sha256(data).hexdigest()
        return self.write(f"targets/artifacts/web/1.0.0+b/{digest}.{name}", data), data

    def pack(self, size):
        data = self.random.randbytes(size)
        digest = hashlib.sha256(b"target of " + data).hexdigest()
        return self.write(f"chunks/{digest[:2]}/{digest}.pack", data), data

    def delta(self, size):
        data = self.random.randbytes(size)
        target, seed = (hashlib.sha256(word + data).hexdigest() for word in (b"new", b"old"))
        self.write(f"deltas/{target[:2]}/{target}.json",
                   {"target": target, "deltas": [{"from": seed, "length": size, "sha256": hashlib.sha256(data).hexdigest()}]})
        return self.write(f"deltas/{target[:2]}/{target}/{seed}.delta", data), data


@pytest.fixture
def folder(lab):
    signed = lab.folder / "signed"
    lab.cli("repo", "init", "--development", signed)
    lab.cli("repo", "publish", "--repository", signed)
    return Folder(lab.folder / "published", (signed / "public/metadata/1.root.json").read_bytes())


@pytest.fixture
def origin(folder):
    origin = Origin(folder.folder)
    yield origin
    origin.close()


class Site:
    """A relay, and somebody of the site who asks it."""

    def __init__(self, lab, *options, name="relay"):
        self.lab, self.name = lab, name
        self.relay = lab.start_relay(name, *options)
        self.node = member(lab, f"node-of-{name}")

    def get(self, path, headers=None, port=None):
        return get(self.node, port or self.relay.port, path, headers)

    def get_patiently(self, path, headers=None):
        """As a node does: asks again when it is told to."""
        def answered():
            status, data, _ = self.get(path, headers)
            return (status, data) if status != 503 else None
        return wait_until(f"{path} through the relay", answered, alive=self.relay.assert_running)

    def status(self):
        return json.loads((self.lab.folder / self.name / "status.json").read_text())["repository"]

    def parts(self):
        return sorted((self.lab.folder / self.name / "repository/parts").iterdir())

    def object(self, digest):
        return self.lab.folder / self.name / "objects/sha256" / digest[:2] / digest[2:]

    def restart(self):
        self.relay.kill()
        self.lab.start_relay(self.name)


def get(who, port, path, headers=None, method="GET"):
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=who.context(), timeout=60)
    try:
        connection.request(method, PREFIX + path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def digest_of(path):
    return path.rsplit("/", 1)[1].split(".")[0]


# ---- the server

def test_the_server_serves_a_published_folder(lab, folder):
    path, data = folder.target("app", 3 * MIB + 17)
    node = member(lab, "n")
    assert get(node, lab.edge_port, path)[0] == 404, "without --repository there is none"
    lab.server.stop()
    lab.server.command += ["--repository", str(folder.folder), "--repository-mirror", "https://cdn.example.org/skerry"]
    lab.start_server()
    status, body, headers = get(node, lab.edge_port, path)
    assert (status, body) == (200, data) and "immutable" in headers["Cache-Control"]
    assert headers["ETag"] == f'"{digest_of(path)}"'
    status, body, headers = get(node, lab.edge_port, path, {"Range": "bytes=100-2000099"})
    assert status == 206 and body == data[100:2000100]
    assert headers["Content-Range"] == f"bytes 100-2000099/{len(data)}"
    assert get(node, lab.edge_port, path, {"Range": "bytes=-5"})[1] == data[-5:]
    assert get(node, lab.edge_port, path, {"Range": "bytes=0-9", "If-Range": '"other"'})[1] == data
    assert get(node, lab.edge_port, path, {"Range": f"bytes={len(data)}-"})[0] == 416
    assert get(node, lab.edge_port, path, {"If-None-Match": f'"{digest_of(path)}"'})[0] == 304
    status, body, headers = get(node, lab.edge_port, path, method="HEAD")
    assert status == 200 and not body and headers["Content-Length"] == str(len(data))
    status, body, headers = get(node, lab.edge_port, "metadata/timestamp.json")
    assert status == 200 and headers["Cache-Control"] == "no-cache"
    again = {"If-None-Match": headers["ETag"]}
    assert get(node, lab.edge_port, "metadata/timestamp.json", again)[0] == 304
    folder.publish()
    assert get(node, lab.edge_port, "metadata/timestamp.json", again)[0] == 200
    bundle = node.call("GET", "/edge/v1/bundle")[1]["repository"]
    assert bundle["root"]["signed"]["version"] == 1 and bundle["mirrors"] == ["https://cdn.example.org/skerry"]
    assert call(lab.edge_port, "GET", PREFIX + path)[0] == 401, "strangers get nothing"


def test_no_other_file_can_be_asked_for(lab, folder):
    (folder.folder / "secret").write_text("secret")
    (folder.folder.parent / "secret").write_text("secret")
    (folder.folder / "targets").mkdir(exist_ok=True)
    os.symlink("/etc/passwd", folder.folder / "targets" / ("0" * 64 + ".link"))
    os.mkfifo(folder.folder / "targets" / ("1" * 64 + ".pipe"))
    (folder.folder / "targets" / ("2" * 64 + ".folder")).mkdir()
    lab.server.stop()
    lab.server.command += ["--repository", str(folder.folder)]
    lab.start_server()
    node = member(lab, "n")
    for path in ("secret", "../secret", "..%2fsecret", "targets/../secret", "targets//x", "", "metadata/", "metadata/..%2f..%2fsecret",
                 "targets/" + "0" * 64 + ".link", "targets/" + "1" * 64 + ".pipe", "targets/" + "2" * 64 + ".folder",
                 "metadata/root.json", "metadata/01.root.json", "chunks/zz/x.pack", "targets/%00" + "0" * 64 + ".x"):
        assert get(node, lab.edge_port, path)[0] in (400, 404), path


def test_a_server_whose_repository_is_elsewhere_caches_it(lab, folder, origin):
    path, data = folder.target("app", 2 * MIB)
    lab.server.stop()
    lab.server.command += ["--repository", origin.url]
    lab.start_server()
    node = member(lab, "n")
    lab.wait("the server to know the root", lambda: node.call("GET", "/edge/v1/bundle")[1].get("repository"))
    assert get(node, lab.edge_port, path)[1] == data
    origin.stop()
    assert get(node, lab.edge_port, path)[1] == data


# ---- a relay

def test_fifty_ask_at_once_and_one_fetch_is_made(lab, folder, origin):
    path, data = folder.target("app", 6 * MIB + 5)
    site = Site(lab, "--mirror", origin.url)
    origin.misbehave("targets/", "slow", rate=8 * MIB)

    def ask(number):
        part = {"Range": f"bytes={number * 100000}-{number * 100000 + 99999}"} if number % 2 else {}
        status, body, _ = site.get(path, part)
        return body == (data[number * 100000:number * 100000 + 100000] if part else data), status
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert all(right for right, _ in answers), answers
    assert len(origin.asked("targets/")) == 1
    assert origin.bytes_sent < len(data) + MIB


def test_a_fetch_goes_on_where_the_link_was_cut(lab, folder, origin):
    path, data = folder.target("app", 9 * MIB)
    site = Site(lab, "--mirror", origin.url)
    origin.misbehave("targets/", "cut", after=700_000)  # less than a block: what came of it counts
    status, body = site.get_patiently(path)
    assert (status, body) == (200, data)
    assert len(origin.asked("targets/")) > 5
    assert origin.bytes_sent < len(data) + 2 * MIB, "nothing is fetched twice"


def test_a_fetch_goes_on_after_the_relay_was_killed(lab, folder, origin):
    path, data = folder.target("app", 12 * MIB)
    site = Site(lab, "--mirror", origin.url)
    origin.misbehave("targets/", "slow", rate=6 * MIB)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        lost = pool.submit(site.get, path)
        wait_until("half of it to have come", lambda: origin.bytes_sent > 6 * MIB)
        site.relay.kill()
        assert lost.exception() is not None
    sent = origin.bytes_sent
    origin.behave()
    lab.start_relay(site.name)
    before = origin.bytes_sent
    assert site.get_patiently(path) == (200, data)
    assert sent > 6 * MIB and origin.bytes_sent - before < len(data) - 3 * MIB, "what was there was fetched again"


def test_what_is_kept_is_served_while_nobody_can_be_asked(lab, folder, origin):
    path, data = folder.target("app", MIB)
    delta, delta_data = folder.delta(50_000)
    site = Site(lab, "--mirror", origin.url)
    documents = ["metadata/timestamp.json", "metadata/1.root.json"]
    before = {p: site.get(p)[1] for p in documents}
    assert site.get("metadata/2.root.json")[0] == 404
    assert site.get(path)[1] == data and site.get(delta)[1] == delta_data
    origin.stop()
    lab.server.kill()
    for restarted in (False, True):
        if restarted:
            site.restart()
        for p in documents:
            status, body, _ = site.get(p)
            assert status == 200 and body == before[p], (p, status)
        assert site.get("metadata/2.root.json")[0] == 404
        assert site.get(path)[1] == data and site.get(delta)[1] == delta_data
        missing, _ = folder.target(f"late{restarted}", 1000)
        status, body, headers = site.get(missing)
        assert status == 503 and "Retry-After" in headers, "not known is not the same as not there"


def test_what_is_not_there_is_404(lab, folder, origin):
    site = Site(lab, "--mirror", origin.url)
    lab.wait("the relay's link", lambda: lab.cli_json("get", "relays")["items"][0]["status"]["connected"])
    for path in (f"targets/{'0' * 64}.none", f"chunks/00/{'0' * 64}.index", f"chunks/00/{'0' * 64}.pack",
                 f"deltas/00/{'0' * 64}.json", f"deltas/00/{'0' * 64}/{'1' * 64}.delta", "metadata/9.snapshot.json"):
        assert site.get(path)[0] == 404, path


def test_what_was_published_since_is_seen(lab, folder, origin):
    site = Site(lab, "--mirror", origin.url)
    def version():
        return json.loads(site.get("metadata/timestamp.json")[1])["signed"]["version"]
    assert version() == 1
    folder.publish()
    status, body, _ = site.get("metadata/timestamp.json", {"Cache-Control": "no-cache"})
    seen = json.loads(body)["signed"]["version"]
    assert seen in (1, 2)  # asked again within a second
    wait_until("the new timestamp", lambda: version() == 2)
    # A mirror that lags behind does not lead back.
    folder.write("metadata/timestamp.json", folder.metadata("timestamp", 1))
    site.get("metadata/timestamp.json", {"Cache-Control": "no-cache"})
    assert version() == 2


def test_a_damaged_file_in_the_cache_is_noticed_and_fetched_anew(lab, folder, origin):
    path, data = folder.target("app", 2 * MIB)
    pack, pack_data = folder.pack(3 * MIB)
    site = Site(lab, "--mirror", origin.url)
    assert site.get(path)[1] == data
    assert site.get(pack, {"Range": "bytes=0-99"})[1] == pack_data[:100]
    site.relay.kill()
    for file in (site.object(digest_of(path)), next(p for p in site.parts() if p.suffix == ".pack")):
        with open(file, "r+b") as f:
            f.seek(50)
            f.write(b"damage")
    lab.start_relay(site.name)
    assert site.get(path)[1] == data
    assert site.get(pack, {"Range": "bytes=0-99"})[1] == pack_data[:100]
    assert len(origin.asked("targets/")) == 2
    # Under way: somebody who has reason to doubt says so.
    with open(site.object(digest_of(path)), "r+b") as f:
        f.seek(70)
        f.write(b"damage")
    assert site.get(path, {"Cache-Control": "no-cache"})[1] == data


@pytest.mark.parametrize("how, settings", [
    ("forge", {}), ("page", {}), ("short", {}), ("redirect", {}), ("error", {}),
    ("long", {"length": 1 << 50, "seconds": 1}), ("long", {"length": 5 * MIB, "seconds": 1}), ("whole", {}),
])
def test_a_lying_mirror_is_left_for_an_honest_one(lab, folder, origin, how, settings):
    path, data = folder.target("app", 3 * MIB)
    delta, delta_data = folder.delta(200_000)
    honest = Origin(folder.folder)
    origin.misbehave("", how, **settings)
    try:
        site = Site(lab, "--mirror", origin.url, "--mirror", honest.url)
        assert site.get_patiently(path) == (200, data)
        assert site.get_patiently(delta) == (200, delta_data)
        assert site.get_patiently("metadata/timestamp.json")[0] == 200
        if how != "whole":
            assert honest.asked("targets/")
    finally:
        honest.close()


def test_lies_alone_give_nothing(lab, folder, origin):
    path, data = folder.target("app", 3 * MIB)
    origin.misbehave("", "forge")
    site = Site(lab, "--mirror", origin.url)
    status, body, _ = site.get(path)
    assert status == 503 and data[:1000] not in body
    origin.behave()
    assert site.get_patiently(path) == (200, data)


def test_a_mirror_that_stalls_is_left(lab, folder, origin):
    path, data = folder.target("app", 3 * MIB)
    honest = Origin(folder.folder)
    origin.misbehave("targets/", "stall", after=100_000)
    try:
        site = Site(lab, "--mirror", origin.url, "--mirror", honest.url)
        assert site.get_patiently(path) == (200, data)
    finally:
        honest.close()


def test_only_the_asked_parts_of_a_pack_are_fetched(lab, folder, origin):
    pack, data = folder.pack(20 * MIB + 1000)
    site = Site(lab, "--mirror", origin.url)
    for first, last in ((5 * MIB + 10, 5 * MIB + 99), (19 * MIB, 20 * MIB + 999), (5 * MIB, 6 * MIB - 1)):
        status, body, headers = site.get(pack, {"Range": f"bytes={first}-{last}"})
        assert status == 206 and body == data[first:last + 1]
        assert headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
    assert origin.bytes_sent < 5 * MIB
    assert site.get(pack, {"Range": "bytes=-7"})[1] == data[-7:]
    assert site.get(pack, {"Range": f"bytes={len(data)}-"})[0] == 416
    assert get(site.node, site.relay.port, pack, method="HEAD")[2]["Content-Length"] == str(len(data))
    assert site.get(pack)[1] == data


def test_a_node_that_finds_a_pack_wrong_gets_it_from_another(lab, folder, origin):
    pack, data = folder.pack(3 * MIB)
    honest = Origin(folder.folder)
    origin.misbehave("chunks/", "forge")
    part = {"Range": f"bytes={MIB + 5}-{MIB + 1004}"}
    try:
        site = Site(lab, "--mirror", origin.url, "--mirror", honest.url)
        assert site.get(pack, part)[1] != data[MIB + 5:MIB + 1005], "nobody but a node can tell"
        assert site.get(pack, {**part, "Cache-Control": "no-cache"})[1] == data[MIB + 5:MIB + 1005]
        assert site.get(pack, part)[1] == data[MIB + 5:MIB + 1005]
    finally:
        honest.close()


def test_the_least_recently_used_go(lab, folder, origin):
    site = Site(lab, "--mirror", origin.url, "--cache-max", "8M")
    targets = [folder.target(f"app{n}", 2 * MIB) for n in range(6)]
    for path, data in targets:
        assert site.get(path)[1] == data
        assert site.get(targets[0][0])[1] == targets[0][1]
    used = sum(f.stat().st_size for f in (lab.folder / site.name / "objects/sha256").rglob("*") if f.is_file())
    assert used <= 8 * MIB
    assert site.object(digest_of(targets[0][0])).exists(), "what is in use stays"
    assert not site.object(digest_of(targets[1][0])).exists()


def test_on_a_full_disk_files_pass_through(lab, folder, origin):
    if os.geteuid() != 0:
        pytest.skip("a small file system is mounted by root")
    path, data = folder.target("app", 9 * MIB)
    small, small_data = folder.target("small", 100_000)
    state = lab.folder / "relay"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", state], check=True)
    try:
        site = Site(lab, "--mirror", origin.url)
        assert site.get(small)[1] == small_data
        assert site.get_patiently(path) == (200, data)
        part = site.get(path, {"Range": "bytes=5000000-5999999"})
        assert part[0] == 206 and part[1] == data[5000000:6000000]
        assert site.get_patiently(small) == (200, small_data)
        site.relay.stop()
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def test_a_relay_asks_its_peer_first(lab, folder, origin):
    path, data = folder.target("app", 3 * MIB)
    pack, pack_data = folder.pack(4 * MIB)
    first = Site(lab, "--mirror", origin.url, name="first")
    assert first.get(path)[1] == data
    assert first.get(pack, {"Range": "bytes=0-999"})[1] == pack_data[:1000]
    second = Site(lab, "--mirror", origin.url, "--peers", f"https://127.0.0.1:{first.relay.port}", name="second")
    asked = len(origin.requests)
    assert second.get(path)[1] == data
    assert second.get(pack, {"Range": "bytes=0-999"})[1] == pack_data[:1000]
    assert len(origin.requests) == asked, "the peer had it"
    # What it has not it does not fetch for another relay.
    other, other_data = folder.target("other", MIB)
    assert second.get(other)[1] == other_data
    assert not first.object(digest_of(other)).exists()
    assert len(origin.asked(digest_of(other))) == 1
    assert get(second.node, first.relay.port, other, {"Cache-Control": "only-if-cached"})[0] == 504
    first.relay.kill()
    last, last_data = folder.target("last", MIB)
    assert second.get_patiently(last) == (200, last_data)


def test_files_come_through_the_server_too(lab, folder):
    path, data = folder.target("app", 3 * MIB)
    lab.server.stop()
    lab.server.command += ["--repository", str(folder.folder)]
    lab.start_server()
    site = Site(lab)
    assert site.get_patiently(path) == (200, data)
    lab.server.kill()
    assert site.get(path)[1] == data


def test_a_bandwidth_is_kept(lab, folder, origin):
    path, data = folder.target("app", 3 * MIB)
    site = Site(lab, "--mirror", origin.url, "--bandwidth", "1M")
    assert site.get_patiently(path) == (200, data)
    parts = [r[1] for r in origin.asked("targets/")]
    sizes = [int(b) - int(a) + 1 for a, b in (p.removeprefix("bytes=").split("-") for p in parts)]
    assert max(sizes) <= MIB and len(sizes) >= 3, "asked for no more than may come"
