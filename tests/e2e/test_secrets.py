# SPDX-License-Identifier: Apache-2.0
"""Secrets: SOPS files with age recipients, held against the real sops and age, and on their way to nodes."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

import fleets

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "build" / "tools"
PLAIN = """\
db:
  password: "se:cr#et \\"one\\""
  port: 5432
  ratio: 0.25
  "on": true
  list: [a, {deep: b}]
  multi: |
    line one
    line two
free_unencrypted: 7
"""
APP = """\
apiVersion: skerry/v1alpha1
kind: App
metadata: {{name: till}}
spec:
  driver: process
  command: [/bin/sh, -c, "cat $CREDENTIALS_DIRECTORY/key > $SKERRY_SYSROOT/seen.credential; echo $TOKEN > $SKERRY_SYSROOT/seen.token; cat $SKERRY_SYSROOT/etc/shop/key > $SKERRY_SYSROOT/seen.file; echo {text} started; exec sleep 100000"]
  readyTimeout: 60s
  stopTimeout: 2s
  secrets:
    - {{secret: shop.enc.yaml#db/token, environment: TOKEN}}
    - {{secret: shop.enc.yaml#db/token, credential: key}}
    - {{secret: shop.enc.yaml#db/token, path: /etc/shop/key, mode: "0440"}}
"""


@pytest.fixture
def tools():
    if not (TOOLS / "sops").exists() or not (TOOLS / "age-keygen").exists():
        pytest.skip("the real sops and age are not in build/tools: ./dev test installs them through the Go proxy")
    return TOOLS


@pytest.fixture
def memory():
    """A folder in memory, for what agents decrypt."""
    folder = tempfile.mkdtemp(prefix="skerry-test-", dir="/dev/shm")
    os.chmod(folder, 0o711)
    yield pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


def identity(lab, name):
    """An age identity of a person: its file, and its recipient. Made by our own agent's code through a node is not
    needed: 32 bytes in Bech32 are all there is to it."""
    path = lab.folder / f"{name}.age"
    secret = os.urandom(32)
    path.write_text(bech32("age-secret-key-", secret).upper() + "\n")
    return path


CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bech32(prefix, data):
    def step(state, value):
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            state ^= generator if top >> i & 1 else 0
        return state
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    words = [int(bits[i:i + 5], 2) for i in range(0, len(bits), 5)]
    state = 1
    for value in [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + words + [0] * 6:
        state = step(state, value)
    state ^= 1
    words += [state >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(CHARSET[w] for w in words)


def run(*command, check=True, **environment):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False,
                            env=dict(os.environ, **{k: str(v) for k, v in environment.items()}))
    assert not check or result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result


def keygen(tools, path):
    run(tools / "age-keygen", "-o", path)
    return next(line.split()[-1] for line in path.read_text().splitlines() if "public key" in line)


def test_sops_reads_ours_and_we_read_theirs(build, tools, tmp_path):
    skerry, sops = build / "src/cli/skerry", tools / "sops"
    me, other = tmp_path / "me.txt", tmp_path / "other.txt"
    mine, theirs = keygen(tools, me), keygen(tools, other)
    key, other_key = {"SOPS_AGE_KEY_FILE": me}, {"SOPS_AGE_KEY_FILE": other}
    plain, ours, file = tmp_path / "plain.yaml", tmp_path / "ours.yaml", tmp_path / "theirs.yaml"
    plain.write_text(PLAIN)

    # Ours, read by sops: value for value.
    run(skerry, "secret", "encrypt", "-r", mine, "-o", ours, plain)
    assert "se:cr" not in ours.read_text()
    for path, value in (('["db"]["password"]', 'se:cr#et "one"'), ('["db"]["port"]', "5432"), ('["db"]["on"]', "true"),
                        ('["db"]["list"][1]["deep"]', "b"), ('["free_unencrypted"]', "7")):
        assert run(sops, "-d", "--extract", path, ours, **key).stdout.strip() == value
    # Theirs: other recipients, another key, other values, by us; sops agrees after each step.
    file.write_text(run(sops, "-e", "--age", mine, plain).stdout)
    run(skerry, "secret", "add", "-r", theirs, file, **key)
    want = run(sops, "-d", "--output-type", "json", file, **key).stdout
    assert run(sops, "-d", "--output-type", "json", file, **other_key).stdout == want
    run(skerry, "secret", "rotate", file, **key)
    assert run(sops, "-d", "--output-type", "json", file, **other_key).stdout == want
    run(skerry, "secret", "edit", file, EDITOR="sed -i s/5432/5433/", VISUAL="", **key)
    assert run(sops, "-d", "--extract", '["db"]["port"]', file, **other_key).stdout.strip() == "5433"
    run(skerry, "secret", "remove", "-r", theirs, file, **key)
    assert run(sops, "-d", file, check=False, **other_key).returncode != 0
    assert run(sops, "-d", "--extract", '["db"]["password"]', file, **key).stdout.strip() == 'se:cr#et "one"'
    assert run(skerry, "secret", "recipients", file).stdout.split()[0] == mine
    # What sops edits we still take.
    run(sops, "--set", '["db"]["port"] 99', file, **key)
    run(skerry, "secret", "rotate", file, **key)
    assert run(sops, "-d", "--extract", '["db"]["port"]', file, **key).stdout.strip() == "99"
    # A value moved to another key is refused by both.
    text = file.read_text()
    file.write_text(text.replace("    password: ENC", "    passwort: ENC"))
    assert run(sops, "-d", file, check=False, **key).returncode != 0
    refused = run(skerry, "secret", "rotate", file, check=False, **key)
    assert refused.returncode == 1 and "changed, moved" in refused.stderr
    # A data key that sops wrapped is an age file that age opens, and one that we wrapped too.
    for sops_file in (ours, tmp_path / "again.yaml"):
        if not sops_file.exists():
            sops_file.write_text(run(sops, "-e", "--age", mine, plain).stdout)
        lines = sops_file.read_text().splitlines()
        begin, end = (next(i for i, line in enumerate(lines) if f"{word} AGE" in line) for word in ("BEGIN", "END"))
        armor = tmp_path / "key.age"
        armor.write_text("".join(line.strip() + "\n" for line in lines[begin:end + 1]))
        opened = subprocess.run([str(tools / "age"), "-d", "-i", str(me), str(armor)], capture_output=True, check=True)
        assert len(opened.stdout) == 32


def encrypt(lab, repository, value, recipients):
    """The fleet's secret file with this value, encrypted by the command line."""
    plain = lab.folder / "plain.yaml"
    plain.write_text(f"db:\n  token: {value}\n")
    arguments = [a for r in recipients for a in ("-r", r)]
    target = repository.tree / "shop" / "shop.enc.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    lab.cli("secret", "encrypt", *arguments, "-o", target, plain)
    plain.unlink()
    return target


def fleet(repository, text):
    repository.write("shop/fleet.yaml", """\
apiVersion: skerry/v1alpha1
kind: Fleet
metadata: {name: shop}
spec:
  selector: {matchLabels: {fleet: shop}}
  rollout: shop
  template: {apps: [till]}
""")
    repository.write("shop/till.yaml", APP.format(text=text))
    repository.write("shop/rollout.yaml", fleets.ROLLOUT.format(
        name="shop", waves='[{"name": "all"}]', max_failed=5, min_sample=1, deadline=120, defer=60, rollback="false"))


def recipient(lab, name):
    def told():
        return lab.node(name)["status"]["facts"].get("recipient")
    return lab.wait(f"{name} to tell its recipient", told)


def runs_with(agent, value):
    return all((agent.file(f"/seen.{what}") or "").strip() == value for what in ("credential", "token", "file"))


def holders(value, *folders):
    """Files that hold the plain text, in folders that no plain text may be in."""
    found = []
    for folder in folders:
        for path in pathlib.Path(folder).rglob("*"):
            if path.is_file() and not path.is_symlink() and value.encode() in path.read_bytes():
                found.append(str(path))
    return found


def test_only_recipients_read_a_secret(lab, memory):
    repository = lab.repository()
    lab.start_relay("relay")
    first = lab.add_agent("shop-1", {"fleet": "shop"}, relay="relay", options=["--secrets-folder", memory / "one"])
    second = lab.add_agent("shop-2", {"fleet": "shop"}, options=["--secrets-folder", memory / "two"])
    lab.wait_connected()
    me = identity(lab, "me")
    lab.environment["SOPS_AGE_KEY_FILE"] = str(me)
    value = "plain-ebb-and-flow-1"
    target = encrypt(lab, repository, value, [recipient(lab, "shop-1")])
    fleet(repository, "one")
    lab.add_source(repository)
    repository.commit("a secret for one of two")
    lab.notify()

    lab.wait("shop-1 to run with its secret", lambda: runs_with(first, value), 120)
    lab.wait("shop-2 to say what it lacks",
             lambda: "no recipient of shop/shop.enc.yaml" in str(lab.node("shop-2")["status"]["apps"]), 120)
    said = str(lab.node("shop-2")["status"]["apps"])
    assert "skerry secret add --node shop-2 shop/shop.enc.yaml" in said
    assert not runs_with(second, value)
    # Who cannot read it is told beforehand, too.
    check = lab.cli("secret", "check", repository.tree, check=False)
    assert check.returncode == 1 and "node shop-2 of fleet shop is no recipient" in check.stdout
    assert "shop-2" in str(lab.source()["status"])
    # Where it lies on the node: a link into memory, with the mode asked for; the identity is ours alone.
    link = first.sysroot / "etc/shop/key"
    assert link.is_symlink() and str(link.readlink()).startswith(str(memory / "one"))
    assert link.stat().st_mode & 0o777 == 0o440
    assert (first.state / "identity/age-identity.txt").stat().st_mode & 0o777 == 0o600

    # Killed in the middle of things it leaves nothing on disk, and takes up again what it had.
    first.kill()
    first.start()
    lab.wait("shop-1 to be back", lambda: (first.status() or {}).get("state") == "Healthy" and link.exists(), 120)
    # Put away by hand, it is put back.
    for name in ("seen.credential", "seen.token", "seen.file"):
        (first.sysroot / name).unlink(missing_ok=True)

    # Nobody else has seen it: server, database, relay, objects, logs, nodes' state; nor plan nor status.
    outside = [lab.state, lab.folder / "relay", lab.folder / "logs", repository.bare, repository.tree, first.state,
               second.state, second.sysroot]
    assert holders(value, *outside) == []
    shown = lab.cli("plan", "--server", repository.tree, check=False)
    assert "that cannot read" in shown.stderr and "shop-2" in shown.stderr
    for text in (shown.stdout + shown.stderr, str(lab.nodes()), str(lab.fleet("shop")), str(lab.rollouts()),
                 lab.cli("events", check=False).stdout, (first.state / "status.json").read_text()):
        assert value not in text
    assert target.read_text().count("ENC[") == 2


def test_a_new_recipient_and_a_new_value_roll_out(lab, memory):
    repository = lab.repository()
    agent = lab.add_agent("shop-1", {"fleet": "shop"}, options=["--secrets-folder", memory / "one"])
    lab.wait_connected()
    nodes = recipient(lab, "shop-1")
    # The person's recipient comes out of the person's identity: a file encrypted for the node alone cannot be added to.
    me = identity(lab, "me")
    alone = encrypt(lab, repository, "never-shown-0", [nodes])
    lab.environment["SOPS_AGE_KEY_FILE"] = str(me)
    refused = lab.cli("secret", "rotate", alone, check=False)
    assert refused.returncode == 1 and "none of the identities" in refused.stderr or "is no recipient" in refused.stderr
    # The node's own identity stands in for the person's here.
    lab.environment["SOPS_AGE_KEY_FILE"] = str(agent.state / "identity/age-identity.txt")
    fleet(repository, "one")
    lab.add_source(repository)
    repository.commit("a secret")
    lab.notify()
    lab.wait("the first value", lambda: runs_with(agent, "never-shown-0"), 120)
    pid = lab.wait("its process", lambda: process_of(agent))

    # Another recipient is no reason to restart anything; another value is.
    other = lab.add_agent("shop-2", {"fleet": "other"}, options=["--secrets-folder", memory / "two"])
    lab.wait_connected()
    target = repository.tree / "shop/shop.enc.yaml"
    recipient(lab, "shop-2")
    lab.cli("secret", "add", "--node", "shop-2", target)
    lab.wait_rollout(push(lab, repository, "another recipient"), fleet="shop")
    assert process_of(agent) == pid
    lab.environment["EDITOR"] = "sed -i s/never-shown-0/never-shown-2/"
    lab.environment["VISUAL"] = ""
    lab.cli("secret", "edit", target)
    lab.wait_rollout(push(lab, repository, "another value"), fleet="shop")
    lab.wait("the second value", lambda: runs_with(agent, "never-shown-2"), 120)
    assert process_of(agent) != pid
    # Taken out again: encrypted anew, rolled out, and the removed one can read it no more.
    lab.cli("secret", "remove", "--node", "shop-2", target)
    lab.wait_rollout(push(lab, repository, "one recipient fewer"), fleet="shop")
    listed = lab.cli("secret", "recipients", target).stdout
    assert "shop-1" in listed and "shop-2" not in listed
    assert holders("never-shown-2", lab.state, lab.folder / "logs", repository.tree, agent.state, other.state) == []


def test_killed_while_applying_it_leaves_no_plain_text_on_disk(lab, memory):
    repository = lab.repository()
    agent = lab.add_agent("shop-1", {"fleet": "shop"}, options=["--secrets-folder", memory / "one"])
    lab.wait_connected()
    nodes = recipient(lab, "shop-1")
    lab.environment["SOPS_AGE_KEY_FILE"] = str(identity(lab, "me"))
    fleet(repository, "one")
    encrypt(lab, repository, "tide-0", [nodes])
    lab.add_source(repository)
    push(lab, repository, "a secret")
    lab.wait("the first value", lambda: runs_with(agent, "tide-0"), 120)
    for i in range(1, 7):
        encrypt(lab, repository, f"tide-{i}", [nodes])
        push(lab, repository, f"value {i}")
        time.sleep(0.03 * i)  # somewhere else each time; nothing hangs on where
        agent.kill()
        assert holders("tide-", agent.state, lab.state, lab.folder / "logs") == []
        agent.start()
    lab.wait("the last value", lambda: runs_with(agent, "tide-6"), 120)
    assert holders("tide-", agent.state, lab.state, lab.folder / "logs") == []
    lab.wait("nothing older to be left in memory",
             lambda: {path.read_text() for path in memory.rglob("*") if path.is_file()} == {"tide-6"})


@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs an agent that runs as root")
def test_a_credential_is_for_the_apps_user_alone(lab, memory):
    repository = lab.repository()
    agent = lab.add_agent("shop-1", {"fleet": "shop"}, options=["--secrets-folder", memory / "one"])
    lab.wait_connected()
    encrypt(lab, repository, "eleven-byte", [recipient(lab, "shop-1")])
    fleet(repository, "one")
    repository.write("shop/till.yaml", """\
apiVersion: skerry/v1alpha1
kind: App
metadata: {name: till}
spec:
  driver: process
  user: "65534"
  command: [/bin/sh, -c, "echo as $(id -u): $(wc -c < $CREDENTIALS_DIRECTORY/key) $${#TOKEN}; exec sleep 100000"]
  secrets:
    - {secret: shop.enc.yaml#db/token, environment: TOKEN}
    - {secret: shop.enc.yaml#db/token, credential: key}
""")
    lab.add_source(repository)
    push(lab, repository, "a secret for nobody")
    log = agent.state / "logs/till.log"
    lab.wait("the process to read it", lambda: log.exists() and "as 65534: 11 11" in log.read_text(), 120)
    key = next(memory.rglob("credentials/key"))
    assert (key.stat().st_uid, key.stat().st_mode & 0o777) == (65534, 0o400)
    assert (key.parent.stat().st_uid, key.parent.stat().st_mode & 0o777) == (65534, 0o500)
    # Taken out of the fleet it leaves nothing behind.
    repository.replace("shop/fleet.yaml", "apps: [till]", "files: [{path: /etc/note, content: closed}]")
    push(lab, repository, "no app")
    lab.wait("the plain text to go", lambda: [p for p in memory.rglob("*") if p.is_file()] == [], 120)


def process_of(agent):
    try:
        return json.loads((agent.state / "run/till.json").read_text())["pid"]
    except (OSError, ValueError):
        return None


def push(lab, repository, message):
    commit = repository.commit(message)
    lab.notify()
    return commit
