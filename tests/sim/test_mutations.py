# SPDX-License-Identifier: Apache-2.0
"""Breaks each rule of the rollout in turn and shows that the simulator complains.

usage: test_mutations.py SIM_MUTANTS SRC/FLEET/ROLLOUT_RULES.H [RUNS]
"""

import re
import subprocess
import sys


def rules(header):
    with open(header, encoding="utf-8") as f:
        return re.findall(r"X\((\w+), \"(.+?)\"\)", f.read())


def run(program, arguments):
    return subprocess.run([program, "--seed", "1", "--nodes", "40", *arguments], capture_output=True, text=True, check=False)


def main():
    program, header = sys.argv[1:3]
    runs = sys.argv[3] if len(sys.argv) > 3 else "150"
    whole = run(program, ["--runs", "20"])
    if whole.returncode != 0:
        sys.exit("with every rule kept: " + whole.stderr)
    missed = []
    found = rules(header)
    if len(found) < 10:
        sys.exit("the rules cannot be read from " + header)
    for name, words in found:
        done = run(program, ["--runs", runs, "--break", name])
        seed = re.search(r"^seed (\d+), (.*)", done.stderr, re.MULTILINE)
        if done.returncode != 1 or not seed:
            missed.append(name)
        complaint = seed.group(2).split(": ", 1)[-1] if seed else "NOT CAUGHT"
        print(f"{name:15} {words}: seed {seed.group(1) if seed else '-'}: {complaint}")
    if missed:
        sys.exit("broken and not noticed: " + ", ".join(missed))


main()
