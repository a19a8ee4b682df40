# SPDX-License-Identifier: Apache-2.0
"""Server, relay, agents and a fleet repository on one machine."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from . import program
from .link import Link
from .ports import free_port
from .repository import FleetRepository
from .waiting import wait_until

DOMAIN = "fleet.example.org"
WEB_IMAGE = "localhost/skerry-demo/web:1"


class LabError(AssertionError):
    """A command of ours failed."""


class Agent(program.Program):
    """One node: its agent, its files below `sysroot`, its link to the server or relay."""

    def __init__(self, lab, name, link, token, options=()):
        self.lab = lab
        self.link = link
        self.home = lab.folder / "nodes" / name
        self.state = self.home / "state"
        self.sysroot = self.home / "root"
        self.sysroot.mkdir(parents=True, exist_ok=True)
        # podman's run folder holds sockets: its path is at most 50 characters long.
        self.podman_options = [*lab.podman_options, "--podman-runroot", lab.folder / f"run{len(lab.agents)}"] if lab.podman else []
        super().__init__(
            name,
            [lab.build / "src/agent/skerry-agent", "run", "--state", self.state, "--sysroot", self.sysroot,
             "--server", f"https://127.0.0.1:{link.port}", "--token", token, "--name", name, *self.podman_options, *options],
            lab.folder / "logs" / f"{name}.log", lab.environment)

    def status(self):
        """What the node itself says, or None before it says anything."""
        try:
            return json.loads((self.state / "status.json").read_text())
        except (OSError, ValueError):
            return None

    def file(self, path):
        """A managed file's text, or None."""
        try:
            return (self.sysroot / path.lstrip("/")).read_text()
        except OSError:
            return None

    def stop_apps(self):
        subprocess.run([self.command[0], "stop-apps", "--state", self.state, "--sysroot", self.sysroot,
                        *self.podman_options], env=self.environment, capture_output=True, check=False)


class Lab:
    def __init__(self, build, folder=None, podman=False, log_level="info"):
        self.build = pathlib.Path(build).resolve()
        self._own_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="skerry-"))
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        self.environment = {"SKERRY_CONFIG": str(self.folder / "cli.yaml"), "NO_COLOR": "1"}
        self.log_level = log_level
        self.podman = podman
        self.podman_options = []
        self.agents = {}
        self.links = []
        self.relays = {}
        self.server = None
        self.api_port, self.edge_port = free_port(), free_port()
        self.state = self.folder / "server"
        self.token_file = self.folder / "admin.token"
        program.adopt_orphans()
        if podman:
            self._prepare_podman()

    # ---- the server

    def init_server(self, *options):
        self.run("src/server/skerry-server", "init", "--state", self.state, "--domain", DOMAIN,
                 "--admin-token-file", self.token_file, *options)
        return self

    def start_server(self, *options):
        if self.server is None:
            self.server = program.Program(
                "server",
                [self.build / "src/server/skerry-server", "run", "--state", self.state,
                 "--api-listen", f"127.0.0.1:{self.api_port}", "--edge-listen", f"127.0.0.1:{self.edge_port}",
                 "--log-level", self.log_level, *options],
                self.folder / "logs" / "server.log", self.environment)
        self.server.start()
        self._await_port(self.server, self.api_port)
        self._await_port(self.server, self.edge_port)
        if not pathlib.Path(self.environment["SKERRY_CONFIG"]).exists():
            self.cli("context", "add", "lab", "--server", f"https://127.0.0.1:{self.api_port}",
                     "--token-file", self.token_file)
        return self.server

    def _await_port(self, process, port):
        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(f"{process.name} to listen on {port}", answers, alive=process.assert_running)

    def repository(self, name="fleet", path=None, poll="1h"):
        """A bare repository that the server follows by notification."""
        repository = FleetRepository(self.folder / "git" / name)
        self._source = name
        return repository

    def add_source(self, repository, name="fleet", *options):
        self.cli("source", "add", name, "--url", repository.bare, "--branch", repository.branch, *options)

    # ---- relays and agents

    def token(self, *options):
        return self.cli_json("token", "create", "--ttl", "1h", "--uses", "1000", *options)["status"]["token"]

    def start_relay(self, name="relay", *options):
        if name not in self.relays:
            port = free_port()
            relay = program.Program(
                name,
                [self.build / "src/relay/skerry-relay", "run", "--state", self.folder / name,
                 "--server", f"https://127.0.0.1:{self.edge_port}", "--listen", f"127.0.0.1:{port}",
                 "--name", name, "--token", self.token("--kind", "relay"), "--log-level", self.log_level, *options],
                self.folder / "logs" / f"{name}.log", self.environment)
            relay.port = port
            self.relays[name] = relay
        self.relays[name].start()
        self._await_port(self.relays[name], self.relays[name].port)
        return self.relays[name]

    def add_agent(self, name, labels=None, relay=None, options=(), token=None, start=True):
        link = Link(self.relays[relay].port if relay else self.edge_port)
        self.links.append(link)
        if token is None:
            text = ",".join(f"{k}={v}" for k, v in (labels or {}).items())
            token = self.token("--kind", "node", *(["--labels", text] if text else []))
        agent = Agent(self, name, link, token, ["--log-level", self.log_level, *options])
        self.agents[name] = agent
        if start:
            agent.start()
        return agent

    # ---- commands

    def run(self, program_path, *arguments, check=True):
        result = subprocess.run([str(self.build / program_path), *map(str, arguments)], capture_output=True,
                                text=True, env=dict(os.environ, **self.environment), check=False)
        if check and result.returncode != 0:
            raise LabError(f"{program_path} {' '.join(map(str, arguments))} ended with {result.returncode}:\n"
                           f"{result.stdout}{result.stderr}")
        return result

    def cli(self, *arguments, check=True):
        return self.run("src/cli/skerry", *arguments, check=check)

    def cli_json(self, *arguments):
        return json.loads(self.cli(*arguments, "-o", "json").stdout)

    # ---- looking

    def node(self, name):
        return self.cli_json("get", "nodes", name)

    def nodes(self):
        return {n["metadata"]["name"]: n for n in self.cli_json("get", "nodes")["items"]}

    def fleet(self, name):
        return self.cli_json("get", "fleets", name)

    def rollouts(self, fleet=None):
        """Newest first."""
        items = self.cli_json("get", "rollouts")["items"]
        items = [r for r in items if fleet is None or r["spec"]["fleet"] == fleet]
        return sorted(items, key=lambda r: r["metadata"]["createdAt"], reverse=True)

    def rollout(self, name):
        return self.cli_json("get", "rollouts", name)

    def source(self, name="fleet"):
        return self.cli_json("get", "sources", name)

    def notify(self, source="fleet"):
        self.cli("notify", source, "--wait")

    def wait(self, what, probe, timeout=90.0):
        return wait_until(what, probe, timeout, alive=self.assert_alive)

    def wait_connected(self, names=None, timeout=90.0):
        wanted = set(names or self.agents)
        self.wait(f"{len(wanted)} nodes to connect",
                  lambda: wanted <= {n for n, node in self.nodes().items() if node["status"]["connected"]}, timeout)

    def wait_rollout(self, commit, phase="Succeeded", fleet=None, timeout=120.0):
        """The rollout of a commit, once it is in that phase; fails early in another final one."""
        final = {"Succeeded", "Failed", "Aborted", "RolledBack", "Superseded"}

        def probe():
            for rollout in self.rollouts(fleet):
                if rollout["spec"]["commit"] == commit:
                    now = rollout["status"]["phase"]
                    if now == phase:
                        return rollout
                    if now in final:
                        status = self.rollout(rollout["metadata"]["name"])["status"]
                        told = [f"{m['node']} {m['state']}: {m['reason']}" for m in status["members"] if m["reason"]]
                        raise LabError("\n  ".join([f"rollout of {commit[:9]} is {now}, not {phase}: {status['reason']}", *told]))
            return None

        return self.wait(f"rollout of {commit[:9]} to be {phase}", probe, timeout)

    def assert_alive(self):
        for process in [self.server, *self.relays.values(), *self.agents.values()]:
            if process is not None and process.process is not None and process.process.poll() not in (None, 0, -9, -15):
                process.assert_running()

    # ---- podman

    def _prepare_podman(self):
        """Settings that let podman run on machines with the old control groups, and the demo's image."""
        if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            settings = self.folder / "containers.conf"
            settings.write_text('[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
                                '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n')
            self.environment["CONTAINERS_CONF"] = str(settings)
        self.image_archive = self.folder / "web-image.tar"
        build = self.folder / "image"
        build.mkdir()
        shutil.copy("/bin/busybox", build / "busybox")
        (build / "Containerfile").write_text('FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT ["/bin/busybox"]\n')
        self._podman_base("build", "-q", "-t", WEB_IMAGE, str(build))
        self.podman_options = ["--podman-storage-driver", "vfs", "--podman-image-store", str(self.folder / "images")]

    def _podman_base(self, *arguments):
        command = ["podman", "--root", str(self.folder / "images"), "--runroot", str(self.folder / "images-run"),
                   "--storage-driver", "vfs", *arguments]
        result = subprocess.run(command, env=dict(os.environ, **self.environment), capture_output=True, text=True)
        if result.returncode != 0:
            raise LabError(f"{' '.join(command)}: {result.stderr}")
        return result.stdout

    # ---- the end

    def close(self, keep=False):
        """Ends every program, what they started included, and removes the folder."""
        for agent in self.agents.values():
            agent.kill()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(Agent.stop_apps, self.agents.values()))
        for process in [*self.relays.values(), self.server]:
            if process is not None:
                process.kill()
        for link in self.links:
            link.close()
        program.reap_orphans()
        if self.podman:
            self._unmount_below()
        if self._own_folder and not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _unmount_below(self):
        mounts = [line.split()[1] for line in open("/proc/mounts", encoding="utf-8")]
        for mount in sorted((m for m in mounts if m.startswith(str(self.folder))), reverse=True):
            subprocess.run(["umount", "-l", mount], capture_output=True, check=False)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.close()
