# SPDX-License-Identifier: Apache-2.0
"""What --help knows of, the man page tells and the shells complete: every program, command and option."""
import pathlib
import re
import subprocess

import pytest

PROGRAMS = ["src/cli/skerry", "src/server/skerry-server", "src/relay/skerry-relay", "src/agent/skerry-agent"]

# Asks for the completions of a line as bash does: everything but the last word is there already.
ASK_BASH = r"""
source /dev/stdin
name=$1; shift
complete -p "$name" >/dev/null || exit 1
COMP_WORDS=("$name" "$@"); COMP_CWORD=$#; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
"_${name//-/_}"
printf '%s\n' "${COMPREPLY[@]}"
"""


class Program:
    def __init__(self, path):
        self.path, self.name = path, path.name
        self.help = self.run("--help")
        self.man = self.run("--help-man").replace("\\-", "-")
        self.man_options = self.man.split("\n.SH OPTIONS\n")[1].split("\n.SH ")[0]
        self.bash = self.run("--help-completion", "bash")
        self.zsh = self.run("--help-completion", "zsh")

    def run(self, *words):
        done = subprocess.run([str(self.path), *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def commands(self):
        if "Commands:\n" not in self.help:
            return []
        listed = self.help.split("Commands:\n", 1)[1].split("\n\n", 1)[0]
        # Names stand at the second column, what they do at least two blanks behind or on the next line.
        return [m[1] for m in re.finditer(r"^  (\S+(?: \S+)?)(?:  .*)?$", listed, re.M)]

    def completed(self, *words):
        done = subprocess.run(["bash", "-c", ASK_BASH, "ask", self.name, *words], input=self.bash, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())


@pytest.fixture(scope="module", params=PROGRAMS, ids=lambda path: pathlib.Path(path).name)
def program(request, build):
    return Program(build / request.param)


def options_of(text):
    """The long options of the parts of a help text called "Options:", without those that every command takes."""
    return set(re.findall(r"^  (?:-\w, |    )(--[a-z-]+)", text.split("Global options:")[0], re.M))


def test_every_command_is_told_of_and_completed(program):
    commands = program.commands()
    assert commands or program.name in ("skerry-agent", "skerry-relay")
    for command in commands:
        assert re.search(rf'^\.SS "{re.escape(command)}[" ]', program.man, re.M), command
        assert f"'{command}'" in program.bash, command
        first, *second = command.split(" ")
        assert first in program.completed(""), command
        assert not second or second[0] in program.completed(first, ""), command
        assert re.search(rf"\b{re.escape(command)}\b", program.zsh), command


def test_every_option_is_told_of_and_completed(program):
    """Those of the command that a program runs when none is given stand once, for both, under OPTIONS."""
    seen = 0
    for command in program.commands():
        options = options_of(program.run(*command.split(" "), "--help"))
        told = re.search(rf'^\.SS "{re.escape(command)}[" ].*?(?=^\.S[SH] )', program.man, re.M | re.S)[0]
        offered = program.completed(*command.split(" "), "--")
        for option in options - {"--help"}:
            assert option in told or ("under OPTIONS" in told and option in program.man_options), (command, option)
            assert option in offered, (command, option)
            assert option in program.zsh, (command, option)
            seen += 1
    for option in set(re.findall(r"^  (?:-\w, |    )(--[a-z-]+)", program.help, re.M)):
        if option in ("--help-man", "--help-completion"):  # for packagers
            continue
        assert option in program.man_options and option in program.zsh, option
        assert option in program.completed("--"), option
        seen += 1
    assert seen > 5
