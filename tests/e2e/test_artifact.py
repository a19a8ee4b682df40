# SPDX-License-Identifier: Apache-2.0
"""Artifacts from the publisher's side: push, list, show, diff, yank, deltas, and what is not pushed."""
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import tempfile

import pytest


class Publisher:
    """A repository's work folder, and the command that fills it."""

    def __init__(self, build, folder):
        self.skerry = build / "src/cli/skerry"
        self.folder = folder
        self.work = folder / "repository"
        self.public = self.work / "public"
        self.environment = dict(os.environ, SKERRY_CONFIG=str(folder / "cli.yaml"), NO_COLOR="1", TMPDIR=str(folder))

    def try_run(self, *words):
        return subprocess.run([str(w) for w in (self.skerry, *words)], env=self.environment, cwd=self.folder,
                              stdin=subprocess.DEVNULL, start_new_session=True, capture_output=True, text=True)

    def run(self, *words):
        result = self.try_run(*words)
        assert result.returncode == 0, f"{words}: {result.stdout}{result.stderr}"
        return result.stdout

    def artifact(self, command, *words):
        return self.run("artifact", command, "--repository", self.work, *words)

    def json(self, command, *words):
        return json.loads(self.artifact(command, "-o", "json", *words))

    def refuse(self, command, *words):
        result = self.try_run("artifact", command, "--repository", self.work, *words)
        assert result.returncode not in (0, 2), result.stdout
        assert "Sanitizer" not in result.stderr and "runtime error" not in result.stderr, result.stderr
        return result.stderr

    def items(self, *words):
        return self.json("list", *words)["items"]

    def one(self, reference, platform):
        return next(a for a in self.json("show", reference)["items"] if a["platform"] == platform)

    def targets(self):
        """What the newest published metadata lists."""
        timestamp = json.loads((self.public / "metadata/timestamp.json").read_text())
        version = timestamp["signed"]["meta"]["snapshot.json"]["version"]
        snapshot = json.loads((self.public / f"metadata/{version}.snapshot.json").read_text())
        version = snapshot["signed"]["meta"]["targets.json"]["version"]
        return json.loads((self.public / f"metadata/{version}.targets.json").read_text())["signed"]["targets"]

    def target_file(self, path):
        folder, name = path.rsplit("/", 1)
        return self.public / "targets" / folder / f"{self.targets()[path]['hashes']['sha256']}.{name}"


@pytest.fixture
def publisher(build, tmp_path):
    p = Publisher(build, tmp_path)
    p.run("repo", "init", "--development", p.work)
    return p


def noise(seed, length):
    return random.Random(seed).randbytes(length)


def write_tree(folder, version, size=300_000):
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "bin/web").write_bytes(noise("web", size) + version.encode())
    (folder / "bin/web").chmod(0o755)
    (folder / "version").write_text(version)
    if not (folder / "current").is_symlink():
        (folder / "current").symlink_to("bin/web")
        os.link(folder / "bin/web", folder / "bin/web-again")
    return folder


def test_two_platforms_one_version(publisher):
    p = publisher
    amd64, arm64 = write_tree(p.folder / "amd64", "a"), write_tree(p.folder / "arm64", "b")
    out = p.artifact("push", "web:1.0", "--type", "tree", "--platform", "linux/amd64", amd64, "--platform", "linux/arm64",
                     arm64, "--hardware", "board=rpi4")
    assert "published" in out
    items = p.items()
    assert [(a["name"], a["version"], a["platform"], a["type"], a["releaseCounter"]) for a in items] == [
        ("web", "1.0", "linux/amd64", "tree", 1), ("web", "1.0", "linux/arm64/v8", "tree", 1)]
    assert all(a["hardware"] == {"board": "rpi4"} for a in items)
    for a in items:
        payload = p.target_file(f"artifacts/web/1.0/{a['platform'].replace('/', '-')}")
        assert hashlib.sha256(payload.read_bytes()).hexdigest() == a["sha256"]
        assert payload.stat().st_mode & 0o777 == 0o644
        assert (p.public / f"chunks/{a['sha256'][:2]}/{a['sha256']}.index").exists()
        with tarfile.open(payload) as t:
            assert t.getnames() == ["bin", "bin/web", "bin/web-again", "current", "version"]
    assert "linux/arm64/v8" in p.artifact("show", "web:1.0")
    assert p.artifact("list", "-o", "name") == "web:1.0\n"
    # The other way to say the same.
    assert "nothing to do" in p.artifact("push", "web:1.0", "--type", "tree", "--platform", f"linux/arm64={arm64}",
                                         "--platform", f"linux/amd64={amd64}", "--hardware", "board=rpi4")
    assert not list(p.work.glob("payload-*"))


def test_a_version_never_changes(publisher):
    p = publisher
    (p.folder / "tool").write_text("#!/bin/sh\necho one\n")
    (p.folder / "tool").chmod(0o755)
    p.artifact("push", "tool:1", "tool")
    a, = p.items()
    assert (a["platform"], a["type"], a["fileName"], a["mode"]) == ("any", "file", "tool", 0o755)
    before = p.targets()
    assert "nothing to do" in p.artifact("push", "tool:1", "tool")
    assert p.targets() == before
    (p.folder / "tool").write_text("#!/bin/sh\necho two\n")
    error = p.refuse("push", "tool:1", "tool")
    assert "Versions never change" in error and "tool:1" in error
    assert p.targets() == before
    (p.folder / "tool").write_text("#!/bin/sh\necho one\n")
    (p.folder / "tool").chmod(0o644)
    assert "Versions never change" in p.refuse("push", "tool:1", "tool")
    p.artifact("push", "tool:2", "tool")
    assert [a["releaseCounter"] for a in p.items()] == [1, 2]


def test_what_is_pushed_is_guessed_where_it_is_clear(publisher):
    p = publisher
    shutil.copy("/bin/busybox", p.folder / "busybox")
    p.artifact("push", "busybox:1", "busybox")
    assert p.items()[0]["platform"].startswith("linux/")
    (p.folder / "disk").write_bytes(bytes(1024) + b"\xe2\xe1\xf5\xe0" + bytes(4096))
    assert "--platform" in p.refuse("push", "os:1", "disk")
    p.artifact("push", "os:1", "disk", "--platform", "linux/amd64")
    assert p.one("os:1", "linux/amd64")["type"] == "image"
    (p.folder / "x.tar").write_bytes(b"")
    assert "--type tree" in p.refuse("push", "x:1", "x.tar", "--platform", "any")
    assert "no such" in p.refuse("push", "x:1", "nowhere").lower()
    assert "NAME:VERSION" in p.refuse("push", "x", "disk")
    assert "OS/ARCHITECTURE" in p.refuse("push", "x:1", "disk", "--platform", "toaster")
    assert "pair up" in p.refuse("push", "x:1", "disk", "disk", "--platform", "linux/amd64")
    assert "did you mean busybox" in p.refuse("show", "busybax")
    assert "newest are 1" in p.refuse("show", "busybox:7")


def test_diff_tells_what_changed_and_what_it_costs(publisher):
    p = publisher
    tree = write_tree(p.folder / "tree", "one", size=3_000_000)
    p.artifact("push", "web:1", "--platform", "any", tree)
    (tree / "version").write_text("two!")
    (tree / "more").write_text("new")
    (tree / "bin/web").chmod(0o700)
    p.artifact("push", "web:2", "--platform", "any", tree)
    d, = p.json("diff", "web:1", "web:2")["platforms"]
    changes = {c["path"]: c for c in d["changes"]}
    assert changes["more"]["what"] == "added" and changes["more"]["newSize"] == 3
    assert changes["version"] == {"what": "changed", "path": "version", "oldSize": 3, "newSize": 4}
    assert "mode 0755 -> 0700" in changes["bin/web"]["note"]
    assert (d["added"], d["removed"]) == (1, 0)
    predicted = d["predictedBytes"]
    assert predicted["whole"] == p.one("web:2", "any")["length"]
    assert 0 < predicted["chunks"] < predicted["whole"] / 2
    assert "delta" not in predicted
    text = p.artifact("diff", "web:1", "2")
    assert "+ more" in text and "none made yet" in text

    made = json.loads(p.artifact("delta", "web", "1", "2", "-o", "json"))[0]
    old, new = p.one("web:1", "any"), p.one("web:2", "any")
    delta = p.public / f"deltas/{new['sha256'][:2]}/{new['sha256']}/{old['sha256']}.delta"
    assert delta.stat().st_size == made["length"] < predicted["chunks"]
    assert new["deltas"] == [{"from": old["sha256"], "length": made["length"],
                              "sha256": hashlib.sha256(delta.read_bytes()).hexdigest()}]
    assert p.json("diff", "web:1", "web:2")["platforms"][0]["predictedBytes"]["delta"] == made["length"]
    # The delta does what it says.
    p.run("delta", "apply", p.target_file("artifacts/web/1/any"), delta, "rebuilt")
    assert hashlib.sha256((p.folder / "rebuilt").read_bytes()).hexdigest() == new["sha256"]

    (tree / "version").write_text("three")
    p.artifact("push", "web:3", "--platform", "any", tree)
    p.artifact("delta", "web", "--all-from", "1")
    assert {d["from"] for d in p.one("web:3", "any")["deltas"]} == {old["sha256"], new["sha256"]}
    p.artifact("push", "other:1", "--type", "file", "--platform", "any", tree / "version")
    assert "nothing to compare" in p.refuse("diff", "web:1", "other:1")


def test_a_yank_goes_forward(publisher):
    p = publisher
    for version in ("1", "2", "3"):
        (p.folder / "tool").write_text(f"version {version}\n")
        p.artifact("push", f"tool:{version}", "tool")
    assert "cannot replace itself" in p.refuse("yank", "tool:3", "--use", "3")
    assert "no version 9" in p.refuse("yank", "tool:3", "--use", "9")
    before = p.targets()
    p.artifact("yank", "tool:3", "--use", "1", "--reason", "does not start")
    bad, good = p.one("tool:3", "any"), p.one("tool:1", "any")
    assert (bad["yanked"], bad["replacedBy"], bad["reason"]) == (True, "1", "does not start")
    assert good["releaseCounter"] == 4 and "yanked" not in good
    after = p.targets()
    assert {k: v["hashes"] for k, v in before.items()} == {k: v["hashes"] for k, v in after.items()}
    assert p.json("show", "tool")["items"][0]["version"] == "1"  # the newest that is good
    assert "yanked itself" in p.refuse("yank", "tool:2", "--use", "3")
    assert "yanked, use 1" in p.artifact("list", "tool")
    (p.folder / "tool").write_text("version 5\n")
    p.artifact("push", "tool:5", "tool")
    assert p.one("tool:5", "any")["releaseCounter"] == 5


def test_attachments_are_checked_and_signed(publisher):
    p = publisher
    (p.folder / "tool").write_text("tool")
    digest = hashlib.sha256(b"tool").hexdigest()

    def write(name, content):
        (p.folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
                 "subject": [{"name": "tool", "digest": {"sha256": digest}}], "predicate": {}}
    other = dict(statement, subject=[{"name": "tool", "digest": {"sha256": "0" * 64}}])
    assert "neither SPDX" in p.refuse("push", "tool:1", "tool", "--sbom", write("s", {"packages": []}))
    assert "line 1" in p.refuse("push", "tool:1", "tool", "--sbom", write("s", "{"))
    assert "about other things" in p.refuse("push", "tool:1", "tool", "--provenance", write("s", other))
    assert "no in-toto" in p.refuse("push", "tool:1", "tool", "--provenance", write("s", {"_type": "x"}))
    assert p.items() == []
    p.artifact("push", "tool:1", "tool", "--sbom", write("bom", {"bomFormat": "CycloneDX", "specVersion": "1.5"}))
    a = p.one("tool:1", "any")
    assert a["sbom"] == "artifacts/tool/1/any.sbom.json" and "provenance" not in a
    # Provenance comes later; the artifact is the same.
    p.artifact("push", "tool:1", "tool", "--provenance", write("provenance", statement))
    a = p.one("tool:1", "any")
    assert (a["sbom"], a["provenance"]) == ("artifacts/tool/1/any.sbom.json", "artifacts/tool/1/any.provenance.json")
    assert json.loads(p.target_file(a["provenance"]).read_text()) == statement
    assert a["releaseCounter"] == 1 and len(p.items()) == 1


def test_without_the_keys_it_is_staged(build, tmp_path):
    p = Publisher(build, tmp_path)
    (p.folder / "pass").write_text("correct horse\n")
    (p.folder / "tool").write_text("tool")
    p.run("repo", "init", "--passphrase-file", "pass", p.work)
    pushed = p.try_run("artifact", "push", "--repository", p.work, "tool:1", "tool")
    assert pushed.returncode == 0 and "only staged, not published" in pushed.stderr and "skerry repo" in pushed.stderr
    assert not (p.public / "metadata/timestamp.json").exists()
    assert [a["name"] for a in p.items()] == ["tool"]
    p.artifact("push", "tool:2", "tool", "--passphrase-file", "pass")
    assert {"artifacts/tool/1/any", "artifacts/tool/2/any"} <= set(p.targets())


def test_a_push_without_the_key_at_hand_is_published_by_the_next(publisher):
    """The same push again, now with the passphrase, does not say that there is nothing to do while no node sees it."""
    secret = publisher.folder / "secret"
    secret.write_text("right\n")
    secret.chmod(0o600)
    wrong = publisher.folder / "wrong"
    wrong.write_text("wrong\n")
    work = publisher.folder / "guarded"
    publisher.run("repo", "init", "--passphrase-file", secret, work)
    publisher.run("repo", "publish", "--repository", work)
    payload = publisher.folder / "payload"
    payload.write_text("content")
    push = ["artifact", "push", "--repository", work, "--type", "file", "--platform", "any", "web:1.0.0", payload]
    assert "only staged, not published" in publisher.try_run(*push).stderr
    again = publisher.try_run(*push, "--passphrase-file", wrong)
    assert again.returncode not in (0, 2)
    assert "passphrase" in again.stderr
    assert "is published" in publisher.run(*push, "--passphrase-file", secret)
    assert "nothing to do" in publisher.run(*push)


def test_a_push_that_was_killed_is_pushed_again(publisher):
    p = publisher
    tree = write_tree(p.folder / "tree", "killed", size=4_000_000)
    moments = random.Random(7)
    for _ in range(8):
        process = subprocess.Popen([p.skerry, "artifact", "push", "--repository", p.work, "web:1", "--platform", "any", tree],
                                   env=p.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            process.wait(moments.uniform(0.02, 0.4))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    p.artifact("push", "web:1", "--platform", "any", tree)
    p.run("repo", "publish", "--repository", p.work)
    a, = p.items()
    assert hashlib.sha256(p.target_file("artifacts/web/1/any").read_bytes()).hexdigest() == a["sha256"]
    assert p.one("web:1", "any")["chunks"]["packLength"] > 3_000_000
    assert a["releaseCounter"] == 1
    p.run("repo", "verify", p.public)
    assert not list(p.work.glob("payload-*")) and not list(p.public.rglob("*.new"))


def test_prune_takes_only_what_nobody_names(publisher):
    p = publisher
    for version in ("1", "2"):
        (p.folder / "data").write_bytes(noise("data", 400_000) + version.encode())
        p.artifact("push", f"data:{version}", "--platform", "any", "data")
    p.artifact("delta", "data", "1", "2")
    old, new = p.one("data:1", "any"), p.one("data:2", "any")
    files = sorted(f for f in p.public.rglob("*") if f.is_file())
    assert p.artifact("prune").startswith("0 files")
    assert files == sorted(f for f in p.public.rglob("*") if f.is_file())
    p.run("repo", "remove", "--repository", p.work, "artifacts/data/1/any")
    p.run("repo", "publish", "--repository", p.work)
    p.artifact("prune")
    gone = {str(f.relative_to(p.public)) for f in files} - {
        str(f.relative_to(p.public)) for f in p.public.rglob("*") if f.is_file()}
    assert f"chunks/{old['sha256'][:2]}/{old['sha256']}.pack" in gone
    assert f"deltas/{new['sha256'][:2]}/{new['sha256']}/{old['sha256']}.delta" in gone
    assert f"chunks/{new['sha256'][:2]}/{new['sha256']}.pack" not in gone
    assert p.one("data:2", "any")["deltas"] == []


# ---- archives that are traps

def member(archive, name, data=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def sparse(archive, pieces, data, real_size):
    table = ("".join(f"{n}\n" for n in pieces)).encode()
    table += bytes(-len(table) % 512)
    member(archive, "GNUSparseFile.0/s", table + data,
           pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s",
                        "GNU.sparse.realsize": str(real_size)})


SYMBOLIC, HARD = {"type": tarfile.SYMTYPE}, {"type": tarfile.LNKTYPE}
TRAPS = {
    "climbs": (lambda t: member(t, "../out", b"x"), "leads out"),
    "climbs later": (lambda t: member(t, "a/../../out", b"x"), "leads out"),
    "absolute": (lambda t: member(t, "/etc/skerry-out", b"x"), "absolute"),
    "link, then through it": (lambda t: (member(t, "a", **SYMBOLIC, linkname="/tmp"), member(t, "a/out", b"x")), "'a'"),
    "link, then over it": (lambda t: (member(t, "a", **SYMBOLIC, linkname="/etc/passwd"), member(t, "a", b"x")), "twice"),
    "hard link out": (lambda t: member(t, "a", **HARD, linkname="/etc/passwd"), "hard link"),
    "hard link climbing": (lambda t: member(t, "a", **HARD, linkname="../../etc/passwd"), "hard link"),
    "hard link to nothing": (lambda t: member(t, "a", **HARD, linkname="b"), "no file before it"),
    "hard link to a link": (lambda t: (member(t, "a", **SYMBOLIC, linkname="/etc/passwd"),
                                       member(t, "b", **HARD, linkname="a")), "no file before it"),
    "twice": (lambda t: (member(t, "a", b"x"), member(t, "a", b"y")), "twice"),
    "file as folder": (lambda t: (member(t, "a", b"x"), member(t, "a/b", b"y")), "'a'"),
    "owner": (lambda t: member(t, "a", b"x", uid=1 << 40), "owner"),
    "sparse overlap": (lambda t: sparse(t, [2, 1000, 4, 1002, 4], b"datadata", 5000), "overlap"),
    "sparse outside": (lambda t: sparse(t, [1, 9000, 4], b"data", 5000), ""),
    "sparse giant": (lambda t: sparse(t, [1, 0, 4], b"data", 1 << 62), ""),
    "deep": (lambda t: member(t, "d/" * 100 + "x", b"x"), "too long"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_not_pushed(publisher, trap):
    p = publisher
    make, says = TRAPS[trap]
    with tarfile.open(p.folder / "trap.tar", "w", format=tarfile.PAX_FORMAT) as t:
        member(t, "first", b"harmless")
        make(t)
    error = p.refuse("push", "trap:1", "--type", "tree", "--platform", "any", "trap.tar")
    assert says in error
    assert p.items() == []
    assert not list(p.work.glob("payload-*")) and not list(p.public.rglob("*trap*"))


def test_a_cut_archive_is_not_pushed(publisher):
    p = publisher
    with tarfile.open(p.folder / "whole.tgz", "w:gz") as t:
        member(t, "a", noise("a", 100_000))
        member(t, "b", noise("b", 100_000))
    whole = (p.folder / "whole.tgz").read_bytes()
    for length in (0, 10, 1000, 100_000, len(whole) - 100):
        (p.folder / "cut").write_bytes(whole[:length])
        p.refuse("push", "cut:1", "--type", "tree", "--platform", "any", "cut")
    assert p.items() == []


# ---- container images

@pytest.fixture
def images(tmp_path):
    """podman with a store of its own, and an image made from nothing."""
    runs = tempfile.mkdtemp(prefix="skerry-")  # podman's run folder holds sockets: its path is at most 50 characters long
    settings = tmp_path / "containers.conf"
    environment = dict(os.environ)
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        settings.write_text('[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
                            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n')
        environment["CONTAINERS_CONF"] = str(settings)

    def podman(store, *words):
        result = subprocess.run(["podman", "--root", tmp_path / store, "--runroot", f"{runs}/{store}",
                                 "--storage-driver", "vfs", *words], env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def make(text):
        folder = tmp_path / "image"
        folder.mkdir(exist_ok=True)
        shutil.copy("/bin/busybox", folder / "busybox")
        (folder / "text").write_text(text)
        (folder / "Containerfile").write_text(
            'FROM scratch\nCOPY busybox /bin/busybox\nCOPY text /text\nENTRYPOINT ["/bin/busybox"]\n')
        podman("made", "build", "-q", "--layers", "-t", "localhost/skerry-test/tool:1", str(folder))
        return podman("made", "image", "inspect", "--format", "{{.Id}}", "localhost/skerry-test/tool:1").strip()

    podman.make = make
    yield podman
    shutil.rmtree(runs, ignore_errors=True)


def test_an_image_goes_round_through_podman(publisher, images):
    p = publisher
    identity = images.make("one\n")
    for kind in ("docker-archive", "oci-archive", "oci-dir"):
        images("made", "save", "-q", "--format", kind, "-o", str(p.folder / kind), "localhost/skerry-test/tool:1")
    p.artifact("push", "tool:1", "--type", "oci", "oci-archive")
    a = p.json("show", "tool:1")["items"][0]
    assert a["type"] == "oci" and a["platform"].startswith("linux/")
    # However it was saved, it is the same.
    assert "nothing to do" in p.artifact("push", "tool:1", "--type", "oci", "docker-archive")
    assert "nothing to do" in p.artifact("push", "tool:1", "oci-dir")

    payload = p.target_file("artifacts/tool/1/" + a["platform"].replace("/", "-"))
    shutil.copy(payload, p.folder / "load.tar")
    assert "localhost/skerry-test/tool:1" in images("loaded", "load", "-q", "-i", str(p.folder / "load.tar"))
    assert images("loaded", "image", "inspect", "--format", "{{.Id}}", "localhost/skerry-test/tool:1").strip() == identity
    assert images("loaded", "run", "--rm", "--network=none", "localhost/skerry-test/tool:1", "cat", "/text") == "one\n"
    assert identity in p.artifact("show", "tool:1")

    images.make("two, longer\n")
    images("made", "save", "-q", "--format", "oci-archive", "-o", str(p.folder / "next"), "localhost/skerry-test/tool:1")
    p.artifact("push", "tool:2", "--type", "oci", "next")
    d, = p.json("diff", "tool:1", "tool:2")["platforms"]
    changed = {c["path"]: c for c in d["changes"]}
    assert changed["text"] == {"what": "changed", "path": "text", "oldSize": 4, "newSize": 12}
    assert "config" in changed and "bin/busybox" not in changed
    assert d["predictedBytes"]["chunks"] < d["predictedBytes"]["whole"] / 2


def put_blob(folder, data):
    digest = hashlib.sha256(data).hexdigest()
    (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (folder / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def write_layout(folder, platforms, layer, compress=lambda data: data):
    """An OCI image layout with a nested index of one image for each platform."""
    manifests = []
    for os_name, architecture in platforms:
        config = put_blob(folder, json.dumps({
            "os": os_name, "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode())
        manifest = put_blob(folder, json.dumps({
            "schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **put_blob(folder, compress(layer))}],
        }).encode())
        manifests.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest,
                          "platform": {"os": os_name, "architecture": architecture}})
    index = put_blob(folder, json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": "application/vnd.oci.image.index.v1+json", **index}]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def test_platforms_are_picked_from_one_index(publisher):
    p = publisher
    gzip = lambda data: subprocess.run(["gzip", "-c"], input=data, capture_output=True, check=True).stdout
    zstd = lambda data: subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as t:
        member(t, "file", noise("layer", 50_000))
    both = [("linux", "amd64"), ("linux", "arm64")]
    packed = write_layout(p.folder / "packed", both, layer.getvalue(), gzip)
    other = write_layout(p.folder / "other", both, layer.getvalue(), zstd)
    p.artifact("push", "multi:1", packed, "--platform", "linux/amd64", "--platform", "linux/arm64")
    assert [a["platform"] for a in p.items()] == ["linux/amd64", "linux/arm64/v8"]
    # However the layers are compressed, it is the same.
    assert "nothing to do" in p.artifact("push", "multi:1", other, "--platform", "linux/arm64")
    assert "linux/amd64, linux/arm64/v8" in p.refuse("push", "multi:2", packed, "--platform", "linux/riscv64")
    assert "several images" in p.refuse("push", "multi:2", packed)
    with tarfile.open(p.target_file("artifacts/multi/1/linux-amd64")) as t:
        assert t.extractfile("blobs/sha256/" + hashlib.sha256(layer.getvalue()).hexdigest()).read() == layer.getvalue()


def test_images_that_are_not_what_they_say_are_not_pushed(publisher):
    p = publisher
    one = [("linux", "amd64")]

    def refused(change, says):
        folder = write_layout(p.folder / "bad", one, b"a layer")
        change(folder)
        assert says in p.refuse("push", "bad:1", "--type", "oci", "bad")
        shutil.rmtree(folder)

    layer = hashlib.sha256(b"a layer").hexdigest()
    refused(lambda f: (f / "blobs/sha256" / layer).write_bytes(b"another"), "damaged")
    refused(lambda f: (f / "blobs/sha256" / layer).unlink(), layer)
    refused(lambda f: (f / "index.json").write_text("[]"), "no manifests")
    refused(lambda f: (f / "index.json").unlink(), "neither an index.json")
    refused(lambda f: (f / "index.json").write_text('{"manifests": [{"digest": "sha256:../../etc/passwd"}]}'), "no SHA-256")

    def link_out(folder):
        (folder / "blobs/sha256" / layer).unlink()
        (folder / "blobs/sha256" / layer).symlink_to("/etc/hostname")
    refused(link_out, layer)
    assert p.items() == []
