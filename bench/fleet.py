#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A fleet's links, for real: thousands of nodes with mutual TLS over loopback, through relays, to one server.

bench/load/ holds the links: each node enrols, keeps its own connection, takes its assignments, fetches the revision and reports
itself healthy under its own signature. What is measured is server and relays; the load takes part of the same cores.
"""
import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import fleets  # noqa: E402
from lab import Lab, wait_until  # noqa: E402

REACH = {"all_offered_s": 5.0, "all_reported_s": 20.0, "relay_kb_per_node": 30.0, "storm_s": 60.0}
PER_PROCESS = 5000
TICK = os.sysconf("SC_CLK_TCK")


def say(text):
    print(f"  {text}", flush=True)


def cpu_seconds(program):
    fields = pathlib.Path(f"/proc/{program.pid()}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Load:
    """One process that holds the links of many nodes."""

    def __init__(self, build, port, token, nodes, prefix):
        self.nodes, self.now, self.trouble = nodes, {}, ""
        self.process = subprocess.Popen([build / "bench/load/skerry-load", "--edge", f"127.0.0.1:{port}", "--token", token,
                                         "--nodes", str(nodes), "--prefix", prefix],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.history = []  # of (time, revision, offered, reported, up)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.now = json.loads(line)
            self.history.append(self.now)

    def get(self, key):
        return self.now.get(key, 0)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)


def total(loads, key):
    return sum(load.get(key) for load in loads)


def alive(loads):
    for load in loads:
        if load.process.poll() is not None:
            raise SystemExit(f"the load ended with {load.process.returncode}")


def wait_all(loads, key, wanted, timeout, what):
    said = [time.monotonic()]

    def probe():
        if time.monotonic() - said[0] > 15:
            said[0] = time.monotonic()
            say(f"{what}: {total(loads, key)} of {wanted}; {next((l.get('trouble') for l in loads if l.get('trouble')), '')}")
        return total(loads, key) >= wanted
    wait_until(what, probe, timeout=timeout, interval=0.05, alive=lambda: alive(loads))


def first_time(loads, revision, key):
    """When the last of the loads had this count for all of its nodes, Unix seconds."""
    return max(next(h["time"] for h in load.history if h["revision"] == revision and h[key] >= load.nodes)
               for load in loads) / 1000


def commit_and_wait(lab, repository, loads, text):
    fleets.write(repository, text=text, waves=[], apps=())
    repository.commit(text)
    before = {load.get("revision") for load in loads}
    begin = time.time()
    lab.cli("notify", "fleet")

    def probe():
        revisions = {load.get("revision") for load in loads}
        return len(revisions) == 1 and not revisions & before and all(load.get("reported") >= load.nodes for load in loads)
    wait_until("all nodes to report", probe, timeout=600, interval=0.05, alive=lambda: alive(loads))
    revision = loads[0].get("revision")
    return first_time(loads, revision, "offered") - begin, first_time(loads, revision, "reported") - begin


def measure(build, links, figures, breakdown):
    with Lab(build, log_level="warning") as lab:
        lab.init_server()
        lab.start_server()
        repository = lab.repository()
        fleets.write(repository, text="t0", waves=[], apps=())
        repository.commit("t0")
        lab.add_source(repository)
        lab.notify()
        relays = [lab.start_relay(f"relay{i}") for i in range(2)]
        time.sleep(2)
        empty = [r.status_kb("VmRSS") for r in relays]
        token = lab.token("--kind", "node", "--uses", str(links), "--labels", "fleet=edge")
        sizes = [PER_PROCESS] * (links // PER_PROCESS) + ([links % PER_PROCESS] if links % PER_PROCESS else [])
        say(f"{links} nodes enrol and connect ...")
        begin = time.monotonic()
        loads = [Load(build, relays[i % 2].port, token, n, f"load{i}-") for i, n in enumerate(sizes)]
        try:
            wait_all(loads, "up", links, 1800, "links")
            figures["links"] = links
            figures["enrol_and_connect_s"] = time.monotonic() - begin
            wait_all(loads, "reported", links, 600, "first revision")
            commits = []
            for version in range(1, 4):
                time.sleep(3)
                before = [cpu_seconds(p) for p in (lab.server, *relays)]
                commits.append(commit_and_wait(lab, repository, loads, f"t{version}"))
                spent = [cpu_seconds(p) - b for p, b in zip((lab.server, *relays), before)]
                say(f"commit {version}: offered {commits[-1][0]:.2f} s, reported {commits[-1][1]:.2f} s; processor seconds: server "
                    f"{spent[0]:.2f}, relays {sum(spent[1:]):.2f}")
            figures["all_offered_s"] = min(c[0] for c in commits)
            figures["all_reported_s"] = min(c[1] for c in commits)
            breakdown["processor seconds of the last commit"] = {"server": spent[0], "relays": sum(spent[1:])}
            time.sleep(10)
            rss = [r.status_kb("VmRSS") for r in relays]
            figures["relay_kb_per_node"] = sum(a - b for a, b in zip(rss, empty)) / links
            figures["server_mb"] = lab.server.status_kb("VmRSS") / 1024
            say(f"a relay is killed and comes back: {links // 2} nodes at once")
            lost = sum(load.nodes for i, load in enumerate(loads) if i % 2 == 0)
            relays[0].kill()
            wait_until("the links to break", lambda: total(loads, "up") <= links - lost, timeout=120, alive=lambda: alive(loads))
            begin = time.monotonic()
            lab.start_relay("relay0")
            wait_all(loads, "up", links, 600, "links after the storm")
            figures["storm_s"] = time.monotonic() - begin
            figures["refused"] = total(loads, "refused")
        finally:
            for load in loads:
                load.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--links", type=int, default=20000)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    build = options.build.resolve()
    subprocess.run(["ninja", "-C", build, "bench/load/skerry-load"], check=True, stdout=subprocess.DEVNULL)
    figures, breakdown = {}, {}
    measure(build, options.links, figures, breakdown)
    print(f"\n{'figure':28}{'measured':>12}{'reach':>10}")
    for key, value in figures.items():
        print(f"{key:28}{value:12.2f}{REACH.get(key, ''):>10}")
    machine = {"cpu": platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}
    ratios = {f"{key}_vs_reach": figures[key] / reach for key, reach in REACH.items() if key in figures}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"name": "fleet", "machine": machine, "figures": figures, "peers": {}, "ratios": ratios,
                                       "breakdown": breakdown}, indent=2) + "\n")
    print(f"\nwritten: {options.out}")


if __name__ == "__main__":
    main()
