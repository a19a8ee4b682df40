# SPDX-License-Identifier: Apache-2.0
"""People are told outside: by webhook, Slack's form and Alertmanager; across a kill, and with a dead receiver beside."""
import http.server
import json
import shutil
import subprocess
import threading
import urllib.request

import fleets
import pytest
from lab.ports import free_port


class Listener:
    """A real HTTP server that keeps what is posted to it; answers with `status`."""

    def __init__(self, port=None, status=200):
        self.got, self.status, listener = [], status, self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                listener.got.append((self.path, self.headers.get("Authorization"), text, listener.status))
                self.send_response(listener.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port or free_port()), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def taken(self):
        return [text for _, _, text, status in self.got if status == 200]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def restart(lab, receivers, lost="1s"):
    file = lab.folder / "notify.yaml"
    file.write_text(json.dumps({"receivers": receivers, "nodeLostAfter": lost}))
    lab.server.stop()
    if "--notify" not in lab.server.command:
        lab.server.command += ["--notify", str(file)]
    lab.start_server()


def test_receivers(lab, fleet_repository):
    hook, slack = Listener(), Listener()
    dead, secret = free_port(), lab.folder / "secret"
    secret.write_text("s3cret\n")
    restart(lab, [
        {"name": "dead", "type": "webhook", "url": f"http://127.0.0.1:{dead}/"},
        {"name": "hook", "type": "webhook", "url": f"http://127.0.0.1:{hook.port}/in", "tokenFile": str(secret),
         "template": '{"what": ${type}, "said": ${message}, "fleet": ${fleet}}'},
        {"name": "slack", "type": "slack", "url": f"http://127.0.0.1:{slack.port}/hook",
         "events": ["RolloutSucceeded", "RolloutPaused", "NodeDisconnected"]}])
    fleets.write(fleet_repository, text="one")
    fleet_repository.commit("One")
    lab.add_source(fleet_repository)
    lab.add_agent("a", {"fleet": "edge"})
    lab.wait_connected()
    lab.notify()
    lab.wait("the first version", lambda: fleets.runs(lab.agents["a"], "one"))
    fleets.write(fleet_repository, text="two")
    commit = fleet_repository.commit("Two")
    lab.notify()
    lab.wait_rollout(commit)

    def whats():
        return [json.loads(t)["what"] for t in hook.taken()]
    lab.wait("the webhook", lambda: "RolloutSucceeded" in whats())
    lab.wait("Slack", lambda: any("*RolloutSucceeded* edge" in json.loads(t)["text"] for t in slack.taken()))
    assert hook.got[0][0] == "/in" and hook.got[0][1] == "Bearer s3cret"
    assert json.loads(hook.taken()[whats().index("RolloutSucceeded")])["fleet"] == "edge"

    # The same again is told once; what is wrong with a source is told.
    fleet_repository.write("edge/more.yaml", "apiVersion: skerry/v1alpha1\nkind: App\nmetadata: {name: more}\nspec: {nonsense: 1}\n")
    fleet_repository.commit("Broken")
    lab.cli("notify", "fleet", "--wait", check=False)
    lab.cli("notify", "fleet", "--wait", check=False)
    lab.wait("the broken source", lambda: "SourceFailed" in whats())

    assert whats().count("RolloutSucceeded") == 1 and whats().count("SourceFailed") == 1

    # A node that stays away is lost.
    lab.agents["a"].kill()
    lab.wait("the lost node", lambda: any("a disconnected" in json.loads(t)["text"] for t in slack.taken()))

    # What the dead receiver was to be told waits for it, across a kill, in order.
    lab.server.kill()
    late = Listener(port=dead)
    lab.start_server()
    lab.wait("what waited", lambda: any(json.loads(t)["type"] == "SourceFailed" for t in late.taken()))
    told = [json.loads(t)["type"] for t in late.taken()]
    assert told.index("RolloutSucceeded") < told.index("SourceFailed")
    for listener in (hook, slack, late):
        listener.close()


def test_a_receiver_that_fails_is_tried_again(lab):
    hook = Listener(status=503)
    restart(lab, [{"name": "hook", "type": "webhook", "url": f"http://127.0.0.1:{hook.port}/"}], lost="0s")
    lab.add_agent("a")
    lab.wait_connected()
    lab.agents["a"].kill()
    lab.wait("two tries", lambda: len(hook.got) >= 2)
    hook.status = 200
    lab.wait("the third", lambda: hook.taken())
    assert json.loads(hook.taken()[0])["type"] == "NodeDisconnected"
    assert json.loads(hook.taken()[0])["severity"] == "warning"
    hook.close()


def test_a_file_that_says_nonsense(lab):
    file = lab.folder / "bad.yaml"
    file.write_text("receivers:\n  - {name: a, type: fax, url: https://x}\n")
    lab.server.stop()
    refused = lab.run("src/server/skerry-server", "run", "--state", lab.state, "--notify", file, check=False)
    assert refused.returncode == 1 and "receiver 1: type: fax is none of" in refused.stderr
    lab.start_server()


@pytest.mark.skipif(not shutil.which("prometheus-alertmanager"), reason="prometheus-alertmanager is not installed")
def test_alertmanager(lab, tmp_path):
    port = free_port()
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    manager = subprocess.Popen(["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={tmp_path}/data",
                                f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        restart(lab, [{"name": "am", "type": "alertmanager", "url": f"http://127.0.0.1:{port}/"}], lost="0s")
        lab.add_agent("a", {"fleet": "edge"})
        lab.wait_connected()
        lab.agents["a"].kill()

        def alerts():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=5) as answer:
                    return [a for a in json.load(answer) if a["labels"]["alertname"] == "SkerryNodeDisconnected"]
            except OSError:
                return []
        lab.wait("the alert", alerts)
        assert alerts()[0]["labels"]["node"] == "a" and alerts()[0]["labels"]["severity"] == "warning"
    finally:
        manager.kill()
        manager.wait()
