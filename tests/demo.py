#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo: a server, a relay and twelve nodes in three sites on this machine, driven from a Git repository.

Every step is observed, not assumed: by what the server says, by what the nodes' files hold, and by what the apps answer.
With --once it ends after the steps, with 0 only when all were seen.
"""
import argparse
import os
import pathlib
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

from lab import Lab, LabError, WaitTimeout  # noqa: E402

SITES = ["kiel", "rostock", "bremen"]
NODES = [f"{site}-{number}" for site in SITES for number in range(1, 5)]
BEHIND_RELAY = "bremen"
CUT_OFF = "rostock-3"
EDITED = "kiel-2"


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

    def ports(self):
        """Port of the web app by node, as the repository declares it."""
        found = {}
        for file in self.repository.tree.rglob("*.yaml"):
            for document in file.read_text().split("\n---"):
                name = re.search(r"^\s*(?:metadata:\s*\{\s*)?name:\s*([a-z]+-\d)\b", document, re.M) or \
                    re.search(r"name:\s*([a-z]+-\d)\b", document)
                port = re.search(r'webPort:\s*"?(\d+)', document)
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
        lab.start_server("--heartbeat", "20s")
        lab.start_relay("relay")
        token = lab.token("--kind", "node")
        for name in NODES:
            behind = name.startswith(BEHIND_RELAY)
            lab.add_agent(name, relay="relay" if behind else None, token=token)
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

    def run(self):
        self.step("Start", self.start)
        self.step("Push the example fleet", self.first_commit)
        self.step("Push a change", self.change)
        self.step("Push a version whose health check fails", self.bad_commit)
        self.step("Cut a node off and push twice", self.cut_off)
        self.step("Edit a managed file by hand", self.drift)


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
