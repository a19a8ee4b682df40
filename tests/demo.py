#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo: a server, a relay and twelve nodes in three sites on this machine, driven from a Git repository.

Every step is observed, not assumed: by what the server says, by what the nodes' files hold, and by what the apps answer.
With --once it ends after the steps, with 0 only when all were seen.
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from lab import Lab, LabError, WaitTimeout, wait_until  # noqa: E402

SITES = ["kiel", "rostock", "bremen"]
NODES = [f"{site}-{number}" for site in SITES for number in range(1, 5)]
BEHIND_RELAY = "bremen"
CUT_OFF = "rostock-3"
EDITED = "kiel-2"
SLOW = {"rostock-2": "1M", "bremen-4": "1M"}  # their downloads take long enough to be disturbed
CUT_WHILE_FETCHING, KILLED_WHILE_FETCHING = SLOW
PLATFORMS = ("linux/amd64", "linux/arm64")


KIOSK_APP = """# A kiosk: pages and the program that shows them, one artifact from the signed repository.
apiVersion: skerry/v1alpha1
kind: App
metadata:
  name: kiosk
spec:
  driver: process
  artifacts:
    - {name: kiosk, version: "VERSION"}
  command: [bin/busybox, httpd, -f, -p, "127.0.0.1:${vars.kioskPort}"]
  workingDirectory: pages
  stopTimeout: 2s
  readyTimeout: 30s
  healthChecks:
    - name: page
      http:
        port: "${vars.kioskPort}"
        path: /index.html
      interval: 1s
"""


class Store:
    """The artifact repository, and the folders that its artifacts are made of."""

    def __init__(self, lab):
        self.lab = lab
        self.folder = lab.folder / "repository"
        self.passphrase = lab.folder / "passphrase"
        self.passphrase.write_text("a passphrase that a person would type\n")
        lab.cli("repo", "init", "--passphrase-file", self.passphrase, self.folder)
        lab.cli("repo", "publish", "--repository", self.folder)
        self.video = random.Random(1).randbytes(6 << 20)

    def build(self, version, platform):
        """What a build would leave: a program, 500 pages with prices, a film; 1.1.0 has other prices and one film more."""
        folder = self.lab.folder / "kiosk" / version / platform.replace("/", "-")
        (folder / "bin").mkdir(parents=True)
        (folder / "pages").mkdir()
        shutil.copy("/bin/busybox", folder / "bin/busybox")
        (folder / "pages/index.html").write_text(f"<h1>Kiosk</h1> version {version} for {platform}\n")
        (folder / "pages/film.mp4").write_bytes(self.video)
        words = random.Random(2)
        for number in range(500):
            text = " ".join(words.choice(["bread", "milk", "rope", "oil", "lamp", "salt", "nets", "tea"]) for _ in range(400))
            price = number % 90 + (1 if version != "1.0.0" and number % 20 == 0 else 0)
            (folder / f"pages/{number}.html").write_text(f"<h1>{number}</h1><b>{price}.90</b><p>{text}</p>\n")
        if version != "1.0.0":
            (folder / "pages/autumn.mp4").write_bytes(random.Random(3).randbytes(3 << 20))
        return folder

    def push(self, version):
        """Publishes both platforms; the size of one payload."""
        folders = [(p, self.build(version, p)) for p in PLATFORMS]
        options = [word for p, folder in folders for word in ("--platform", f"{p}={folder}")]
        self.lab.cli("artifact", "push", f"kiosk:{version}", "--repository", self.folder, "--type", "tree",
                     "--passphrase-file", self.passphrase, *options)
        shown = self.lab.cli_json("artifact", "show", f"kiosk:{version}", "--repository", self.folder)
        found = {p["platform"]: p for p in shown["items"]}
        assert len(found) == len(PLATFORMS), f"the repository has {sorted(found)}"
        return max(p["length"] for p in found.values())

    def delta(self, old, new):
        self.lab.cli("artifact", "delta", "kiosk", old, new, "--repository", self.folder)

    def swap_published(self, version):
        for target in (self.folder / "public/targets/artifacts/kiosk" / version).iterdir():
            forged = bytearray(target.read_bytes())
            at = forged.index(b"<h1>Kiosk</h1>")
            forged[at:at + 14] = b"<h1>Pirate</h1>"[:14]
            target.chmod(0o644)
            target.write_bytes(forged)
        shutil.rmtree(self.folder / "public/chunks")  # so that nothing but the forgery is to be had


class Demo:
    def __init__(self, lab, once):
        self.lab = lab
        self.repository = lab.repository()
        self.colour = sys.stdout.isatty()
        self.draw = self.colour and not once
        self.number = 0

    # ---- talking

    def bold(self, text):
        return f"\033[1m{text}\033[0m" if self.colour else text

    def step(self, text, act):
        """Runs one step and prints a line with its time."""
        self.number += 1
        if self.draw:
            print(f"\n{self.bold(f'{self.number}. {text}')}", flush=True)
        begin = time.monotonic()
        seen = act()
        took = time.monotonic() - begin
        tick = "\033[32m✓\033[0m" if self.colour else "ok"
        print(f"{tick} {self.number}. {text}: {seen} ({took:.1f} s)", flush=True)

    # ---- looking

    def ports(self, variable="webPort"):
        """Port of an app by node, as the repository declares it."""
        found = {}
        for file in self.repository.tree.rglob("*.yaml"):
            for document in file.read_text().split("\n---"):
                name = re.search(r"^\s*(?:metadata:\s*\{\s*)?name:\s*([a-z]+-\d)\b", document, re.M) or \
                    re.search(r"name:\s*([a-z]+-\d)\b", document)
                port = re.search(variable + r':\s*"?(\d+)', document)
                if name and port:
                    found[name.group(1)] = int(port.group(1))
        return found

    def page(self, node):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports()[node]}/", timeout=2) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def config(self, node):
        return self.lab.agents[node].file("/etc/shop/config.ini") or ""

    def runs(self, node, greeting):
        return greeting in self.config(node) and greeting in self.page(node)

    def wait_all(self, greeting, but=()):
        names = [n for n in NODES if n not in but]
        self.lab.wait(f"{len(names)} nodes to serve {greeting!r}", lambda: all(self.runs(n, greeting) for n in names))
        return f"{len(names)} nodes serve {greeting!r}"

    def watch(self):
        """Draws the waves while they happen."""
        if self.draw:
            subprocess.run([str(self.lab.build / "src/cli/skerry"), "rollout", "status", "shops", "--watch"], check=False,
                           env={k: v for k, v in dict(os.environ, **self.lab.environment).items() if k != "NO_COLOR"})

    # ---- the steps

    def set_greeting(self, text):
        changed = 0
        for file in self.repository.tree.rglob("*.yaml"):
            old = file.read_text()
            new = re.sub(r'^(\s*greeting:\s*).*$', rf'\1"{text}"', old, flags=re.M)
            if new != old:
                file.write_text(new)
                changed += 1
        if changed != 1:
            raise LabError(f"the example's greeting stands in {changed} files, not in one")

    def push(self, message):
        commit = self.repository.commit(message)
        return commit

    def start(self):
        lab = self.lab
        lab.init_server()
        self.store = Store(lab)
        lab.start_server("--heartbeat", "20s", "--repository", self.store.folder)
        lab.start_relay("relay")
        token = lab.token("--kind", "node")
        for name in NODES:
            behind = name.startswith(BEHIND_RELAY)
            options = ("--bandwidth", SLOW[name]) if name in SLOW else ()
            lab.add_agent(name, relay="relay" if behind else None, token=token, options=options)
        lab.wait_connected()
        lab.add_source(self.repository)
        skerry = lab.build / "src/cli/skerry"
        self.repository.notify_on_push(f"env SKERRY_CONFIG={lab.environment['SKERRY_CONFIG']} {skerry} notify fleet")
        through = sum(1 for n in lab.nodes().values() if n["status"]["relay"])
        return f"server, relay and {len(NODES)} nodes, {through} of them behind the relay"

    def first_commit(self):
        self.repository.copy_from(ROOT / "examples/fleet")
        move_ports(self.repository.tree)
        commit = self.push("The example fleet")
        self.watch_when_started(commit)
        self.lab.wait_rollout(commit, timeout=300)
        healthy = [n for n in self.lab.nodes().values() if n["status"]["observed"]["state"] == "Healthy"]
        assert len(healthy) == len(NODES), f"only {len(healthy)} nodes are healthy"
        return f"{len(healthy)} nodes healthy; {self.wait_all(self.greeting())}"

    def greeting(self):
        for file in self.repository.tree.rglob("*.yaml"):
            found = re.search(r'^\s*greeting:\s*"?([^"\n]*)"?\s*$', file.read_text(), re.M)
            if found:
                return found.group(1)
        raise LabError("the example has no greeting")

    def watch_when_started(self, commit):
        self.lab.wait("the rollout to begin", lambda: any(r["spec"]["commit"] == commit for r in self.lab.rollouts("shops")))
        self.watch()

    def change(self):
        self.set_greeting("Hello from version two")
        commit = self.push("Greet in English")
        self.watch_when_started(commit)
        rollout = self.lab.rollout(self.lab.wait_rollout(commit, timeout=300)["metadata"]["name"])
        waves = rollout["status"]["waves"]
        started = [w["startedAt"] for w in waves]
        assert len(waves) >= 3 and started == sorted(started) and len(set(started)) == len(started), "waves one after another"
        told = ", ".join(f"{w['name']} {w['healthy']}/{w['total']}" for w in waves)
        return f"waves {told}; {self.wait_all('Hello from version two')}"

    def bad_commit(self):
        good = self.lab.fleet("shops")["status"]["stableRevision"]
        file = next(f for f in self.repository.tree.rglob("*.yaml") if re.search(r"^\s*name: till\b|\{name: till\}", f.read_text(), re.M)
                    and "kind: App" in f.read_text())
        before = file.read_text()
        broken = re.sub(r"readyTimeout:.*", "readyTimeout: 4s", before)
        broken = re.sub(r"path: /\S*", "path: /no-such-page", broken, count=1) if "path: /" in broken else \
            re.sub(r"tcp:.*", 'tcp: {port: "1"}', broken, count=1)
        assert broken != before
        file.write_text(broken)
        commit = self.push("Look for health in the wrong place")
        self.watch_when_started(commit)
        rollout = self.lab.rollout(self.lab.wait_rollout(commit, "RolledBack", timeout=300)["metadata"]["name"])
        touched = [m for m in rollout["status"]["members"] if m["state"] != "Pending"]
        assert len(touched) == 1, f"{len(touched)} nodes were offered the bad version"
        self.lab.wait("every node to run the good revision",
                      lambda: all(n["status"]["observed"]["revision"] == good and n["status"]["observed"]["state"] == "Healthy"
                                  for n in self.lab.nodes().values()))
        file.write_text(before)
        return f"canary {touched[0]['node']} failed ({touched[0]['reason']}), 11 nodes never saw it, all 12 run the version before"

    def cut_off(self):
        agent = self.lab.agents[CUT_OFF]
        agent.link.cut()
        self.lab.wait(f"{CUT_OFF} to be away", lambda: not self.lab.node(CUT_OFF)["status"]["connected"])
        self.set_greeting("Version three, while one is away")
        third = self.push("Version three")
        self.watch_when_started(third)
        missed = self.lab.wait_rollout(third, timeout=300)
        assert self.lab.rollout(missed["metadata"]["name"])["status"]["deferred"] == 1
        self.set_greeting("Version four")
        fourth = self.push("Version four")
        newest = self.lab.wait_rollout(fourth, timeout=300)
        assert self.runs(CUT_OFF, "Hello from version two"), "alone, it went on with what it had"
        agent.link.restore()
        self.lab.wait(f"{CUT_OFF} to run the newest",
                      lambda: self.lab.node(CUT_OFF)["status"]["observed"]["revision"] == newest["spec"]["revision"])
        self.wait_all("Version four")
        assert missed["spec"]["revision"] not in agent.log.read_text(), "it skipped what it missed"
        return f"{CUT_OFF} was away for two commits, was deferred, came back and went straight to the newest"

    def drift(self):
        managed = self.lab.agents[EDITED].sysroot / "etc/shop/config.ini"
        right = managed.read_text()
        before = self.lab.node(EDITED)["status"]["driftCorrected"]
        managed.write_text("edited at three in the morning\n")
        begin = time.monotonic()
        self.lab.wait("the edit to be put back", lambda: managed.read_text() == right)
        took = time.monotonic() - begin
        self.lab.wait("the drift to be reported", lambda: self.lab.node(EDITED)["status"]["driftCorrected"] > before)
        return f"an edit of /etc/shop/config.ini on {EDITED} was put back after {took:.2f} s and reported"

    # ---- artifacts

    def kiosk(self, node, page):
        port = self.ports(variable="kioskPort")[node]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=2) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def wait_kiosks(self, version):
        self.lab.wait(f"12 kiosks of version {version}",
                      lambda: all(f"version {version}" in self.kiosk(n, "index.html") for n in NODES), timeout=180)

    def set_kiosk(self, version):
        tree = self.repository.tree
        (tree / "apps/kiosk.yaml").write_text(KIOSK_APP.replace("VERSION", version))
        fleet = tree / "shops.yaml"
        fleet.write_text(fleet.read_text().replace("apps: [web, till]", "apps: [web, till, kiosk]"))
        for file in (tree / "nodes").glob("*.yaml"):
            file.write_text(re.sub(r'tillPort: "(\d+)"\}', lambda m: f'tillPort: "{m[1]}", kioskPort: "{int(m[1]) + 100}"}}',
                                   file.read_text()))

    def fetched(self, version):
        """By node: how the artifact came, and how many bytes were predicted and taken."""
        found = {}
        for name, node in self.lab.nodes().items():
            for a in node["status"].get("artifacts") or []:
                if a["name"] == "kiosk" and a["version"] == version:
                    found[name] = a
        return found

    def publish(self):
        size = self.store.push("1.0.0")
        self.set_kiosk("1.0.0")
        commit = self.push("A kiosk in every shop")
        self.watch_when_started(commit)
        self.lab.wait_rollout(commit, timeout=300)
        self.wait_kiosks("1.0.0")
        return f"signed for {' and '.join(PLATFORMS)}, {size / 1e6:.1f} MB each; 12 nodes took theirs and serve it"

    def update(self):
        size = self.store.push("1.1.0")
        self.store.delta("1.0.0", "1.1.0")
        self.set_kiosk("1.1.0")
        plan = self.lab.wait("the plan to know the new version", self.planned_delta)
        commit = self.push("The kiosk's autumn catalogue")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            disturbances = self.disturb(pool)
            self.watch_when_started(commit)
            self.lab.wait_rollout(commit, timeout=300)
            for disturbance in disturbances:
                disturbance.result()
        self.wait_kiosks("1.1.0")
        self.lab.wait("every node to have told what it fetched", lambda: len(self.fetched("1.1.0")) == len(NODES))
        fetched = self.fetched("1.1.0")
        ways = {a["way"] for a in fetched.values()}
        assert ways == {"delta"}, f"they came by {ways}"
        predicted = {a["bytesPredicted"] for a in fetched.values()}
        took = sorted(a["bytesFetched"] for a in fetched.values())
        assert took[-1] < 2 * max(predicted), f"{took[-1]} bytes fetched, {max(predicted)} predicted"
        print(f"     skerry plan: {plan}", flush=True)
        return (f"{size / 1e6:.1f} MB by delta, {max(predicted) / 1e6:.2f} MB predicted, {took[0] / 1e6:.2f} to {took[-1] / 1e6:.2f} "
                f"MB fetched by each of 12, though {CUT_WHILE_FETCHING} was cut off and {KILLED_WHILE_FETCHING} was killed on the way")

    def planned_delta(self):
        """The line of the plan that says what the artifact will cost."""
        plan = self.lab.cli("plan", self.repository.tree, "--server", check=False).stdout
        return next((line.strip() for line in plan.splitlines() if "kiosk" in line and "delta" in line), None)

    def disturb(self, pool):
        """Cuts one node's link and kills another's agent while each is in the middle of its download."""
        def while_fetching(name, what):
            agent = self.lab.agents[name]
            folder = agent.state / "partial"
            wait_until(f"{name} to be fetching", lambda: any(p.stat().st_size > 0 for p in folder.glob("*.delta*")), timeout=240,
                       interval=0.02)
            what(agent)

        def cut(agent):
            agent.link.cut()
            time.sleep(3)
            agent.link.restore()

        def kill(agent):
            agent.kill()
            agent.start()

        return [pool.submit(while_fetching, CUT_WHILE_FETCHING, cut), pool.submit(while_fetching, KILLED_WHILE_FETCHING, kill)]

    def forge(self):
        """Somebody who can write to the repository's disk, but has no key, swaps what is published."""
        self.store.push("1.2.0")
        self.store.swap_published("1.2.0")
        self.set_kiosk("1.2.0")
        commit = self.push("The kiosk, after somebody was at the repository")
        self.lab.wait("the rollout to begin", lambda: any(r["spec"]["commit"] == commit for r in self.lab.rollouts("shops")))

        def refusals():
            return [n["status"]["observed"]["message"] for n in self.lab.nodes().values()
                    if "kiosk" in (n["status"]["observed"].get("message") or "")]

        self.lab.wait("a node to refuse it", refusals, timeout=120)
        message = refusals()[0]
        assert all("version 1.1.0" in self.kiosk(n, "index.html") for n in NODES), "everywhere the version before runs on"
        assert not any("1.2.0" in p.name for a in self.lab.agents.values() for p in (a.state / "trees").rglob("index.html"))
        rollout = next(r for r in self.lab.rollouts("shops") if r["spec"]["commit"] == commit)
        self.lab.cli("rollout", "abort", "shops", "--reason", "the repository was tampered with")
        return f"refused before anything ran: {message} ({rollout['metadata']['name'][:8]} aborted, 12 nodes serve 1.1.0)"

    def run(self):
        self.step("Start", self.start)
        self.step("Push the example fleet", self.first_commit)
        self.step("Push a change", self.change)
        self.step("Push a version whose health check fails", self.bad_commit)
        self.step("Cut a node off and push twice", self.cut_off)
        self.step("Edit a managed file by hand", self.drift)
        self.step("Publish an artifact for two platforms", self.publish)
        self.step("Update it by delta over bad links", self.update)
        self.step("Swap it for a forgery", self.forge)


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def move_ports(folder):
    """Moves the example's ports where something on this machine has them already."""
    files = sorted((folder / "nodes").glob("*.yaml"))
    port = re.compile(r'((?:web|till)Port: ")(\d+)(")')
    ports = [int(found[1]) for file in files for found in port.findall(file.read_text())]
    for offset in range(0, 30000, 500):
        if all(is_free(p + offset) for p in ports):
            break
    else:
        raise LabError("no free range of ports on 127.0.0.1 for the example's apps (ss -ltnp shows what listens)")
    for file in files:
        file.write_text(port.sub(lambda m: f"{m[1]}{int(m[2]) + offset}{m[3]}", file.read_text()))


def stay(lab, repository):
    """Says how to look around, and waits for Ctrl-C."""
    shell = lab.folder / "shell"
    path = ":".join(str(lab.build / "src" / p) for p in ("cli", "server", "relay", "agent"))
    shell.write_text(f"export SKERRY_CONFIG={lab.environment['SKERRY_CONFIG']} PATH={path}:$PATH\ncd {repository.tree}\n")
    print(f"""
The fleet stays until Ctrl-C. In another terminal:

  . {shell}
  skerry status                            one screen of it all
  skerry get nodes -o wide
  skerry describe node {CUT_OFF}
  skerry rollout list
  $EDITOR .                                the fleet repository: change something, then
  skerry plan . --server                   what would change
  git commit -am change && git push origin {repository.branch} && skerry rollout status shops --watch

Nodes' files are below {lab.folder}/nodes, logs below {lab.folder}/logs.""", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def main():
    parser = argparse.ArgumentParser(prog="./dev demo")
    parser.add_argument("--build", required=True)
    parser.add_argument("--once", action="store_true", help="end after the steps; exit 0 only if every one was observed")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    lab = Lab(options.build, podman=True)
    begin = time.monotonic()
    try:
        demo = Demo(lab, options.once)
        demo.run()
        print(f"all {demo.number} steps were observed ({time.monotonic() - begin:.0f} s)", flush=True)
        if not options.once:
            stay(lab, demo.repository)
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (LabError, WaitTimeout, AssertionError) as fault:
        kept = pathlib.Path("build/demo-logs")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(lab.folder / "logs", kept)
        print(f"\nthe demo stopped: {fault}\nlogs: {kept}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # nothing is to be left behind
        if not options.once:
            print("cleaning up ...", flush=True)
        lab.close()


if __name__ == "__main__":
    sys.exit(main())
