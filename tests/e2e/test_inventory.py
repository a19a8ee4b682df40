# SPDX-License-Identifier: Apache-2.0
"""Nodes by what their machines are, made known before they come, replaced by other hardware, there twice."""
import json
import platform
import shutil
import subprocess



def write_machine_id(agent, machine):
    etc = agent.sysroot / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "machine-id").write_text(machine + "\n")


def condition(lab, node, kind):
    return next((c for c in lab.node(node)["status"]["conditions"] if c["type"] == kind), None)


def names(lab, selector):
    return sorted(n["metadata"]["name"] for n in lab.cli_json("get", "nodes", "-l", selector)["items"])


def test_facts_choose_nodes(lab):
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    lab.add_agent("a", {"fleet": "edge"})
    lab.add_agent("b")
    lab.wait_connected()
    lab.wait("the facts", lambda: all(n["status"]["facts"].get("arch") == arch for n in lab.nodes().values()))
    facts = lab.node("a")["status"]["facts"]
    assert facts["memoryBytes"] > 1 << 20 and facts["diskBytes"] > 0 and facts["cpus"] >= 1
    assert isinstance(facts["tpm"], bool) and isinstance(facts["addresses"], list)
    assert names(lab, f"facts.arch={arch}") == ["a", "b"]
    assert names(lab, f"facts.arch={arch},fleet=edge") == ["a"]
    assert names(lab, "facts.arch=vax") == [] and names(lab, f"facts.cpus in ({facts['cpus']})") == ["a", "b"]
    assert "facts.arch" not in lab.node("a")["metadata"]["labels"]


def test_import(lab, tmp_path):
    table = tmp_path / "nodes.csv"
    table.write_text('name,machineId,site,role\nshop-1,00aa,kiel,"shop"\nShop 2,,ulm,\nshop-1,,ulm,\nshop-3,xyz,ulm,\n')
    for options in (["--dry-run"], []):
        refused = lab.cli("node", "import", table, *options, check=False)
        assert refused.returncode == 1
        told = refused.stderr.splitlines()
        assert told[0].startswith(f"{table}:3: name: Shop 2 is not a DNS label")
        assert told[1].startswith(f"{table}:4: node shop-1 is in the list twice")
        assert told[2].startswith(f"{table}:5: machineId: xyz")
        assert "nothing was changed" in told[3]
        assert lab.nodes() == {}
    for text, words in (("a,b\n1,2\n", "one of them 'name'"), ('name\n"x', "line 2: the quote"),
                        ("name\na,b\n", "line 2: more fields"), ('{"nodes": 7}', "expected a list"), ("[1", "nodes.csv")):
        table.write_text(text)
        refused = lab.cli("node", "import", table, check=False)
        assert refused.returncode == 1 and words in refused.stderr, refused.stderr

    table.write_text('name,machineId,site,role\r\nshop-1,00aa,kiel,"shop"\r\n"shop-2",,ulm,\r\n')
    assert "2 nodes would be made known" in lab.cli("node", "import", table, "--dry-run").stdout
    assert lab.nodes() == {}
    lab.cli("node", "import", table, "--reason", "the new shops")
    listed = tmp_path / "nodes.json"
    listed.write_text(json.dumps([{"name": "shop-3", "labels": {"site": "bonn"}, "machineId": "00cc"}]))
    assert lab.cli_json("node", "import", listed)["imported"] == 1
    lab.server.kill()
    lab.start_server()
    assert set(lab.nodes()) == {"shop-1", "shop-2", "shop-3"}
    assert lab.node("shop-1")["status"]["expected"] is True
    assert lab.node("shop-1")["metadata"]["labels"] == {"site": "kiel", "role": "shop"}
    record = lab.cli_json("audit", "list")["items"][-2]
    assert record["act"] == "node.import" and record["detail"]["nodes"] == ["shop-1", "shop-2"]

    # The machine that is named gets the name; another one does not.
    wrong = lab.add_agent("shop-1", {"fleet": "edge"}, start=False)
    write_machine_id(wrong, "00bb")
    wrong.start()
    lab.wait("the wrong machine to be refused",
             lambda: "is expected to be another machine" in wrong.log.read_text(errors="replace"))
    wrong.kill()
    shutil.rmtree(wrong.state, ignore_errors=True)
    write_machine_id(wrong, "00aa")
    wrong.start()
    lab.wait("the right one to come", lambda: lab.node("shop-1")["status"]["connected"])
    assert lab.node("shop-1")["status"]["expected"] is False
    assert lab.node("shop-1")["metadata"]["labels"] == {"site": "kiel", "role": "shop", "fleet": "edge"}
    again = lab.cli("node", "import", table, check=False)
    assert again.returncode == 1 and f"{table}:2: node shop-1 is known already" in again.stderr


def test_another_machine_takes_the_place(lab):
    old = lab.add_agent("till", {"fleet": "edge"}, start=False)
    write_machine_id(old, "00aa")
    old.start()
    lab.wait_connected(["till"])
    lab.cli("node", "label", "till", "site=kiel")
    new = lab.add_agent("spare", token=lab.token("--labels", "fleet=edge"), start=False)
    new.command[new.command.index("--name") + 1] = "till"
    write_machine_id(new, "00bb")
    new.start()
    lab.wait("the new machine to be refused",
             lambda: "another machine holds a certificate" in new.log.read_text(errors="replace"))
    new.kill()
    lab.cli("node", "replace", "till", "--reason", "its disk died")
    assert lab.node("till")["status"]["replaceUntil"]
    lab.cli("node", "replace", "till", "--cancel")
    assert lab.node("till")["status"]["replaceUntil"] is None
    lab.cli("node", "replace", "till", "--reason", "its disk died")
    shutil.rmtree(new.state, ignore_errors=True)
    new.start()
    lab.wait("the new machine in its place",
             lambda: lab.node("till")["status"]["connected"] and
             lab.node("till")["status"]["facts"].get("machineId") == "00bb")
    assert lab.node("till")["metadata"]["labels"] == {"fleet": "edge", "site": "kiel"}
    assert lab.node("till")["status"]["replaceUntil"] is None
    assert "NodeReplaced" in [e["type"] for e in lab.cli_json("events")["items"]]
    acts = [r["act"] for r in lab.cli_json("audit", "list")["items"]]
    assert acts.count("node.replace") == 3
    assert lab.cli("node", "replace", "nobody", check=False).returncode == 1
    assert lab.cli("node", "replace", "till", "--within", "40d", check=False).returncode == 64


def test_a_copied_identity_is_noticed(lab):
    one = lab.add_agent("till", {"fleet": "edge"}, start=False)
    write_machine_id(one, "00aa")
    one.start()
    lab.wait_connected(["till"])
    one.kill()
    two = lab.add_agent("copy", start=False)
    two.command = [part.replace("nodes/copy", "nodes/till-copy") for part in two.command]
    (lab.folder / "nodes/till-copy").mkdir(parents=True)
    subprocess.run(["cp", "-a", one.state, lab.folder / "nodes/till-copy/state"], check=True)  # sockets, too
    two.sysroot = lab.folder / "nodes/till-copy/root"
    write_machine_id(two, "00bb")
    two.start()
    lab.wait("the alarm", lambda: condition(lab, "till", "Unique"))
    assert "its key is used on machine 00bb" in condition(lab, "till", "Unique")["message"]
    assert "NodeDuplicate" in [e["type"] for e in lab.cli_json("events")["items"]]
