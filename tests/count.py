#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up the outcomes of meson's and pytest's logs and prints `N passed, N failed`."""
import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def main(meson_log, pytest_log):
    passed = failed = skipped = 0
    if pathlib.Path(meson_log).exists():
        for line in open(meson_log, encoding="utf-8"):
            result = json.loads(line)["result"]
            if result in ("OK", "EXPECTEDFAIL"):
                passed += 1
            elif result == "SKIP":
                skipped += 1
            else:
                failed += 1
    if pathlib.Path(pytest_log).exists():
        for suite in ElementTree.parse(pytest_log).getroot().iter("testsuite"):
            tests, errors = int(suite.get("tests")), int(suite.get("errors")) + int(suite.get("failures"))
            left_out = int(suite.get("skipped"))
            passed += tests - errors - left_out
            failed += errors
            skipped += left_out
    line = f"{passed} passed, {failed} failed"
    if skipped:
        line += f", {skipped} skipped"
    print(line)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
