#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes, time and memory of updates, beside the best peers, on real data made on the spot (bench/pairs.py).

Four pairs: an operating system image, a container image, a program, a tree of small files. Each method gets the same two
files (OSTree the same two folders). Prints tables; writes JSON.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import pairs  # noqa: E402
import relay  # noqa: E402

REACH = {"bytes_a_vs_best": 0.5, "bytes_b_vs_best": 0.7, "bytes_c_vs_best": 0.7, "bytes_d_vs_best": 0.7, "chunks_a_vs_casync": 0.7,
         "apply_peak_mb": 32.0, "apply_speed_vs_copy": 0.5, "make_s": 300.0, "make_peak_mb": 4096.0, "relay_vs_nginx": 0.7}
AT_LEAST = {"apply_speed_vs_copy", "relay_vs_nginx"}
BSDIFF_TIMES = 17          # its memory, in lengths of the old file
MEMORY_MAX = 14 << 30      # no peer is started that is known to take more
PEER_TIMEOUT = 1800


def say(text):
    print(f"  {text}", flush=True)


class Failed(Exception):
    pass


def measure(command, **options):
    """Seconds and peak memory (MiB) of one command. Started by time(1): of a child of ours the kernel would count our own
    memory, which it has between fork and exec."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as log, tempfile.NamedTemporaryFile() as peak:
        result = subprocess.run(["/usr/bin/time", "-q", "-o", peak.name, "-f", "%M", *map(str, command)],
                                stdout=options.pop("stdout", log), stderr=log, timeout=PEER_TIMEOUT, check=False, **options)
        seconds = time.monotonic() - begin
        if result.returncode != 0:
            log.seek(0)
            raise Failed(f"{command[0]} ended with {result.returncode}: {log.read()[-500:].decode(errors='replace')}")
        return seconds, int(peak.read().split()[-1]) / 1024


def same(a, b):
    return subprocess.run(["cmp", "-s", a, b], check=False).returncode == 0


def both(make, apply, size):
    return {"bytes": size, "make_s": make[0], "make_mb": make[1], "apply_s": apply[0], "apply_mb": apply[1]}


def made_only(make, size):
    return {"bytes": size, "make_s": make[0], "make_mb": make[1]}


# ---- peers: (pair, folder to work in) -> figures

def whole_zstd(pair, work):
    out = work / "whole.zst"
    make = measure(["zstd", "-q", "-f", "-19", "--long=27", "-T2", pair.new, "-o", out])
    return both(make, measure(["zstd", "-q", "-d", "-f", "--long=27", out, "-o", work / "back"]), out.stat().st_size)


def zstd_patch(pair, work):
    out = work / "patch.zst"
    make = measure(["zstd", "-q", "-f", "-19", "--long=31", "-T1", f"--patch-from={pair.old}", pair.new, "-o", out])
    apply = measure(["zstd", "-q", "-d", "-f", "--long=31", f"--patch-from={pair.old}", out, "-o", work / "back"])
    return both(make, apply, out.stat().st_size)


def xdelta(pair, work):
    out = work / "xdelta"
    window = min(max(pair.old.stat().st_size, 1 << 20), (1 << 31) - 1)
    make = measure(["xdelta3", "-f", "-e", "-9", "-S", "lzma", "-B", window, "-s", pair.old, pair.new, out])
    return both(make, measure(["xdelta3", "-f", "-d", "-B", window, "-s", pair.old, out, work / "back"]), out.stat().st_size)


def bsdiff(pair, work):
    if pair.old.stat().st_size * BSDIFF_TIMES > MEMORY_MAX:
        raise Failed(f"would take {pair.old.stat().st_size * BSDIFF_TIMES >> 30} GiB of memory")
    out = work / "bsdiff"
    make = measure(["bsdiff", pair.old, pair.new, out])
    return both(make, measure(["bspatch", pair.old, work / "back", out]), out.stat().st_size)


def hdiffz(pair, work):
    out = work / "hdiff"
    python = work.parent / "venv/bin/python"
    script = pathlib.Path(__file__).with_name("hdiff.py")
    make = measure([python, script, "make", pair.old, pair.new, out])
    return both(make, measure([python, script, "apply", pair.old, out, work / "back"]), out.stat().st_size)


def casync(pair, work):
    """What a node that holds the old version fetches: the new index and the chunks it does not have."""
    for name, file in (("old", pair.old), ("new", pair.new)):
        (work / f"{name}.castr").mkdir()
        make = measure(["casync", "make", f"--store={work / name}.castr", work / f"{name}.caibx", file])
    held = {p.name for p in (work / "old.castr").rglob("*.cacnk")}
    size = sum(p.stat().st_size for p in (work / "new.castr").rglob("*.cacnk") if p.name not in held)
    return made_only(make, size + (work / "new.caibx").stat().st_size)


def zchunk(pair, work):
    for name, file in (("old", pair.old), ("new", pair.new)):
        make = measure(["zck", "-o", work / f"{name}.zck", file])
    told = subprocess.run(["zck_delta_size", work / "old.zck", work / "new.zck"], capture_output=True, text=True, check=True).stdout
    words = told.replace(",", "").split()
    size = next(int(words[i + 1]) for i, w in enumerate(words) if w in ("download", "size:") and words[i + 1].isdigit())
    return made_only(make, size)


def ostree(pair, work):
    repository = work / "repo"
    subprocess.run(["ostree", "init", f"--repo={repository}", "--mode=archive"], check=True)
    commits = []
    for name, folder in (("old", pair.old_folder), ("new", pair.new_folder)):
        tree = work / f"{name}.tree"
        subprocess.run(["cp", "-al", folder, tree], check=True)
        subprocess.run(f"find {tree} \\( -type c -o -type b -o -type p -o -type s \\) -delete", shell=True, check=True)
        told = subprocess.run(["ostree", "commit", f"--repo={repository}", "-b", "main", "--no-xattrs", f"--tree=dir={tree}"],
                              capture_output=True, text=True, check=True)
        commits.append(told.stdout.strip())
    out = work / "ostree.delta"
    make = measure(["ostree", f"--repo={repository}", "static-delta", "generate", f"--from={commits[0]}", f"--to={commits[1]}", "--inline",
                    "--min-fallback-size=0", f"--filename={out}"])
    return made_only(make, out.stat().st_size)


PEERS = {"hdiffz": hdiffz, "OSTree static delta": ostree, "bsdiff": bsdiff, "zstd --patch-from -19": zstd_patch, "xdelta3 -9": xdelta,
         "casync": casync, "zchunk": zchunk, "zstd -19 whole": whole_zstd}
BEST = "hdiffz"  # the one that is asked about pair K, too


def run_peer(name, pair, folder):
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        figures = PEERS[name](pair, work)
        back = work / "back"
        if back.exists() and not same(back, pair.new):
            raise Failed("what it rebuilt is not the new file")
        return figures
    except (Failed, subprocess.CalledProcessError, subprocess.TimeoutExpired, FileNotFoundError, StopIteration) as fault:
        say(f"{name}: not measured: {str(fault).strip()[-300:]}")
        return None
    finally:
        shutil.rmtree(work, ignore_errors=True)


# ---- ours

def ours(pair, folder, skerry):
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    delta, back = work / "delta", work / "back"
    with open(work / "report.json", "wb") as report:
        make = measure([skerry, "delta", "make", pair.old, pair.new, delta, "-o", "json"], stdout=report)
    kinds = json.loads((work / "report.json").read_text())["kinds"]
    apply = measure([skerry, "delta", "apply", pair.old, delta, back])
    if not same(back, pair.new):
        raise SystemExit(f"pair {pair.letter}: what was rebuilt is not the new file")
    figures = both(make, apply, delta.stat().st_size)
    back.unlink()
    figures["chunk_bytes"] = json.loads(subprocess.run([skerry, "delta", "chunks", pair.old, pair.new, "-o", "json"], check=True,
                                                       capture_output=True).stdout)["wire"]
    shutil.rmtree(work)
    return figures, kinds


def apply_speed(pair, folder, skerry):
    """Rebuilding the new file against copying it, both to the disk (fsync), the best of three in turn."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    delta, back = work / "delta", work / "back"
    measure([skerry, "delta", "make", pair.old, pair.new, delta])
    copies, applies, peaks = [], [], []
    for _ in range(3):
        subprocess.run(["cat", pair.old, pair.new], stdout=subprocess.DEVNULL, check=True)  # both in the page cache
        copies.append(measure(["sh", "-c", 'cat "$0" > "$1" && sync "$1"', pair.new, back])[0])
        back.unlink()
        seconds, peak = measure([skerry, "delta", "apply", pair.old, delta, back])
        applies.append(seconds)
        peaks.append(peak)
        back.unlink()
    idle = measure([skerry, "version"])[1]
    shutil.rmtree(work)
    return min(copies), min(applies), max(peaks) - idle


# ---- tables

def print_pair(pair, figures, peers, kinds):
    print(f"\nPair {pair.letter.upper()}: {pair.title} ({pair.old.stat().st_size / 1e6:.1f} -> {pair.new.stat().st_size / 1e6:.1f} MB)")
    print(f"{'method':24}{'MB on the wire':>16}{'make s':>10}{'make MB':>10}{'apply s':>10}{'apply MB':>10}")
    rows = {"skerry": figures, **peers, "skerry, chunks": {"bytes": figures["chunk_bytes"]}}
    for name, f in sorted(rows.items(), key=lambda row: row[1]["bytes"]):
        cells = [f"{f[k]:10.1f}" if k in f else " " * 10 for k in ("make_s", "make_mb", "apply_s", "apply_mb")]
        print(f"{name:24}{f['bytes'] / 1e6:16.3f}{''.join(cells)}")
    print("where the bytes go")
    for row in sorted(kinds, key=lambda r: -r["deltaBytes"])[:14]:
        print(f"  {row['kind']:34}{row['targetBytes'] / 1e6:12.3f} MB rebuilt {row['deltaBytes'] / 1e6:10.3f} MB of delta")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--pairs", default="a,b,c,d,k", help="which pairs (default: all)")
    parser.add_argument("--peers", default=",".join(PEERS), help="which peers, comma separated (default: all)")
    parser.add_argument("--no-relay", action="store_true")
    options = parser.parse_args()
    folder = options.out.resolve().parent / "pairs"
    folder.mkdir(parents=True, exist_ok=True)
    skerry = options.build.resolve() / "src/cli/skerry"
    if not (folder / "venv/bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([folder / "venv/bin/pip", "install", "-q", "hdiffpatch==2.6.0"], check=False)

    figures, peers, ratios, where = {}, {}, {}, {}
    for letter in options.pairs.split(","):
        pair = pairs.make(letter, folder, skerry)
        mine, where[letter] = ours(pair, folder, skerry)
        others = {name: f for name in options.peers.split(",")
                  if (letter != "k" or name == BEST) and (f := run_peer(name, pair, folder))}
        best = min(others, key=lambda n: others[n]["bytes"]) if others else None
        figures[f"bytes_{letter}"] = mine["bytes"]
        figures[f"chunk_bytes_{letter}"] = mine["chunk_bytes"]
        for name, f in others.items():
            peers.setdefault(name, {}).update({f"{key}_{letter}": value for key, value in f.items()})
        if best:
            ratios[f"bytes_{letter}_vs_best"] = mine["bytes"] / others[best]["bytes"]
        if letter == "a":
            figures["make_s"], figures["make_peak_mb"] = mine["make_s"], mine["make_mb"]
            copy, apply, peak = apply_speed(pair, folder, skerry)
            figures.update({"apply_s": apply, "copy_s": copy, "apply_peak_mb": peak})
            ratios["apply_speed_vs_copy"] = copy / apply
            if "casync" in others:
                ratios["chunks_a_vs_casync"] = mine["chunk_bytes"] / others["casync"]["bytes"]
        print_pair(pair, mine, others, where[letter])
    if not options.no_relay:
        ratios["relay_vs_nginx"] = relay.measure(options.build.resolve())[0]["relay_vs_nginx"]

    print(f"\n{'figure':24}{'measured':>12}{'reach':>10}")
    for key, reach in REACH.items():
        value = {**figures, **ratios}.get(key)
        if value is not None:
            reached = value >= reach if key in AT_LEAST else value <= reach
            print(f"{key:24}{value:12.3f}{reach:10.1f}  {'reached' if reached else 'NOT reached'}")
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "system": platform.machine()}
    options.out.write_text(json.dumps({"name": "delta", "machine": machine, "figures": figures, "peers": peers, "ratios": ratios,
                                       "where": where}, indent=2) + "\n")
    print(f"\nwritten: {options.out}")


if __name__ == "__main__":
    main()
