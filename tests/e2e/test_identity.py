# SPDX-License-Identifier: Apache-2.0
"""Joining, renewing and being shown the door."""
import re
import sqlite3
import subprocess

import pytest
from test_rollout import start_fleet


def test_a_join_token_is_used_up(lab):
    token = lab.cli_json("token", "create", "--kind", "node", "--ttl", "1h", "--uses", "1")["status"]["token"]
    lab.add_agent("first", token=token)
    lab.wait_connected(["first"])
    second = lab.add_agent("second", token=token)
    lab.wait("the second to be refused", lambda: "token" in second.tail() and "used" in second.tail())
    assert list(lab.nodes()) == ["first"]
    assert not (second.state / "identity/node.pem").exists()


def test_a_join_token_expires(lab):
    token = lab.cli_json("token", "create", "--kind", "node", "--ttl", "1s", "--uses", "5")["status"]["token"]
    import time
    time.sleep(1.5)
    late = lab.add_agent("late", token=token)
    lab.wait("the late one to be refused", lambda: "expired" in late.tail())
    assert lab.nodes() == {}


def test_a_token_is_not_kept_in_the_clear(lab):
    token = lab.token("--kind", "node")
    secret = token.split(".")[1]
    for file in lab.state.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file
    admin = lab.token_file.read_text().strip().split(".")[1]
    for file in lab.state.rglob("*"):
        if file.is_file():
            assert admin.encode() not in file.read_bytes(), file


def test_a_wrong_pin_is_refused_by_the_node(lab):
    token = lab.token("--kind", "node")
    head, pin = token.rsplit(".", 1)
    other = "0" * len(pin)
    agent = lab.add_agent("a", token=f"{head}.{other}")
    lab.wait("the node to refuse the server", lambda: "pin" in agent.tail())
    assert lab.nodes() == {}


def test_a_name_belongs_to_one_machine(lab):
    lab.add_agent("a", {"x": "1"})
    lab.wait_connected()
    token = lab.token("--kind", "node")
    result = lab.run("src/agent/skerry-agent", "enrol", "--state", lab.folder / "thief", "--server",
                     f"https://127.0.0.1:{lab.edge_port}", "--token", token, "--name", "a", check=False)
    # The same machine may enrol again; what it may never do is take the name while the first is alive unnoticed.
    events = [e["type"] for e in lab.cli_json("get", "events")["items"]]
    assert result.returncode != 0 or events.count("NodeEnrolled") == 2


def test_certificates_are_renewed_at_half_life(lab, fleet_repository):
    lab.server.stop()
    lab.start_server()
    lab.server.stop()
    lab.server = None
    lab.start_server("--certificate-ttl", "8s")
    start_fleet(lab, fleet_repository, ["a"])
    first = lab.node("a")["status"]["certificateNotAfter"]
    lab.wait("a renewed certificate", lambda: lab.node("a")["status"]["certificateNotAfter"] > first)
    lab.wait_connected(["a"])
    log = lab.agents["a"].log.read_text()
    assert "renewed" in log


def test_an_expired_certificate_recovers_without_hands(lab, fleet_repository):
    lab.server.stop()
    lab.server = None
    lab.start_server("--certificate-ttl", "6s")
    start_fleet(lab, fleet_repository, ["a"])
    agent = lab.agents["a"]
    agent.link.cut()
    agent.kill()
    import time
    time.sleep(8)
    agent.link.restore()
    agent.start()
    lab.wait_connected(["a"])


def test_a_revoked_node_is_cut_off_and_stays_out(lab, fleet_repository):
    start_fleet(lab, fleet_repository, ["a", "b"])
    lab.cli("node", "revoke", "a", "--reason", "stolen")
    lab.wait("a to be cut off", lambda: not lab.node("a")["status"]["connected"])
    agent = lab.agents["a"]
    agent.kill()
    agent.start()
    lab.wait("a to be told", lambda: "revoked" in agent.tail())
    node = lab.node("a")["status"]
    assert node["revoked"] and not node["connected"]
    assert lab.node("b")["status"]["connected"]


def test_keys_are_private(lab):
    lab.add_agent("a")
    lab.wait_connected()
    for place in (lab.state, lab.agents["a"].state / "identity"):
        keys = [f for f in place.rglob("*") if f.is_file() and b"PRIVATE KEY" in f.read_bytes()]
        assert keys
        for key in keys:
            assert key.stat().st_mode & 0o077 == 0, key


def test_the_authority_issues_what_openssl_accepts(lab):
    lab.add_agent("a")
    lab.wait_connected()
    identity = (lab.agents["a"].state / "identity/node.pem").read_text()
    pems = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", identity, re.S)
    assert len(pems) == 3, "leaf, intermediate, root"
    chain = lab.folder / "chain"
    chain.mkdir()
    for name, pem in zip(["leaf", "intermediate", "root"], pems):
        (chain / name).write_text(pem)
    certificate = chain / "leaf"
    text = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-text"], capture_output=True, text=True,
                          check=True).stdout
    assert "URI:spiffe://fleet.example.org/node/a" in text
    assert "CA:FALSE" in text and "Digital Signature" in text
    verified = subprocess.run(["openssl", "verify", "-CAfile", chain / "root", "-untrusted", chain / "intermediate",
                               chain / "leaf"], capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize("lost", ["numbers of the node", "keys of the server"])
def test_a_node_is_heard_again_once_it_has_a_new_certificate(lab, fleet_repository, lost):
    start_fleet(lab, fleet_repository, ["a"])
    agent = lab.agents["a"]
    numbers = agent.state / "report-numbers"
    assert int(numbers.read_text()) > 0
    before = (agent.state / "identity/node.pem").read_text()
    if lost == "numbers of the node":
        agent.kill()
        numbers.unlink()
        agent.start()
    else:
        lab.server.kill()
        database = sqlite3.connect(next(lab.state.glob("*.db")))
        with database:
            assert database.execute("UPDATE certificates SET public_key = NULL WHERE kind = 'node'").rowcount > 0
        database.close()
        lab.start_server()
    lab.wait_connected()
    managed = agent.sysroot / "etc/edge.conf"
    managed.unlink()
    lab.wait("the node to be heard", lambda: lab.node("a")["status"]["driftCorrected"] >= 1)
    assert (agent.state / "identity/node.pem").read_text() != before
    assert not [e for e in lab.cli_json("events", "--limit", "1000")["items"] if e["type"] == "ReportRefused"]
