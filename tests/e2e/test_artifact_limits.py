# SPDX-License-Identifier: Apache-2.0
"""What a node may take of its link: bytes a day, by time of day, never whole; and servers that stall."""
import random
import shutil
import time

from lab.artifacts import SIZE, shared_bytes
from lab.origin import Origin


def says(lab, *words):
    """The server shows a message of the node with these words."""
    lab.wait(f"the node to say {words}", lambda: all(word in lab.told() for word in words))


def noon(hours_after=0):
    """A time zone in which it is noon now, or later: no test runs over midnight, unless it wants to."""
    return f"XYZ{time.gmtime().tm_hour - 12 - hours_after}"


def restart(lab, *options, **environment):
    """The agent with other options, or in another time zone."""
    agent = lab.node_agent
    assert agent.stop() == 0
    agent.command += options
    agent.environment.update(environment)
    agent.start()


def test_never_full_waits_for_a_difference_and_says_why(street):
    lab = street.begin()
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    restart(lab, "--never-full")
    before = lab.node_agent.link.bytes_down
    lab.push("2.0.0", random.Random(3).randbytes(SIZE))
    lab.commit("2.0.0")
    says(lab, "web:2.0.0", "neverFull", "skerry-agent import")
    assert lab.node("n")["status"]["observed"]["state"] == "Downloading"
    assert lab.shown() == "1.0.0"
    assert lab.node_agent.link.bytes_down - before < SIZE // 2
    # What differs a little comes.
    data = bytearray(shared_bytes())
    data[700_000:700_400] = bytes(400)
    lab.push("3.0.0", bytes(data))
    lab.deploy("3.0.0")
    assert lab.node_agent.link.bytes_down - before < SIZE


def test_daily_budget_stops_and_says_when_it_goes_on(street):
    street.environment["TZ"] = noon()
    lab = street.begin("--daily-budget", "4M")
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    agent = lab.node_agent
    assert agent.stop() == 0
    # Metadata counts, too: more went than the payload.
    used = lab.transfer()["used"]
    assert SIZE < used < 4 << 20
    # Most of the day's budget is gone: too little is left for this one.
    lab.transfer(used=(4 << 20) - 600_000)
    agent.start()
    lab.push("2.0.0", random.Random(3).randbytes(SIZE))
    before = agent.link.bytes_down
    change = lab.commit("2.0.0")
    says(lab, "web:2.0.0", "today's budget", "goes on at 20")
    assert lab.shown() == "1.0.0"
    assert agent.link.bytes_down - before < 600_000
    # The next day.
    assert agent.stop() == 0
    lab.transfer(day=lab.transfer()["day"] - 1)
    agent.start()
    lab.wait("2.0.0 to show", lambda: lab.shown() == "2.0.0")
    lab.wait_rollout(change)
    assert agent.stop() == 0
    assert SIZE // 2 < lab.transfer()["used"] < 4 << 20


def test_metadata_waits_for_the_budget_too(street):
    street.environment["TZ"] = noon()
    lab = street.begin("--daily-budget", "4M")
    lab.push("1.0.0")
    lab.deploy("1.0.0")
    agent = lab.node_agent
    assert agent.stop() == 0
    lab.transfer(used=4 << 20)
    agent.start()
    lab.push("2.0.0")
    lab.commit("2.0.0")
    says(lab, "day's budget", "goes on at 20")
    # Past midnight.
    restart(lab, TZ=noon(hours_after=12))
    lab.wait("2.0.0 to show", lambda: lab.shown() == "2.0.0")


def test_time_of_day_without_bandwidth(street):
    street.environment["TZ"] = noon()
    lab = street.begin("--bandwidth", "none,09:00-17:00=0")
    lab.push("1.0.0")
    before = lab.node_agent.link.bytes_down
    lab.commit("1.0.0")
    says(lab, "not be used at this time", "goes on at 20")
    assert lab.node_agent.link.bytes_down - before < SIZE // 4
    restart(lab, TZ=noon(hours_after=9))
    lab.wait("1.0.0 to show", lambda: lab.shown() == "1.0.0")


def test_server_that_stalls_in_the_middle_of_a_body(street):
    lab = street
    origin = Origin(lab.folder / "mirror")
    try:
        lab.begin("--mirror", origin.url)
        lab.push("1.0.0")
        shutil.copytree(lab.repo.public, lab.folder / "mirror")
        # Only the mirror has the payload.
        for name in ("targets", "chunks", "deltas"):
            shutil.rmtree(lab.repo.public / name, ignore_errors=True)
        origin.misbehave(r"^(targets/|chunks/.*pack)", "stall", after=60_000, seconds=600)
        lab.commit("1.0.0")
        lab.wait("the mirror to be asked for bytes", lambda: origin.bytes_sent >= 60_000)

        def told():
            # It is no state: what came is kept, and the rest asked for at once.
            log = lab.node_agent.log.read_text(errors="replace")
            return "too slow" in log or "nearly nothing came" in log

        lab.wait("the node to say that the mirror stalls", told, timeout=180)
        assert lab.shown() is None
        origin.behave()
        lab.wait("1.0.0 to show", lambda: lab.shown() == "1.0.0", timeout=180)
    finally:
        origin.close()


def test_link_that_swallows_everything_for_a_while(street):
    lab = street.begin("--bandwidth", "300K", "--heartbeat", "2s")
    lab.push("1.0.0")
    before = lab.node_agent.link.bytes_down
    lab.commit("1.0.0")
    lab.wait("some of it to come", lambda: lab.node_agent.link.bytes_down - before > 200_000)
    lab.node_agent.link.blackhole()
    lab.wait("the node to notice", lambda: "edge" in lab.message() or "came" in lab.message() or
             "connect" in lab.message(), timeout=180)
    lab.node_agent.link.cut()
    lab.node_agent.link.restore()
    lab.wait("1.0.0 to show", lambda: lab.shown() == "1.0.0", timeout=180)


def test_budget_is_no_business_of_an_import(street):
    lab = street.begin("--daily-budget", "4M")
    lab.push("1.0.0")
    stick = lab.folder / "stick"
    shutil.copytree(lab.repo.public, stick)
    said = lab.run("src/agent/skerry-agent", "import", "--state", lab.node_agent.state, stick)
    assert "web:1.0.0" in said.stdout
    lab.deploy("1.0.0")
    assert lab.node_agent.stop() == 0
    # What was asked of the edge is metadata at most.
    assert lab.transfer()["used"] < SIZE // 4
