#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of the first street, measured on this machine with real programs on loopback.

Commit to applied on 50 agents, agent size and memory, idle traffic, server memory per node, compile time and memory. Prints a
table and where the time goes; writes JSON.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import fleets  # noqa: E402
from lab import Lab, wait_until  # noqa: E402

REACH = {"commit_to_applied_p99_s": 1.0, "agent_binary_mb": 3.0, "agent_rss_mb": 10.0, "idle_kb_per_day": 64.0,
         "server_kb_per_node": 40.0, "compile_s": 1.0, "compile_mb": 300.0}
AGENTS = 50
COMMITS = 12
IDLE_NODES = 400
HEARTBEAT_S = 240
TCP_IP_HEADERS = 52  # IPv4 and TCP with timestamps, a packet


def seconds(text):
    """A time of the API as Unix seconds."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p))]


def say(text):
    print(f"  {text}", flush=True)


def one_wave(repository, text):
    fleets.write(repository, text=text, waves=[], apps=())


def commit_to_applied(build, figures, breakdown):
    with Lab(build, log_level="warning") as lab:
        lab.init_server()
        lab.start_server()
        repository = lab.repository()
        token = lab.token("--kind", "node", "--labels", "fleet=edge")
        for number in range(AGENTS):
            lab.add_agent(f"n{number}", token=token)
        lab.wait_connected()
        one_wave(repository, "t0")
        commit = repository.commit("Version 0")
        lab.add_source(repository)
        lab.notify()
        lab.wait_rollout(commit)
        samples, parts = [], {"notify to fetched": [], "fetched to rollout": [], "rollout to first node": [],
                              "first node to last": []}
        for version in range(1, COMMITS + 1):
            one_wave(repository, f"t{version}")
            commit = repository.commit(f"Version {version}")
            begin = time.time()
            lab.cli("notify", "fleet")
            rollout = lab.rollout(lab.wait_rollout(commit)["metadata"]["name"])
            healthy = sorted(seconds(m["since"]) for m in rollout["status"]["members"])
            assert len(healthy) == AGENTS and all(m["state"] == "Healthy" for m in rollout["status"]["members"])
            samples += [at - begin for at in healthy]
            fetched = seconds(lab.source()["status"]["fetchedAt"])
            created = seconds(rollout["metadata"]["createdAt"])
            parts["notify to fetched"].append(fetched - begin)
            parts["fetched to rollout"].append(created - fetched)
            parts["rollout to first node"].append(healthy[0] - created)
            parts["first node to last"].append(healthy[-1] - healthy[0])
        figures["commit_to_applied_p99_s"] = percentile(samples, 0.99)
        figures["commit_to_applied_p50_s"] = percentile(samples, 0.50)
        breakdown["commit to applied, median of each part (ms)"] = {k: statistics.median(v) * 1000 for k, v in parts.items()}


def agent_size(build, figures, breakdown):
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "agent"
        subprocess.run(["strip", "-o", copy, build / "src/agent/skerry-agent"], check=True)
        figures["agent_binary_mb"] = copy.stat().st_size / 1e6
    with Lab(build, log_level="warning") as lab:
        lab.init_server()
        lab.start_server("--heartbeat", "5s")
        repository = lab.repository()
        agent = lab.add_agent("n", {"fleet": "edge"}, options=["--heartbeat", "5s"])
        lab.wait_connected()
        fleets.write(repository, waves=[], apps=("one", "two", "three"))
        for app in ("one", "two", "three"):
            repository.replace(f"edge/{app}.yaml", "interval: 200ms", "interval: 10s")
        commit = repository.commit("Three apps")
        lab.add_source(repository)
        lab.notify()
        lab.wait_rollout(commit)
        time.sleep(12)
        figures["agent_rss_mb"] = agent.status_kb("VmRSS") / 1024
        sizes = {"private": 0, "files": {}}
        name = ""
        for line in open(f"/proc/{agent.pid()}/smaps", encoding="utf-8"):
            words = line.split()
            if "-" in words[0] and len(words) >= 5 and not words[0].endswith(":"):
                name = words[5] if len(words) > 5 else "anonymous"
            elif words[0] == "Rss:":
                sizes["files"][name] = sizes["files"].get(name, 0) + int(words[1])
        top = sorted(sizes["files"].items(), key=lambda item: -item[1])[:10]
        breakdown["agent resident memory (KiB)"] = {pathlib.Path(k).name: v for k, v in top}

        # Idle traffic: what passes the link in a time of heartbeats, then scaled to the default heartbeat.
        beats = 8
        before = agent.link.bytes_up, agent.link.bytes_down
        time.sleep(5 * beats)
        up, down = agent.link.bytes_up - before[0], agent.link.bytes_down - before[1]
        per_beat = (up + down) / beats + 2 * TCP_IP_HEADERS
        figures["idle_kb_per_day"] = per_beat * (86400 / HEARTBEAT_S) / 1024
        breakdown["idle traffic a heartbeat (bytes)"] = {"up": up / beats, "down": down / beats, "TCP/IP headers": 2 * TCP_IP_HEADERS}


def server_memory(build, figures, breakdown):
    with Lab(build, log_level="warning") as lab:
        lab.init_server()
        lab.start_server()
        token = lab.token("--kind", "node", "--labels", "fleet=edge")
        warm = 20
        for number in range(warm):
            lab.add_agent(f"w{number}", token=token)
        lab.wait_connected()
        time.sleep(2)
        before = lab.server.status_kb("VmRSS")
        for number in range(IDLE_NODES):
            lab.add_agent(f"n{number}", token=token)
            if number % 20 == 19:
                lab.wait_connected(timeout=300)
        lab.wait_connected(timeout=300)
        time.sleep(3)
        figures["server_kb_per_node"] = (lab.server.status_kb("VmRSS") - before) / IDLE_NODES
        breakdown["server (KiB)"] = {"resident before": before, "resident with nodes": lab.server.status_kb("VmRSS"), "nodes": IDLE_NODES}


def compile_speed(build, figures, breakdown):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, ROOT / "bench/generate_fleet.py", "--nodes", "10000", "--apps", "500", "--fleets", "20",
                        "--out", folder], check=True, stdout=subprocess.DEVNULL)
        runs = []
        for _ in range(5):
            begin = time.monotonic()
            process = subprocess.Popen([build / "src/cli/skerry", "validate", folder], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            runs.append((time.monotonic() - begin, usage.ru_maxrss / 1024, usage.ru_utime, usage.ru_stime))
        figures["compile_s"] = statistics.median(r[0] for r in runs)
        figures["compile_mb"] = max(r[1] for r in runs)
        breakdown["compile (s)"] = {"user": statistics.median(r[2] for r in runs), "system": statistics.median(r[3] for r in runs)}
        perf = shutil.which("perf")
        if perf:
            data = pathlib.Path(folder) / "perf.data"
            recorded = subprocess.run([perf, "record", "-q", "-e", "cpu-clock", "-g", "-o", data, build / "src/cli/skerry", "validate", folder],
                                      capture_output=True)
            if recorded.returncode == 0:
                report = subprocess.run([perf, "report", "-i", data, "--no-children", "-g", "none", "--stdio", "--percent-limit", "3"],
                                        capture_output=True, text=True)
                lines = [line.split() for line in report.stdout.splitlines() if line.strip() and not line.startswith("#")]
                breakdown["compile, share of time (%)"] = {w[-1]: float(w[0].rstrip("%")) for w in lines[:8]}


PARTS = {"commit": commit_to_applied, "agent": agent_size, "server": server_memory, "compile": compile_speed}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part")
    options = parser.parse_args()
    figures, breakdown = {}, {}
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    for part in options.part or PARTS:
        say(f"measuring {part} ...")
        PARTS[part](options.build, figures, breakdown)
    ratios = {f"{key}_vs_reach": figures[key] / reach for key, reach in REACH.items() if key in figures}
    print(f"\n{'figure':28}{'measured':>12}{'reach':>10}{'ratio':>8}")
    for key, value in figures.items():
        reach = REACH.get(key)
        print(f"{key:28}{value:12.3f}{reach if reach else '':>10}{f'{value / reach:8.2f}' if reach else ''}")
    for title, values in breakdown.items():
        print(f"\n{title}")
        for key, value in values.items():
            print(f"  {key:40}{value:12.1f}")
    machine = {"cpu": platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"name": "skeleton", "machine": machine, "figures": figures, "peers": {}, "ratios": ratios,
                                       "breakdown": breakdown}, indent=2) + "\n")
    print(f"\nwritten: {options.out}")


if __name__ == "__main__":
    main()
