# SPDX-License-Identifier: Apache-2.0
"""The audit log: every act of a person leaves its record, none can be tampered with unseen, and a kill never leaves
an act without its record or a record without its act."""
import hashlib
import json
import os
import pty
import random
import re
import select
import sqlite3
import ssl
import threading
import time
import urllib.error
import urllib.request

import fleets
import pytest


def records(lab):
    return lab.cli_json("audit", "list")["items"]


def digest_of(record):
    """As anybody can compute it who never saw our code: SHA-256 of the JSON without blanks, keys in order."""
    bare = {k: v for k, v in record.items() if k != "digest"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def call(lab, method, path, body=None):
    request = urllib.request.Request(
        f"https://127.0.0.1:{lab.api_port}/api/v1{path}", method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": "Bearer " + lab.token_file.read_text().strip()})
    with urllib.request.urlopen(request, timeout=20, context=ssl._create_unverified_context()) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def test_every_act_leaves_a_record(lab, fleet_repository):
    fleets.write(fleet_repository, text="one", waves=[{"name": "all", "pause": {"duration": "10m"}}])
    fleet_repository.commit("One")
    lab.add_source(fleet_repository, "fleet", "--reason", "the shop's fleet")
    lab.add_agent("a", {"fleet": "edge"})
    lab.wait_connected()
    fleets.write(fleet_repository, text="two", waves=[{"name": "all", "pause": {"duration": "10m"}}])
    fleet_repository.commit("Two")
    lab.notify()
    lab.wait("a rollout", lambda: lab.rollouts("edge"))
    rollout = lab.rollouts("edge")[0]["metadata"]["name"]

    lab.cli("rollout", "pause", rollout, "--reason", 'a "look" at Köln')
    lab.cli("rollout", "resume", rollout)
    lab.cli("rollout", "abort", rollout, "--no-rollback", "-r", "bad weather")
    lab.cli("node", "label", "a", "site=kiel", "--reason", "moved")
    lab.cli("node", "revoke", "a", "--reason", "stolen")
    lab.cli("node", "delete", "a", "--reason", "gone for good")
    token = lab.cli_json("token", "create", "--reason", "for the shop")["metadata"]["name"]
    lab.cli("token", "delete", token, "--reason", "not needed & done?")
    lab.cli("source", "remove", "fleet", "--reason", "the end")
    made = lab.run("src/server/skerry-server", "admin-token", "create", "--state", lab.state, "--name", "ada")
    admin = made.stdout.strip().split("_")[1].split(".")[0]
    lab.run("src/server/skerry-server", "admin-token", "delete", "--state", lab.state, admin, "--reason", "left us")

    log = records(lab)
    assert [r["sequence"] for r in log] == list(range(1, len(log) + 1))
    found = [(r["act"], r["on"]["name"], r.get("reason")) for r in log]
    assert found[0][0] == "admin-token.create" and log[0]["actor"] == "skerry-server init"
    wanted = [("source.create", "fleet", "the shop's fleet"), ("rollout.pause", rollout, 'a "look" at Köln'),
              ("rollout.resume", rollout, None), ("rollout.abort", rollout, "bad weather"),
              ("node.label", "a", "moved"), ("node.revoke", "a", "stolen"), ("node.delete", "a", "gone for good"),
              ("token.create", token, "for the shop"), ("token.delete", token, "not needed & done?"),
              ("source.delete", "fleet", "the end"), ("admin-token.create", "ada", None),
              ("admin-token.delete", "ada", "left us")]
    assert [f for f in found if f in wanted] == wanted
    by_act = {r["act"]: r for r in log}
    assert by_act["rollout.pause"]["actor"] == "init"
    assert by_act["rollout.pause"]["address"].startswith("127.0.0.1")
    assert len(by_act["rollout.pause"]["token"]) == 10 and by_act["rollout.pause"]["detail"] == {"fleet": "edge"}
    assert by_act["rollout.abort"]["detail"]["rollback"] is False
    assert by_act["node.label"]["detail"]["set"] == {"site": "kiel"}
    assert by_act["admin-token.delete"]["address"] == "console"
    secret = lab.token_file.read_text().strip().split(".")[1]
    assert secret not in json.dumps(log)

    previous = "0" * 64
    for record in log:
        assert record["previous"] == previous and record["digest"] == digest_of(record)
        previous = record["digest"]
    head = lab.cli("audit", "head").stdout.strip()
    assert head == f"{len(log)}:{previous}"
    assert f"Head: {head}" in lab.cli("audit", "verify", "--head", head).stdout

    # What was refused leaves no record.
    assert lab.cli("rollout", "pause", rollout, check=False).returncode != 0
    assert lab.cli("node", "revoke", "nobody", check=False).returncode != 0
    assert len(records(lab)) == len(log)

    # The list can be cut to size, and is a table for people.
    assert [r["sequence"] for r in lab.cli_json("audit", "list", "--after", "3", "--limit", "2")["items"]] == [4, 5]
    assert len(lab.cli_json("audit", "list", "--since", "1h")["items"]) == len(log)
    assert lab.cli_json("audit", "list", "--since", "2100-01-01T00:00:00Z")["items"] == []
    assert "node.revoke" in lab.cli("audit", "list").stdout
    assert lab.cli("audit", "list", "--since", "yesterday", check=False).returncode == 64


def test_tampering_is_found(lab, tmp_path):
    for number in range(8):
        lab.token("--reason", f"number {number}")
    head = lab.cli("audit", "head").stdout.strip()
    export = tmp_path / "log.json"
    export.write_text(lab.cli("audit", "list", "-o", "json").stdout)
    lines = tmp_path / "log.lines"
    lines.write_text("".join(json.dumps(r) + "\n" for r in json.loads(export.read_text())["items"]))
    part = tmp_path / "part.json"
    part.write_text(lab.cli("audit", "list", "-o", "json", "--after", "4").stdout)
    for file in export, lines:
        assert "are whole" in lab.cli("audit", "verify", file, "--head", head).stdout
    assert "what came before" in lab.cli("audit", "verify", part).stdout
    lab.server.stop()
    assert "are whole" in lab.cli("audit", "verify", export).stdout, "needs no server"

    def spoiled(change):
        items = json.loads(export.read_text())["items"]
        change(items)
        file = tmp_path / "spoiled.json"
        file.write_text(json.dumps({"kind": "AuditList", "items": items}))
        result = lab.cli("audit", "verify", file, "--head", head, "-o", "json", check=False)
        assert result.returncode == 1
        return json.loads(result.stdout)["problem"]

    assert "record 4 was altered" in spoiled(lambda i: i[3].update(actor="nobody"))
    assert "record 4 is missing" in spoiled(lambda i: i.pop(3))
    assert "were moved" in spoiled(lambda i: i.insert(2, i.pop(5)))
    assert "record 9 is missing" in spoiled(lambda i: i.pop())

    def anew(items):  # a whole chain of one's own making is betrayed by the head that was noted
        items[3]["reason"] = "another"
        for before, record in zip(items[2:], items[3:]):
            record["previous"] = before["digest"]
            record["digest"] = digest_of(record)
    assert "record 9 is not the one whose digest was noted" in spoiled(anew)

    database = lab.state / "skerry.db"
    copy = database.read_bytes()

    def verify(*statements):
        database.write_bytes(copy)
        with sqlite3.connect(database) as db:
            for statement in statements:
                assert db.execute(statement).rowcount > 0
        db.close()
        lab.start_server()
        result = lab.cli("audit", "verify", check=False)
        assert result.returncode == (1 if statements else 0), result.stdout
        lab.token()  # and the log goes on
        again = lab.cli("audit", "verify", check=False)
        assert again.returncode == result.returncode
        assert re.findall(r"record \d+", again.stderr)[:1] == re.findall(r"record \d+", result.stderr)[:1]
        lab.server.stop()
        return result.stderr

    for leftover in "skerry.db-wal", "skerry.db-shm":
        assert not (lab.state / leftover).exists(), "the copy is whole"
    verify()
    assert "record 5 was altered" in verify("UPDATE audit SET record = replace(record, 'number', 'nummer') "
                                            "WHERE sequence = 5")
    assert "record 5 was altered" in verify(f"UPDATE audit SET digest = '{'0' * 64}' WHERE sequence = 5")
    assert "what follows record 4 is no audit record" in verify("UPDATE audit SET record = 'x' WHERE sequence = 5")
    assert "records 5 to 6 are missing" in verify("DELETE FROM audit WHERE sequence IN (5, 6)")
    assert "record 1 is missing" in verify("DELETE FROM audit WHERE sequence = 1")
    assert "record 9 is missing" in verify("DELETE FROM audit WHERE sequence = 9")
    assert "record 2 is missing, or was moved" in verify("UPDATE audit SET sequence = 100 WHERE sequence = 2",
                                    "UPDATE audit SET sequence = 2 WHERE sequence = 3",
                                    "UPDATE audit SET sequence = 3 WHERE sequence = 100")
    database.write_bytes(copy)
    lab.start_server()


def test_a_reason_may_be_required(lab):
    lab.server.stop()
    lab.server.command.append("--require-reason")
    lab.start_server()
    before = len(records(lab))
    refused = lab.cli("token", "create", check=False)
    assert refused.returncode == 1 and "--reason" in refused.stderr
    refused = lab.cli("token", "create", "--reason", "  ", check=False)
    assert refused.returncode == 1
    with pytest.raises(urllib.error.HTTPError) as error:
        call(lab, "POST", "/tokens", {"reason": "x" * 501})
    assert error.value.code == 422
    for reason in "%ff", "x" * 501:
        token = call(lab, "POST", "/tokens", {"reason": "why not"})["metadata"]["name"]
        with pytest.raises(urllib.error.HTTPError) as error:
            call(lab, "DELETE", f"/tokens/{token}?reason={reason}")
        assert error.value.code in (400, 422)
        call(lab, "DELETE", f"/tokens/{token}?reason=done")
    lab.cli("token", "create", "--reason", "said so")
    assert [r["reason"] for r in records(lab)[before:]] == ["why not", "done", "why not", "done", "said so"]

    # At a terminal a person is asked.
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(lab.environment)
        os.execv(lab.build / "src/cli/skerry", ["skerry", "token", "create"])
    seen, answered, end = b"", False, time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        if b"Reason:" in seen and not answered:
            os.write(terminal, b"asked for it\n")
            answered = True
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, seen
    assert b"skj_" in seen
    assert records(lab)[-1]["reason"] == "asked for it"


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        given = os.environ.get("SKERRY_SEED")
        first = int(given) if given else random.SystemRandom().randrange(1 << 30)
        count = 1 if given else 6 if os.environ.get("SKERRY_TEST_ALL") else 2
        metafunc.parametrize("seed", [first + i for i in range(count)])


def test_kills_leave_acts_and_records_together(lab, seed):
    """Several clients act while the server is killed again and again; after each start the books agree."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    told, lock = set(), threading.Lock()
    for _ in range(4):
        going = threading.Event()
        going.set()

        def act():
            while going.is_set():
                try:
                    name = call(lab, "POST", "/tokens", {"ttlSeconds": 3600, "reason": "storm"})["metadata"]["name"]
                    with lock:
                        told.add(name)
                    if name[0] < "h":
                        call(lab, "DELETE", f"/tokens/{name}?reason=calm")
                except (OSError, urllib.error.URLError, ssl.SSLError, ValueError):
                    time.sleep(0.01)
                except Exception as error:  # http.client tells of cut answers in many ways
                    if "http.client" not in type(error).__module__:
                        raise
        clients = [threading.Thread(target=act) for _ in range(3)]
        for client in clients:
            client.start()
        time.sleep(0.05 + dice.random() * 0.6)
        lab.server.kill()
        going.clear()
        for client in clients:
            client.join()
        lab.start_server()

        log = records(lab)
        made = {r["on"]["name"] for r in log if r["act"] == "token.create"}
        gone = {r["on"]["name"] for r in log if r["act"] == "token.delete"}
        there = {t["metadata"]["name"] for t in call(lab, "GET", "/tokens")["items"]}
        assert made - gone == there, "an act without a record, or a record without an act"
        assert told <= made, "what was answered is remembered"
        lab.cli("audit", "verify")
    assert told
