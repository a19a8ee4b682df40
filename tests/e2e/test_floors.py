# SPDX-License-Identifier: Apache-2.0
"""The floors of the house hold: an include of a floor above does not build."""
import json
import pathlib
import shlex
import subprocess

import pytest

FLOORS = ["base", "crypto", "codec", "net", "repo", "db", "fleet", "relay", "server"]
# (floor, a header of a floor above it)
UPWARD = [("base", "crypto/digest.h"), ("crypto", "codec/json.h"), ("codec", "net/loop.h"), ("net", "db/db.h"),
          ("repo", "fleet/compile.h"), ("db", "fleet/rollout.h"), ("fleet", "relay/edge.h"), ("fleet", "net/loop.h"),
          ("relay", "server/control.h")]


def compile_command(build, floor):
    """How the build compiles a file of this floor: compiler and flags, without the file itself."""
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if f"src/{floor}/libskerry-{floor}.a.p" in entry["output"]:
            words = shlex.split(entry["command"])
            keep = [w for w in words if not w.endswith((".c", ".o", ".d")) and w not in ("-c", "-o", "-MD", "-MF", "-MQ")]
            return keep, entry["directory"]
    raise AssertionError(f"no file of floor {floor} in the compilation database")


def compiles(build, floor, header, folder):
    command, directory = compile_command(build, floor)
    source = pathlib.Path(folder) / "probe.c"
    source.write_text(f'#include "{header}"\n')
    return subprocess.run([*command, "-fsyntax-only", str(source)], cwd=directory, capture_output=True, text=True)


@pytest.mark.parametrize("floor,header", UPWARD)
def test_an_upward_include_fails_to_build(build, tmp_path, floor, header):
    result = compiles(build, floor, header, tmp_path)
    assert result.returncode != 0
    assert "No such file or directory" in result.stderr


@pytest.mark.parametrize("floor", FLOORS[1:8])
def test_a_downward_include_builds(build, tmp_path, floor):
    result = compiles(build, floor, "base/err.h", tmp_path)
    assert result.returncode == 0, result.stderr
