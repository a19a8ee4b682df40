# SPDX-License-Identifier: Apache-2.0
"""Members that were stolen, a relay that lies, and strangers: what they try, and what they get."""
import base64
import http.client
import json
import resource
import shutil
import socket
import ssl
import subprocess
import time

import fleets
import pytest

DIGEST = "0" * 64


def openssl(*arguments, text=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=text, capture_output=True, check=True).stdout


def canonical(document):
    """The bytes that a signature covers; for plain ASCII, which is all that these tests sign."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


class Member:
    """Somebody who holds a key and perhaps a certificate, and speaks the edge protocol by hand."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.folder = lab.folder / "members" / f"{name}-{len(list((lab.folder / 'members').glob('*')))}"
        self.folder.mkdir(parents=True)
        self.key, self.pem = self.folder / "key.pem", self.folder / "member.pem"
        self.chain = None
        self.new_key()

    def new_key(self):
        self.key.write_bytes(openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout"))

    def csr(self, key=None):
        return openssl("req", "-new", "-key", key or self.key, "-subj", f"/CN={self.name}").decode()

    def sign(self, text, key=None):
        return base64.b64encode(openssl("dgst", "-sha256", "-sign", key or self.key, text=text.encode())).decode()

    def take(self, answer):
        self.chain = answer["certificate"]
        self.pem.write_text(self.key.read_text() + self.chain)

    def enrol_body(self, token, name=None):
        return {"token": token, "csr": self.csr(), "name": name or self.name,
                "facts": {"hostname": "h", "machineId": f"machine-of-{self.folder.name}"}}

    def enrol(self, token):
        status, answer = call(self.lab.edge_port, "POST", "/edge/v1/enrol", self.enrol_body(token))
        assert status == 200, answer
        self.take(answer)
        return self

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        if self.chain:
            context.load_cert_chain(self.pem)
        return context

    def report(self, status, key=None, name=None, serial=None):
        """A status as a node signs it; a higher number each time."""
        self.said = getattr(self, "said", 0) + 1
        status = {"_type": "status", "node": name or self.name, "seq": self.said, **status}
        serial = serial or openssl("x509", "-noout", "-serial", text=self.chain.encode()).decode().strip().split("=")[1].lower()
        return {"signed": status, "signature": {"serial": serial, "sig": self.sign(canonical(status), key)}}

    def say(self, status, port=None):
        return self.call("POST", "/edge/v1/status", self.report(status), port)[0]

    def call(self, method, path, body=None, port=None):
        return call(port or self.lab.edge_port, method, path, body, self.context())


def plain_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def call(port, method, path, body=None, context=None, headers=None):
    """The status and what was answered; body may be bytes, or anything that JSON can say."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context or plain_context(), timeout=60)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text
    finally:
        connection.close()


def open_events(member, port=None):
    """An open events stream: the connection (to be closed) and its answer, or the refusal's status."""
    connection = http.client.HTTPSConnection("127.0.0.1", port or member.lab.edge_port, context=member.context(), timeout=60)
    connection.request("GET", "/edge/v1/events?assignment=0&heartbeat=30")
    answer = connection.getresponse()
    return connection, answer


def member(lab, name, kind="node"):
    return Member(lab, name).enrol(lab.token("--kind", kind))


def one_use(lab):
    return lab.cli_json("token", "create", "--kind", "node", "--ttl", "1h", "--uses", "1")["status"]["token"]


def test_a_stolen_node_speaks_only_for_itself(lab):
    a, b = member(lab, "a"), member(lab, "b")
    assert a.say({"full": True, "name": "b", "state": "Failed"}) == 204
    lab.wait("a to have reported", lambda: lab.node("a")["status"]["observed"]["state"] == "Failed")
    assert a.say({"full": True, "node": "b", "state": "Failed"}) == 204
    lab.wait("the lie to be known", lambda: refused_reports(lab))
    assert not (lab.node("b")["status"].get("observed") or {}).get("state")
    assert a.call("POST", "/edge/v1/batch", {"items": [{"node": "b", "connected": True}]})[0] == 403
    for digest in (DIGEST, "..%2f..%2fca%2froot.key", "../../ca/root.key", DIGEST.replace("0", "A"), DIGEST + "0"):
        assert a.call("GET", f"/edge/v1/objects/sha256/{digest}")[0] in (400, 404), digest

    # Another node's certificate is not a secret: it takes its key to renew it.
    csr = a.csr()
    for certificate, text, proof in (
            (b.chain, csr, a.sign(csr)),                       # by the wrong key
            (b.chain, csr, b.sign(b.csr())),                   # over another request
            (b.chain, csr, ""), (b.chain, csr, "AAAA"), (b.chain, csr, "!"),
            (b.chain.split("-----END CERTIFICATE-----\n", 1)[1], csr, a.sign(csr)),  # the authority's own
            ("", csr, a.sign(csr)), (b.chain, "", b.sign(""))):
        status, answer = a.call("POST", "/edge/v1/renew", {"csr": text, "certificate": certificate, "proof": proof})
        assert status in (400, 403), answer
    forged = openssl("req", "-x509", "-key", a.key, "-subj", "/CN=b", "-days", "1", "-addext",
                     "subjectAltName=URI:spiffe://fleet.example.org/node/b", "-addext", "keyUsage=critical,digitalSignature",
                     "-addext", "basicConstraints=critical,CA:FALSE").decode()
    rest = b.chain.split("-----END CERTIFICATE-----\n", 1)[1]
    assert a.call("POST", "/edge/v1/renew", {"csr": csr, "certificate": forged + rest, "proof": a.sign(csr)})[0] == 403
    # A leaf is no authority either.
    (a.folder / "ext").write_text("subjectAltName=URI:spiffe://fleet.example.org/node/b\nkeyUsage=critical,digitalSignature\n")
    (a.folder / "csr").write_text(csr)
    (a.folder / "ca").write_text(a.chain)
    child = openssl("x509", "-req", "-in", a.folder / "csr", "-CA", a.folder / "ca", "-CAkey", a.key, "-CAcreateserial",
                    "-days", "1", "-extfile", a.folder / "ext").decode()
    assert a.call("POST", "/edge/v1/renew", {"csr": csr, "certificate": child + a.chain, "proof": a.sign(csr)})[0] == 403
    # And what is right goes through, as the same node.
    status, answer = b.call("POST", "/edge/v1/renew", {"csr": b.csr(), "certificate": b.chain, "proof": "x"})
    assert status in (400, 403), answer
    text = b.csr()
    status, answer = b.call("POST", "/edge/v1/renew", {"csr": text, "certificate": b.chain, "proof": b.sign(text)})
    assert status == 200 and answer["name"] == "b", answer


def test_a_join_token_is_good_for_one_name(lab):
    token = one_use(lab)
    thief = Member(lab, "a")
    first = thief.enrol_body(token)
    status, answer = call(lab.edge_port, "POST", "/edge/v1/enrol", first)
    assert status == 200, answer
    # The answer was lost: the same again is fine. Another name is not.
    status, answer = call(lab.edge_port, "POST", "/edge/v1/enrol", first)
    assert status == 200, answer
    thief.take(answer)
    assert call(lab.edge_port, "POST", "/edge/v1/enrol", thief.enrol_body(token, "b"))[0] == 403
    assert call(lab.edge_port, "POST", "/edge/v1/enrol", Member(lab, "c").enrol_body(token))[0] == 403
    assert list(lab.nodes()) == ["a"]

    # Whoever overheard the request must not put the certificate in use out of use by it.
    assert thief.say({"full": True}) == 204
    assert call(lab.edge_port, "POST", "/edge/v1/enrol", first)[0] == 403
    assert thief.say({"seq": 2}) == 204

    # And what was thrown out does not come back by what it joined with.
    lab.cli("node", "revoke", "a")
    assert call(lab.edge_port, "POST", "/edge/v1/enrol", first)[0] == 409
    lab.cli("node", "delete", "a")
    assert call(lab.edge_port, "POST", "/edge/v1/enrol", first)[0] == 403
    assert lab.nodes() == {}


def test_a_race_for_one_use_has_one_winner(lab):
    import concurrent.futures
    token = one_use(lab)
    bodies = [Member(lab, f"n{i}").enrol_body(token) for i in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda body: call(lab.edge_port, "POST", "/edge/v1/enrol", body)[0], bodies))
    assert sorted(results) == [200] + [403] * 11
    assert len(lab.nodes()) == 1


def test_a_name_is_held_after_its_certificate_ran_out(lab):
    lab.server.stop()
    lab.server = None
    lab.start_server("--certificate-ttl", "5s")
    a = member(lab, "a")
    other = Member(lab, "a").enrol_body(lab.token("--kind", "node"))
    # TLS takes an expired certificate no more; its holder may still renew it, so nobody else gets the name.
    lab.wait("the certificate to run out", lambda: not accepted(a))
    status, answer = call(lab.edge_port, "POST", "/edge/v1/enrol", other)
    assert status == 409, answer
    text = a.csr()
    status, answer = call(lab.edge_port, "POST", "/edge/v1/renew", {"csr": text, "certificate": a.chain, "proof": a.sign(text)})
    assert status == 200, answer


def accepted(who):
    try:
        return who.call("GET", "/edge/v1/bundle")[0] == 200
    except ssl.SSLError:
        return False


def test_a_revoked_certificate_is_refused_in_a_resumed_session(lab):
    a = member(lab, "a")
    context = a.context()

    def talk(session=None):
        body = json.dumps(a.report({"full": True})).encode()
        with socket.create_connection(("127.0.0.1", lab.edge_port)) as raw, \
                context.wrap_socket(raw, session=session) as tls:
            tls.sendall(b"POST /edge/v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                        % (len(body), body))
            answer = b""
            while part := tls.recv(65536):
                answer += part
            return int(answer.split()[1]), tls.session, tls.session_reused

    status, session, _ = talk()
    assert status == 204
    status, session, reused = talk(session)
    assert (status, reused) == (204, True)
    lab.cli("node", "revoke", "a")
    status, _, reused = talk(session)
    assert (status, reused) == (403, True)
    # The name given to another machine does not make the old certificate good.
    lab.cli("node", "delete", "a")
    assert talk(session)[0] == 403
    member(lab, "a")
    assert talk(session)[0] == 403
    assert a.call("GET", "/edge/v1/bundle")[0] == 403
    text = a.csr()
    assert a.call("POST", "/edge/v1/renew", {"csr": text, "certificate": a.chain, "proof": a.sign(text)})[0] == 403


def test_a_relay_cannot_be_its_nodes(lab):
    relay, node = member(lab, "r", "relay"), member(lab, "a")
    text = relay.csr()
    status, answer = relay.call("POST", "/edge/v1/renew", {"csr": text, "certificate": node.chain, "proof": relay.sign(text)})
    assert status == 403, answer
    assert relay.call("POST", "/edge/v1/status", {"full": True, "state": "Healthy"})[0] == 403
    batch = {"items": [{"node": "a", "connected": True, "address": "x"}]}
    assert relay.call("POST", "/edge/v1/batch", batch)[0] == 409, "without an events stream"
    connection, answer = open_events(relay)
    assert answer.status == 200
    assert relay.call("POST", "/edge/v1/batch", {"items": [{"node": "nobody", "connected": True, "address": "x"}]})[0] == 204
    assert relay.call("POST", "/edge/v1/batch", {"items": [{"node": "../a", "connected": True}]})[0] == 400
    assert relay.call("POST", "/edge/v1/batch", {"items": [{"node": "a", "connected": True, "serial": "../x"}]})[0] == 400
    assert list(lab.nodes()) == ["a"], "a relay makes no nodes"
    # Its own end is like a node's.
    lab.cli("relay", "revoke", "r", check=False)
    status, _ = call(lab.api_port, "POST", "/api/v1/relays/r/revoke", {}, headers={
        "Authorization": "Bearer " + lab.token_file.read_text().strip()})
    assert status == 200
    assert relay.call("POST", "/edge/v1/batch", batch)[0] == 403
    connection.close()


def refused_reports(lab, node=None):
    events = lab.cli_json("events", "--limit", "1000")["items"]
    return [e["message"] for e in events if e["type"] == "ReportRefused" and node in (None, e.get("node"))]


def test_a_relay_cannot_lie_about_its_nodes(lab, fleet_repository):
    nodes = {name: Member(lab, name).enrol(lab.token("--kind", "node", "--labels", "fleet=edge")) for name in ("a", "b")}
    relay = member(lab, "r", "relay")
    connection, answer = open_events(relay)
    assert answer.status == 200

    def bring(*items):
        assert relay.call("POST", "/edge/v1/batch", {"items": list(items)})[0] == 204
    bring(*({"node": name, "connected": True, "address": "x"} for name in nodes))
    fleets.write(fleet_repository)
    fleet_repository.commit("First version")
    lab.add_source(fleet_repository)
    lab.notify()

    def member_states():
        rollouts = lab.rollouts("edge")
        members = lab.rollout(rollouts[0]["metadata"]["name"])["status"]["members"] if rollouts else []
        return {m["node"]: m["state"] for m in members}
    lab.wait("the canary to be offered the revision", lambda: "Offered" in member_states().values())
    canary = next(name for name, state in member_states().items() if state == "Offered")
    other = next(name for name in nodes if name != canary)
    desired = lab.node(canary)["status"]["desired"]
    node, neighbour = nodes[canary], nodes[other]

    def status(state, **more):
        return {"full": True, "assignment": desired["assignment"], "revision": desired["revision"], "target": desired["revision"],
                "state": state, **more}

    # It says that the node is well, or has failed: by itself, by its own key, by another node's, by a changed report.
    serial = node.report({})["signature"]["serial"]
    changed = node.report(status("Applying"))
    changed["signed"]["state"] = "Healthy"
    newer = node.report(status("Applying"))
    newer["signed"]["seq"] += 100
    lies = [status("Healthy"), status("Failed"), node.report(status("Healthy"), key=relay.key),
            relay.report(status("Healthy"), name=canary), neighbour.report(status("Healthy")),
            neighbour.report(status("Healthy"), name=canary), neighbour.report(status("Healthy"), name=canary, serial=serial),
            node.report(status("Healthy"), serial="00ff"), node.report(status("Healthy", node=other)), changed, newer,
            {"signed": status("Healthy"), "signature": {"serial": serial, "sig": ""}}, {"signed": 7, "signature": []}, {}]
    for i, lie in enumerate(lies):
        bring({"node": canary, "status": lie})
        lab.wait("the lie to be told", lambda: len(refused_reports(lab, canary)) == i + 1)
        assert member_states() == {canary: "Offered", other: "Pending"}, lie
    assert all("relay r" in message for message in refused_reports(lab, canary))
    assert lab.cli_json("get", "relays")["items"][0]["status"]["reportsRefused"] == len(lies)
    assert lab.server.log.read_text().count("a report was refused") == 1, "once for a relay"

    # What the node says counts, once: nothing that it said before comes back. It fails, and so the rollout.
    well, failed = node.report(status("Confirming")), node.report(status("Failed", message="it broke"))
    bring({"node": canary, "status": well})
    lab.wait("the node to be heard", lambda: member_states()[canary] == "Confirming")
    bring({"node": canary, "status": failed})
    lab.wait("the failure to count", lambda: lab.rollouts("edge")[0]["status"]["phase"] not in ("Progressing", "Soaking"))
    for old in (well, failed, changed):
        bring({"node": canary, "status": old})
    bring({"node": canary, "connected": True, "address": "x"})
    assert lab.node(canary)["status"]["observed"]["state"] == "Failed"
    assert member_states()[canary] not in ("Healthy", "Confirming")
    assert member_states()[other] == "Pending", "the next wave waits for a word of the node"
    lab.server.kill()
    lab.start_server()
    connection.close()
    connection, answer = open_events(relay)
    bring({"node": canary, "connected": True, "address": "x"}, {"node": canary, "status": well})
    assert lab.node(canary)["status"]["observed"]["state"] == "Failed", "nor after a restart"
    assert len(refused_reports(lab, canary)) == len(lies), "what comes twice is no lie"
    connection.close()


def test_a_node_cannot_spoil_what_its_relay_says(lab):
    relay = lab.start_relay()
    a, b = member(lab, "a"), member(lab, "b")
    streams = [open_events(m, relay.port) for m in (a, b)]
    assert [answer.status for _, answer in streams] == [200, 200]
    deep = b'{"full":true,"facts":{"x":' + b"[" * 58 + b"]" * 58 + b"}}"
    assert a.call("POST", "/edge/v1/status", deep, relay.port)[0] == 400
    deep = b'{"signed":' + deep + b',"signature":{"serial":"0a","sig":""}}'
    assert a.call("POST", "/edge/v1/status", deep, relay.port)[0] == 400
    assert a.say({"full": True, "apps": [{"name": f"a{i}"} for i in range(5000)]}, relay.port) == 400
    assert a.call("POST", "/edge/v1/status", {"full": True, "state": "Healthy"}, relay.port)[0] == 400
    assert a.call("POST", "/edge/v1/status", {"signed": {"full": True, "seq": 1.5, "x": {"y": 7.5}},
                                              "signature": {"serial": "0a", "sig": "AAAA"}}, relay.port)[0] == 204
    assert b.say({"full": True, "state": "Healthy"}, relay.port) == 204
    lab.wait("b to be heard", lambda: (lab.node("b")["status"].get("observed") or {}).get("state") == "Healthy")
    assert "refuses a batch" not in relay.log.read_text()
    for connection, _ in streams:
        connection.close()


def test_a_relay_refuses_a_replaced_certificate(lab):
    relay = lab.start_relay()
    stolen = member(lab, "a")
    lab.cli("node", "revoke", "a")
    lab.cli("node", "delete", "a")
    replacement = member(lab, "a")

    def refused():
        connection, answer = open_events(stolen, relay.port)
        if answer.status == 200:
            time.sleep(0.5)  # longer than the relay gathers presence before it tells the server
        connection.close()
        return answer.status == 403
    lab.wait("the relay to refuse the stolen certificate", refused)
    connection, answer = open_events(replacement, relay.port)
    assert answer.status == 200
    lab.wait("its replacement to be connected", lambda: lab.node("a")["status"]["connected"])
    connection.close()
    # What it learned holds without a server, and after its own restart.
    lab.server.stop()
    relay.kill()
    relay.start()
    lab._await_port(relay, relay.port)
    assert refused()
    connection, answer = open_events(replacement, relay.port)
    assert answer.status == 200
    connection.close()


def test_a_relay_hears_of_what_was_revoked_while_it_was_away(lab):
    relay = lab.start_relay()
    a = member(lab, "a")
    relay.kill()
    lab.cli("node", "revoke", "a")
    relay.start()
    lab._await_port(relay, relay.port)
    lab.wait("the relay to know", lambda: '"a"' in ((lab.folder / "relay/revoked.json").read_text()
                                                    if (lab.folder / "relay/revoked.json").exists() else ""))
    lab.server.stop()

    def refused():
        connection, answer = open_events(a, relay.port)
        connection.close()
        return answer.status == 403
    lab.wait("the relay to refuse it alone", refused)


GARBAGE = [b"", b"{", b"[]", b"null", b"7", b'"x"', b"\x00\xff\xfe", b"[" * 100000, b'{"a":' * 5000, b"{}" * 10,
           b'{"token":{},"csr":[]}', b'{"token":"skj_x","csr":"-----BEGIN CERTIFICATE REQUEST-----\\n"}',
           b'{"csr":"","certificate":"","proof":""}', b'{"full":"x"}', b'{"apps":[7]}', b'{"items":[null]}']


@pytest.mark.parametrize("who", ["nobody", "node", "relay"])
def test_garbage_is_refused_everywhere(lab, who):
    speaker = Member(lab, "x") if who == "nobody" else member(lab, "x", who)
    connection, answer = open_events(speaker)
    assert answer.status == (401 if who == "nobody" else 200)
    for route in ("enrol", "renew", "status", "batch", "events", "bundle", "objects/sha256/x", "", "%00", "..%2f..%2f"):
        for body in GARBAGE:
            status, _ = speaker.call("POST", f"/edge/v1/{route}", body)
            # A report of a node whose members say nothing known is taken and then judged.
            assert 400 <= status < 500 or (route == "status" and status == 204), (route, body[:40], status)
        if route in ("enrol", "renew") or (route == "status" and who == "node"):
            assert speaker.call("POST", f"/edge/v1/{route}", b" " * (512 << 10))[0] == 413, route
    connection.close()
    assert lab.cli_json("get", "nodes")["items"] is not None


def test_strangers_get_nothing_from_the_api(lab):
    routes = list(call(lab.api_port, "GET", "/api/v1/openapi.json")[1]["paths"])
    assert len(routes) > 20
    for route in routes:
        path = route.replace("{host}", "github").replace("{source}", "fleet")
        for name in ("name", "id", "digest", "sha256"):
            path = path.replace("{" + name + "}", "x")
        path = path if path.startswith("/api/") else "/api/v1" + path
        for method in ("GET", "POST", "PATCH", "DELETE"):
            for headers in ({}, {"Authorization": "Bearer ska_x"}, {"Authorization": "Basic YTpi"},
                            {"Authorization": "Bearer " + lab.token("--kind", "node") if method == "GET" else "Bearer"}):
                status, answer = call(lab.api_port, method, path, b"{}", headers=headers)
                is_open = method == "GET" and path.endswith(("/version", "/healthz", "/openapi.json"))
                assert status == 200 if is_open else status in (401, 404, 405), (method, path, status, answer)


def test_many_silent_connections_do_not_stop_the_others(lab):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2000 if hard == resource.RLIM_INFINITY or hard >= 2500 else hard - 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 500), hard))
    a = member(lab, "a")
    silent = []
    try:
        for i in range(wanted):
            s = socket.create_connection(("127.0.0.1", lab.edge_port), timeout=60)
            if i % 3 == 1:
                s.sendall(b"\x16\x03\x01\x02\x00")     # the beginning of a ClientHello
            elif i % 3 == 2:
                s.sendall(b"GET / HTTP/1.1\r\n\r\n")   # no TLS at all
            silent.append(s)
        assert a.say({"full": True}) == 204
        assert list(lab.nodes()) == ["a"]
    finally:
        for s in silent:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert a.say({"seq": 2}) == 204


def test_slow_clients_are_let_go(lab):
    a = member(lab, "a")
    with socket.create_connection(("127.0.0.1", lab.edge_port)) as raw, a.context().wrap_socket(raw) as tls:
        tls.settimeout(120)
        tls.sendall(b"POST /edge/v1/status HTTP/1.1\r\nHost: a\r\nContent-Le")
        assert b" 408 " in tls.recv(65536)
        assert tls.recv(65536) in (b"",)
    with socket.create_connection(("127.0.0.1", lab.edge_port)) as raw:
        raw.settimeout(120)
        assert raw.recv(1) == b"", "a connection that never shakes hands is closed"


def test_an_open_connection_ends_with_its_certificate(lab):
    lab.server.stop()
    lab.server = None
    lab.start_server("--certificate-ttl", "5s")
    a = member(lab, "a")
    connection = http.client.HTTPSConnection("127.0.0.1", lab.edge_port, context=a.context(), timeout=60)
    connection.request("GET", "/edge/v1/events?assignment=0&heartbeat=1")
    answer = connection.getresponse()
    assert answer.status == 200
    reporting = http.client.HTTPSConnection("127.0.0.1", lab.edge_port, context=a.context(), timeout=60)

    def reported():
        reporting.request("POST", "/edge/v1/status", json.dumps(a.report({"full": True})))
        reply = reporting.getresponse()
        reply.read()
        return reply.status
    assert reported() == 204
    with pytest.raises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
        while answer.read(1):
            pass
        raise ConnectionError("the stream came to its end")
    lab.wait("the other connection to be refused", lambda: reported() == 403)
    connection.close()
    reporting.close()


def test_a_repository_that_unfolds_without_end_is_refused(lab, fleet_repository):
    tree = fleet_repository.tree
    subprocess.run(["git", "hash-object", "-w", "-t", "tree", "/dev/null"], cwd=tree, check=True, capture_output=True)
    below = subprocess.run(["git", "mktree"], cwd=tree, input="", text=True, check=True, capture_output=True).stdout.strip()
    for _ in range(12):
        entries = "".join(f"040000 tree {below}\tx{i}\n" for i in range(10))
        below = subprocess.run(["git", "mktree"], cwd=tree, input=entries, text=True, check=True,
                               capture_output=True).stdout.strip()
    commit = fleet_repository.git("commit-tree", below, "-m", "Ten to the twelfth folders")
    fleet_repository.git("update-ref", "refs/heads/main", commit)
    fleet_repository.push()
    lab.add_source(fleet_repository)
    said = lab.cli("notify", "fleet", "--wait", check=False)
    assert said.returncode == 1 and "more than 100000 folders" in said.stderr, said.stderr


def talk(tls, path="/edge/v1/bundle"):
    """One question over a connection that stays open; the status, or None when the other end has closed it."""
    try:
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = http.client.HTTPResponse(tls, method="GET")
        answer.begin()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.parametrize("where", ["server", "relay"])
def test_one_name_holds_so_many_connections_and_no_more(lab, where):
    port = lab.start_relay().port if where == "relay" else lab.edge_port
    a, b = member(lab, "a"), member(lab, "b")
    who = [a, member(lab, "r", "relay")] if where == "server" else [a]
    bystander = b.context().wrap_socket(socket.create_connection(("127.0.0.1", port)))
    assert talk(bystander) == 200
    for one in who:
        # The oldest speaks HTTP/2, which has a word for it.
        two = one.context()
        two.set_alpn_protocols(["h2"])
        oldest = two.wrap_socket(socket.create_connection(("127.0.0.1", port)))
        oldest.settimeout(60)
        oldest.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        held = []
        for _ in range(66):
            held.append(one.context().wrap_socket(socket.create_connection(("127.0.0.1", port))))
            assert talk(held[-1]) == 200
        heard = b""
        while part := oldest.recv(65536):
            heard += part
        assert b"newer connections of this name took its place" in heard
        assert [talk(tls) for tls in held] == [None] * 2 + [200] * 64
        for tls in held:
            tls.close()
    assert talk(bystander) == 200, "others are not touched"


def test_a_second_machine_with_the_same_key_is_noticed(lab):
    agent = lab.add_agent("twin", {"fleet": "edge"})
    lab.wait_connected()
    copy = Member(lab, "twin")
    shutil.copy(agent.state / "identity/node.pem", copy.pem)
    copy.chain = copy.pem.read_text()
    connection, answer = open_events(copy)
    assert answer.status == 200
    lab.wait("the agent to say so", lambda: "does a copy of this node's state folder run elsewhere" in agent.log.read_text())
    # It waits before it takes its place again; then the copy is told.
    lines = [json.loads(line) for line in answer]
    assert lines[-1]["type"] == "replaced" and lines[-1]["address"] == "127.0.0.1"
    connection.close()


def test_false_presence_makes_no_wave_pass(lab, fleet_repository):
    """A relay says of nodes that are not behind it that they are there, or gone: the rollout waits, and never passes by it."""
    nodes = {name: Member(lab, name).enrol(lab.token("--kind", "node", "--labels", "fleet=edge")) for name in ("a", "b")}
    relay = member(lab, "r", "relay")
    connection, answer = open_events(relay)
    assert answer.status == 200

    def bring(*items):
        assert relay.call("POST", "/edge/v1/batch", {"items": list(items)})[0] == 204

    def present(name, there=True):
        bring({"node": name, "connected": there, "address": "x"})

    # No node has ever connected; the relay has them all be there.
    for name in nodes:
        present(name)
    fleets.write(fleet_repository, defer=3600, deadline=3600)
    fleet_repository.commit("First version")
    lab.add_source(fleet_repository)
    lab.notify()

    def member_states():
        rollouts = lab.rollouts("edge")
        members = lab.rollout(rollouts[0]["metadata"]["name"])["status"]["members"] if rollouts else []
        return {m["node"]: m["state"] for m in members}
    lab.wait("the canary to be offered the revision", lambda: "Offered" in member_states().values())
    canary = next(name for name, state in member_states().items() if state == "Offered")
    other = next(name for name in nodes if name != canary)
    for _ in range(5):
        for name in (canary, other):
            present(name, False)
            present(name)
            assert member_states() == {canary: "Offered", other: "Pending"}
    present(canary, False)
    present(other, False)
    assert member_states()[other] == "Pending"
    # The node itself connects to the server, and the relay goes on: its word moves the link, and nothing else.
    direct, answer = open_events(nodes[canary])
    assert answer.status == 200
    for _ in range(3):
        present(canary)
        present(canary, False)
    assert member_states() == {canary: "Offered", other: "Pending"}
    desired = lab.node(canary)["status"]["desired"]
    # Only what the node says and signs makes it well. That it has gone since is the relay's lie, and holds the wave up.
    well = {"full": True, "assignment": desired["assignment"], "revision": desired["revision"],
            "target": desired["revision"], "state": "Healthy"}
    assert nodes[canary].say(well) == 204
    lab.wait("the node to count as well", lambda: member_states()[canary] == "Healthy")
    direct.close()
    direct, answer = open_events(nodes[canary])
    assert nodes[canary].say(well) == 204
    lab.wait("the next wave to begin", lambda: member_states()[other] == "Offered")
    for there in (False, True, False):
        present(other, there)
    assert member_states()[other] in ("Offered", "Pending")
    assert lab.rollouts("edge")[0]["status"]["phase"] not in ("Succeeded", "Failed", "RolledBack")
    connection.close()
    direct.close()
