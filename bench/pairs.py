# SPDX-License-Identifier: Apache-2.0
"""Pairs of versions to update between: real data, made on the spot from Debian's archive and the Go proxy."""
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess

MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
MAIN = f"deb {MIRROR} bookworm main"
UPDATED = [MAIN, f"deb {SECURITY} bookworm-security main", f"deb {MIRROR} bookworm-updates main"]
ROOT_PACKAGES = "systemd,systemd-sysv,linux-image-amd64,openssh-server,podman,python3,curl"
IMAGE_PACKAGES = "python3,curl,ca-certificates"
CHANGED_PACKAGE = "libssl3"
FILE_SYSTEM_UUID = "0c3a2f6e-5d1b-4f77-9a36-7a5b7b8f2d10"
PROGRAM = "github.com/caddyserver/caddy/v2/cmd/caddy"
PROGRAM_VERSIONS = ("v2.6.3", "v2.6.4")
TREE_FILES = 20000
TREE_CHANGED = 200


def say(text):
    print(f"  {text}", flush=True)


def run(*command, **options):
    log = options.pop("log", None)
    with open(log or os.devnull, "ab") as out:
        result = subprocess.run([str(c) for c in command], stdout=out, stderr=out, check=False, **options)
    if result.returncode != 0:
        tail = pathlib.Path(log).read_text(errors="replace")[-2000:] if log else ""
        raise SystemExit(f"{command[0]} failed with {result.returncode}: {' '.join(map(str, command))}\n{tail}")


class Pair:
    """Two versions of one payload as files, and, for peers that work on folders, as folders."""

    def __init__(self, letter, title, old, new, old_folder=None, new_folder=None):
        self.letter, self.title, self.old, self.new = letter, title, old, new
        self.old_folder, self.new_folder = old_folder, new_folder


def debootstrap(folder, archive, packages, sources, hooks=()):
    command = ["mmdebstrap", "--variant=minbase", f"--include={packages}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    run(*command, "bookworm", archive, *sources, log=folder / "mmdebstrap.log")


def unpack(archive, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run("tar", "-C", folder, "-xf", archive)


def install_roots(folder):
    """Two Debian roots as folders, "old" and "new"; what lay in /boot is beside them, but for the initrd, which each machine
    packs for itself."""
    for name, sources in (("old", [MAIN]), ("new", UPDATED)):
        if (folder / f"{name}-boot").exists():
            continue
        say(f"pair A: installing the {name} root")
        archive = folder / f"{name}.tar"
        debootstrap(folder, archive, ROOT_PACKAGES, sources,
                    ['rm -f "$1"/boot/initrd.img* "$1"/initrd.img*', 'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*'])
        unpack(archive, folder / name)
        archive.unlink()
        (folder / name / "boot").rename(folder / f"{name}-boot")
        (folder / name / "boot").mkdir()


def erofs(image, folder):
    part = image.with_suffix(".part")
    run("mkfs.erofs", "-T0", "-U", FILE_SYSTEM_UUID, part, folder)
    part.rename(image)


def pair_a(folder, skerry):
    """A Debian root as an image: kernel modules, userland. What lies in /boot goes to the boot partition of such a machine."""
    install_roots(folder)
    for name in ("old", "new"):
        if not (folder / f"{name}.erofs").exists():
            erofs(folder / f"{name}.erofs", folder / name)
    return Pair("a", "Debian 12 root, kernel modules and userland, EROFS", folder / "old.erofs", folder / "new.erofs", folder / "old",
                folder / "new")


def pair_k(folder, skerry):
    """Pair A with the kernel's file in the image, which is compressed inside: every method has to send it whole."""
    parent = folder.parent / "a"
    parent.mkdir(exist_ok=True)
    install_roots(parent)
    for name in ("old", "new"):
        if (folder / f"{name}.erofs").exists():
            continue
        whole = folder / "root"
        shutil.rmtree(whole, ignore_errors=True)
        run("cp", "-al", parent / name, whole)
        (whole / "boot").rmdir()
        run("cp", "-al", parent / f"{name}-boot", whole / "boot")
        erofs(folder / f"{name}.erofs", whole)
        shutil.rmtree(whole)
    return Pair("k", "pair A with /boot, EROFS", folder / "old.erofs", folder / "new.erofs")


def oci_layout(folder, layer):
    """The smallest OCI image layout around one layer, as a registry would hand it out (gzip)."""
    shutil.rmtree(folder, ignore_errors=True)
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    diff_id = hashlib.sha256(layer.read_bytes()).hexdigest()
    packed = subprocess.run(["gzip", "-n", "-6", "-c", str(layer)], stdout=subprocess.PIPE, check=True).stdout
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/usr/bin/python3"]},
              "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **put(json.dumps(config).encode())},
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **put(packed)}]}
    index = {"schemaVersion": 2, "manifests": [{"mediaType": manifest["mediaType"], "platform": {"os": "linux", "architecture": "amd64"},
                                                **put(json.dumps(manifest).encode())}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def pair_b(folder, skerry):
    """A container image, and the same with one package updated by apt."""
    upgrade = (f'printf "%s\\n" "deb {SECURITY} bookworm-security main" > "$1"/etc/apt/sources.list.d/security.list && '
               f'chroot "$1" apt-get -q update && chroot "$1" apt-get -q install -y --only-upgrade {CHANGED_PACKAGE} && '
               'rm "$1"/etc/apt/sources.list.d/security.list')
    clean = 'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*'
    for name, hooks in (("old", [clean]), ("new", [upgrade, clean])):
        if (folder / f"{name}.oci").exists():
            continue
        say(f"pair B: making the {name} container image")
        layer = folder / f"{name}.tar"
        debootstrap(folder, layer, IMAGE_PACKAGES, [MAIN], hooks)
        unpack(layer, folder / name)
        oci_layout(folder / f"{name}.layout", layer)
        payload(skerry, "oci", folder / f"{name}.layout", folder / f"{name}.oci")
    return Pair("b", "container image, one package changed", folder / "old.oci", folder / "new.oci", folder / "old", folder / "new")


def pair_c(folder, skerry):
    """One statically linked program, two adjacent releases."""
    for name, version in zip(("old", "new"), PROGRAM_VERSIONS):
        if (folder / f"{name}.program").exists():
            continue
        say(f"pair C: building {PROGRAM} {version}")
        home = folder / "go"
        run("/usr/bin/go", "install", "-trimpath", "-ldflags=-s -w", f"{PROGRAM}@{version}", log=folder / "go.log",
            env={**os.environ, "CGO_ENABLED": "0", "GOPATH": str(home), "GOCACHE": str(folder / "go-cache"), "GOTOOLCHAIN": "local",
                 "GOFLAGS": "-modcacherw -mod=mod"})
        (home / "bin/caddy").rename(folder / f"{name}.program")
        single(folder, name, folder / f"{name}.program")
    return Pair("c", "one static program, adjacent releases", folder / "old.program", folder / "new.program", folder / "old",
                folder / "new")


def single(folder, name, file):
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir()
    shutil.copy(file, folder / name / "program")


def headers(folder, name, source):
    """The small files of one release of the kernel's headers package."""
    target = folder / f"{name}.package"
    if not target.exists():
        listing = folder / f"{name}.list"
        listing.write_text(source + "\n")
        state = folder / f"{name}.apt"
        for part in ("lists/partial", "cache/archives/partial"):
            (state / part).mkdir(parents=True, exist_ok=True)
        options = ["-o", f"Dir::Etc::sourcelist={listing}", "-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::lists={state}/lists",
                   "-o", f"Dir::Cache={state}/cache", "-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root"]
        run("apt-get", *options, "update", log=folder / "apt.log")
        listed = subprocess.run(["apt-cache", *options, "depends", "linux-headers-amd64"], capture_output=True, text=True, check=True)
        concrete = [w.split(":")[1].strip() for w in listed.stdout.splitlines() if "Depends: linux-headers-" in w][0]
        common = concrete.replace("-amd64", "-common")
        run("apt-get", *options, "download", common, log=folder / "apt.log", cwd=folder)
        package = next(folder.glob(f"{common}_*.deb"))
        shutil.rmtree(target, ignore_errors=True)
        run("dpkg-deb", "-x", package, folder / f"{name}.part")
        (folder / f"{name}.part").rename(target)
    root = next((target / "usr/src").iterdir())
    return {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file() and not p.is_symlink()}


def small_files(root):
    """Of a Debian root: what is no kernel module and below 1 MiB."""
    found = {}
    for path in sorted(root.rglob("*")):
        if not path.is_symlink() and path.is_file() and path.suffix != ".ko" and path.stat().st_size < 1 << 20:
            found["root/" + re.sub(r"6\.1\.0-\d+-amd64", "kernel", str(path.relative_to(root)))] = path
    return found


def pair_d(folder, skerry):
    """20,000 small files (kernel headers and a Debian root's) of which one in a hundred has changed, as it really changed
    between two releases."""
    if not (folder / "new.tree").exists():
        roots = folder.parent / "a"
        if not (roots / "new.erofs").exists():
            make("a", folder.parent, skerry)
        say("pair D: choosing 20,000 small files of two releases")
        before = {**headers(folder, "old", MAIN), **small_files(roots / "old")}
        after = {**headers(folder, "new", UPDATED[1]), **small_files(roots / "new")}
        both = [n for n in before if n in after]
        differ = [n for n in both if before[n].read_bytes() != after[n].read_bytes()]
        assert len(both) >= TREE_FILES, f"only {len(both)} small files"
        changed = set(random.Random(1).sample(differ, TREE_CHANGED))
        names = sorted(changed) + [n for n in both if n not in changed][:TREE_FILES - TREE_CHANGED]
        for name in ("old", "new"):
            shutil.rmtree(folder / name, ignore_errors=True)
            for n in names:
                target = folder / name / n
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile((after if name == "new" and n in changed else before)[n], target)
            payload(skerry, "tree", folder / name, folder / f"{name}.tree")
    return Pair("d", "20,000 small files, 1 % changed", folder / "old.tree", folder / "new.tree", folder / "old", folder / "new")


def payload(skerry, kind, path, target):
    """The stream of bytes that an artifact of this type is."""
    run(skerry, "artifact", "pack", "--type", kind, path, f"{target}.part")
    pathlib.Path(f"{target}.part").rename(target)


MAKERS = {"a": pair_a, "b": pair_b, "c": pair_c, "d": pair_d, "k": pair_k}


def make(letter, folder, skerry):
    where = folder / letter
    where.mkdir(parents=True, exist_ok=True)
    return MAKERS[letter](where, skerry)
