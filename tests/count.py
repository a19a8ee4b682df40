#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up the outcomes of the logs that meson (.json) and pytest (.xml) wrote and prints `N passed, N failed`."""
import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def meson_outcomes(log):
    passed = failed = skipped = 0
    for line in open(log, encoding="utf-8"):
        result = json.loads(line)["result"]
        if result in ("OK", "EXPECTEDFAIL"):
            passed += 1
        elif result == "SKIP":
            skipped += 1
        else:
            failed += 1
    return passed, failed, skipped


def pytest_outcomes(log):
    passed = failed = skipped = 0
    for suite in ElementTree.parse(log).getroot().iter("testsuite"):
        errors, left_out = int(suite.get("errors")) + int(suite.get("failures")), int(suite.get("skipped"))
        passed += int(suite.get("tests")) - errors - left_out
        failed += errors
        skipped += left_out
    return passed, failed, skipped


def main(*logs):
    there = [pathlib.Path(log) for log in logs if pathlib.Path(log).exists()]
    outcomes = [pytest_outcomes(log) if log.suffix == ".xml" else meson_outcomes(log) for log in there]
    passed, failed, skipped = (sum(column) for column in zip(*outcomes)) if outcomes else (0, 0, 0)
    line = f"{passed} passed, {failed} failed"
    if skipped:
        line += f", {skipped} skipped"
    print(line)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
