# SPDX-License-Identifier: Apache-2.0
"""The REST API as a stranger meets it."""
import json
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import fleets
import pytest
from test_rollout import start_fleet


class Api:
    def __init__(self, lab, token=None):
        self.lab = lab
        self.token = lab.token_file.read_text().strip() if token is None else token
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def request(self, method, path, body=None, headers=None, timeout=30):
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://127.0.0.1:{self.lab.api_port}/api/v1{path}", data=raw, method=method,
                                         headers=dict(headers or {}))
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        if raw is not None:
            request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, context=self.context, timeout=timeout)

    def __call__(self, method, path, body=None, headers=None):
        try:
            with self.request(method, path, body, headers) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture
def api(lab):
    return Api(lab)


def test_without_a_token_nothing_is_told(lab):
    for token in ("", "ska_0123456789.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA." + "0" * 64, "nonsense"):
        anyone = Api(lab, token)
        status, body = anyone("GET", "/nodes")
        assert status == 401 and body["error"]["code"] == "unauthorized"
        assert anyone("POST", "/tokens", {"kind": "node"})[0] == 401
    assert Api(lab, "")("GET", "/version")[0] == 200
    assert Api(lab, "")("GET", "/healthz") == (200, {"status": "ok"})


def test_every_documented_route_answers(api):
    status, document = api("GET", "/openapi.json")
    assert status == 200 and document["openapi"].startswith("3.")
    checked = 0
    for path, operations in document["paths"].items():
        for method in operations:
            if method == "get" and "{" not in path and "events" not in path:
                status, _ = api("GET", path.removeprefix("/api/v1"))
                assert status == 200, path
                checked += 1
    assert checked >= 9
    status, body = api("GET", "/nonsense")
    assert status == 404 and body["error"]["code"] == "not_found"
    status, body = api("DELETE", "/nodes")
    assert status == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"kind":7}', b'{"kind":"node","labels":{"bad key!":"x"}}',
                                  b'{"kind":"node","uses":-1}', b'{"kind":"node","ttlSeconds":"soon"}', b'{"kind":"king"}',
                                  b'{"kind":"node","kind":"relay"}', b"\xff\xfe", b'{"kind":"node"}trailing',
                                  b'{"kind":"node","labels":' + b"[" * 5000])
def test_bad_bodies_get_clear_errors(api, body):
    status, answer = api("POST", "/tokens", body)
    assert status in (400, 422), answer
    assert answer["error"]["message"]
    assert api("GET", "/healthz")[0] == 200


def test_a_body_over_the_limit_is_refused(api):
    with pytest.raises((urllib.error.URLError, AssertionError)):
        status, _ = api("POST", "/tokens", b'{"kind":"' + b"x" * (4 << 20) + b'"}')
        assert status not in (413,)
    assert api("GET", "/healthz")[0] == 200


def test_events_stream_and_resume(lab, api, fleet_repository):
    def read(answer, wanted):
        found, event = [], {}
        for raw in answer:
            line = raw.decode().rstrip("\n")
            if line.startswith(("id:", "event:", "data:")):
                key, _, value = line.partition(":")
                event[key] = value.strip()
            elif not line and event.get("data"):
                found.append(event)
                if event.get("event") == wanted:
                    return found
                event = {}
        return found

    stream = api.request("GET", "/events", headers={"Accept": "text/event-stream"})
    lab.add_agent("a", {"fleet": "edge"})
    seen = read(stream, "NodeConnected")
    stream.close()
    assert json.loads(seen[-1]["data"])["node"] == "a"
    last = seen[-1]["id"]
    fleets.write(fleet_repository)
    fleet_repository.commit("First")
    lab.add_source(fleet_repository)
    lab.notify()
    stream = api.request("GET", "/events", headers={"Accept": "text/event-stream", "Last-Event-ID": last})
    more = read(stream, "RolloutSucceeded")
    stream.close()
    assert more[-1]["event"] == "RolloutSucceeded"
    assert [int(e["id"]) for e in more] == sorted({int(e["id"]) for e in more}) and int(more[0]["id"]) > int(last)


def test_labels_by_hand_and_selectors(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b"])
    lab.cli("node", "label", "a", "tier=gold")
    assert lab.node("a")["metadata"]["labels"]["tier"] == "gold"
    names = [n["metadata"]["name"] for n in lab.cli_json("get", "nodes", "-l", "tier=gold")["items"]]
    assert names == ["a"]
    names = [n["metadata"]["name"] for n in lab.cli_json("get", "nodes", "-l", "tier notin (gold)")["items"]]
    assert names == ["b"]
    lab.cli("node", "label", "a", "tier-")
    assert "tier" not in lab.node("a")["metadata"]["labels"]
    bad = lab.cli("node", "label", "a", "no good=x", check=False)
    assert bad.returncode != 0 and "no good" in bad.stderr


def test_http2_and_http1_answer_alike(lab):
    for version in ("--http2", "--http1.1"):
        result = subprocess.run(["curl", "-sk", version, "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
                                 f"https://127.0.0.1:{lab.api_port}/api/v1/version"], capture_output=True, text=True)
        expected = {"--http2": "2 200", "--http1.1": "1.1 200"}[version]
        assert result.stdout == expected


def test_a_port_in_use_is_said(lab):
    lab.server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", lab.api_port))
        other.listen()
        result = subprocess.run(
            [lab.build / "src/server/skerry-server", "run", "--state", lab.state, "--api-listen",
             f"127.0.0.1:{lab.api_port}", "--edge-listen", f"127.0.0.1:{lab.edge_port}"],
            capture_output=True, text=True, timeout=60, env=lab.environment)
    assert result.returncode == 1
    assert f"listen on 127.0.0.1:{lab.api_port}: Address already in use" in result.stderr
