# SPDX-License-Identifier: Apache-2.0
"""A fleet repository: a bare Git repository that the server follows, and a clone to commit in."""
import os
import pathlib
import subprocess


class FleetRepository:
    def __init__(self, folder, branch="main"):
        self.folder = pathlib.Path(folder)
        self.bare = self.folder / "fleet.git"
        self.tree = self.folder / "fleet"
        self.branch = branch
        self._environment = dict(
            os.environ,
            GIT_AUTHOR_NAME="Ada Operator", GIT_AUTHOR_EMAIL="ada@example.org",
            GIT_COMMITTER_NAME="Ada Operator", GIT_COMMITTER_EMAIL="ada@example.org",
            GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "--bare", "-b", branch, str(self.bare), cwd=self.folder)
        self.git("init", "-q", "-b", branch, str(self.tree), cwd=self.folder)
        self.git("remote", "add", "origin", str(self.bare))

    def git(self, *arguments, cwd=None, check=True):
        result = subprocess.run(["git", *arguments], cwd=cwd or self.tree, env=self._environment,
                                capture_output=True, text=True)
        if check and result.returncode != 0:
            raise RuntimeError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout.strip()

    def write(self, path, text):
        target = self.tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def read(self, path):
        return (self.tree / path).read_text(encoding="utf-8")

    def replace(self, path, old, new):
        text = self.read(path)
        if old not in text:
            raise ValueError(f"{path} does not hold {old!r}")
        self.write(path, text.replace(old, new))

    def copy_from(self, folder):
        subprocess.run(["cp", "-a", f"{folder}/.", str(self.tree)], check=True)

    def commit(self, message, push=True, force=False):
        """Commits everything, pushes, and returns the commit's id."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        if push:
            self.push(force=force)
        return self.git("rev-parse", "HEAD")

    def push(self, force=False):
        self.git("push", "-q", *(["-f"] if force else []), "origin", self.branch)

    def notify_on_push(self, command):
        """Installs a post-receive hook, as an operator would."""
        hook = self.bare / "hooks" / "post-receive"
        hook.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
        hook.chmod(0o755)
