"""`make run`: it starts, prints an address that works, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulator.breaks import BREAKS, carry_out
from emulator.newcomer import CannotRun, local_app, port_of, settings
from emulator.run import APP, ask, free_port

CLIENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


class Run:
    """`python -m emulator` as a process, read until its hints are complete."""

    def __init__(self, *options, **settings):
        port, graph_port = free_port(), free_port()
        ports = {"PORT": str(port), "GRAPH_PORT": str(graph_port)}
        self.url, self.graph_url = (f"http://127.0.0.1:{one}" for one in (port, graph_port))
        self.environ = os.environ | ports | settings
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emulator", *options],
            cwd=APP,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if "Ctrl-C ends it." in line:
                break

    def read_until(self, text):
        """Read on until a line has this text; return that line."""
        for line in self.process.stdout:
            if text in line:
                return line
        return ""

    def children(self):
        """The pids of the processes it has started."""
        listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout
        rows = [line.split() for line in listed.splitlines()[1:]]
        return [int(pid) for pid, parent in rows if int(parent) == self.process.pid]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def run():
    started = Run()
    yield started
    started.close()


def gone(pids):
    """Whether all these processes have ended."""
    for _ in range(100):
        alive = [pid for pid in pids if _state(pid) != "Z"]
        if not alive:
            return True
        time.sleep(0.02)
    return False


def _state(pid):
    """The process's state; Z, ended, also when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_one_address_opens_the_page_and_one_call_is_answered_as_printed(run):
    """The key is in the fragment; the list has something of everything; it can be broken."""
    key = re.search(rf"^    {run.url}/api/report#key=([0-9a-f]{{32}})$", run.said, re.MULTILINE)[1]
    call, answer = re.search(r"^    (curl .*)\n    (.*)$", run.said, re.MULTILINE).groups()
    page = ask(f"{run.url}/api/report", {})
    listed = json.loads(ask(f"{run.url}/api/requests?limit=1000", {"x-functions-key": key}))
    got = subprocess.run(f"{call} -si", shell=True, capture_output=True, text=True).stdout
    command = [sys.executable, "-m", "emulator", "break", "throttle"]
    broken = subprocess.run(command, cwd=APP, env=run.environ, capture_output=True, text=True)

    assert b'data-sign-in="key"' in page
    assert {"graph", "package", "person", "unknown"} == {one["kind"] for one in listed["causes"]}
    assert {"cooling", "exhausted", "expired"} <= {one["plan"] for one in listed["value"]}
    assert {True, False} == {one["removal"] for one in listed["value"]}
    assert {"accepted", "refused"} == {one["lastOutcome"] for one in listed["value"]}
    assert any(len(one["history"]) == 5 for one in listed["value"])
    assert [0 < one["hoursLeft"] < 48 for one in listed["value"]].count(True)
    assert len({one["requestorEmail"] for one in listed["value"]}) > 50
    assert answer.startswith('202, "outcome": "accepted"')
    assert ("202 Accepted" in got, '"outcome": "accepted"' in got) == (True, True)
    words = f"{BREAKS['throttle'].words}; `make break HOW=mend` ends that\n"
    assert (0, words, "") == (broken.returncode, broken.stdout, broken.stderr)


def test_settings_reach_the_app_and_options_reach_graph():
    """An identity too; the first sweep starts at once."""
    started = Run(
        "--requests", "30", "--stale-seconds", "30", SWEEP_DRY_RUN="true", AZURE_CLIENT_ID=CLIENT_ID
    )
    try:
        line = started.read_until('"event": "sweep finished"')
        switches = json.loads(
            ask(f"{started.graph_url}/control/settings", {"X-Emulator-Control": "local"})
        )
    finally:
        started.close()

    report = json.loads(line[line.index("{") :])
    assert (True, True) == (report["dryRun"], 25 < report["found"] < 35)
    assert 30 == switches["staleSeconds"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_within_two_seconds_and_leaves_no_process(run, number):
    """Also when it is killed outright, its two processes end with it."""
    children = run.children()
    started = time.monotonic()

    run.process.send_signal(number)
    run.process.wait()

    assert 2 == len(children)
    assert gone(children)
    assert time.monotonic() - started < 2


# -- what cannot be run is said in one sentence --


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PORT": "many"}, "PORT is 'many' but should be a number from 1 to 65535"),
        ({"PORT": "65536"}, "PORT is '65536' but should be a number from 1 to 65535"),
        ({"SWEEP_DRY_RUN": "maybe"}, "SWEEP_DRY_RUN is 'maybe' but should be true or false"),
    ],
)
def test_a_wrong_setting_is_said(environ, words):
    with pytest.raises(CannotRun) as raised:
        local_app([], environ)

    assert words == str(raised.value)


def test_a_wrong_option_is_said_at_once():
    """And nothing is left running."""
    ended = Run("--requets", "3")
    code = ended.process.wait()
    ended.close()

    words = "python -m emulator.graph: error: unrecognized arguments: --requets 3"
    assert (1, f"{words}\n") == (code, ended.said)


def test_several_wrong_settings_are_all_said():
    """A misspelt one is wrong as well; a real storage account and Graph stay untouched."""
    with pytest.raises(CannotRun) as raised:
        settings({"SWEEP_DRYRUN": "true", "GRAPH_CLOUD": "mars"})
    kept = settings({"AzureWebJobsStorage": "real", "GRAPH_ENDPOINT": "http://127.0.0.1:1"})

    assert 2 == len(str(raised.value).splitlines())
    assert {"AzureWebJobsStorage", "GRAPH_ENDPOINT"}.isdisjoint(kept)


def test_a_taken_port_is_said_with_what_takes_it(app):
    """Started twice, it is the app itself; another program may take calls and never answer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = Run(PORT=str(port))
        other.process.wait()
        other.close()
    with pytest.raises(CannotRun) as raised:
        port_of({"PORT": str(app.port)}, "PORT", 7071)

    text = "port {} is taken by {}: choose another one, PORT=8080 make run"
    assert f"{text.format(port, 'another program')}\n" == other.said
    assert text.format(app.port, "the app, which runs already") == str(raised.value)


# -- breaking it --

# What the app then says; of `fail` and `silence` it takes as long as it waits for them.
SAID = {
    "throttle": (503, "throttled"),
    "deny": (502, "graph-denied"),
    "lose": (202, "accepted"),
    "identity": (502, "graph-denied"),
    "mend": (202, "accepted"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_break_is_what_it_says_until_it_is_mended(app, how):
    (request_id,) = app.failures(1)
    carry_out(how, app.graph_url)
    changed = app.control("GET", "settings")
    if how in SAID:
        for _ in range(10 if how == "throttle" else 0):
            app.call("GET", f"/api/requests/{request_id}")
        reply = app.reprocess(request_id)
        said = reply.body.get("outcome") or reply.body["type"].rpartition(":")[2]
        assert SAID[how] == (reply.status, said)
    carry_out("mend", app.graph_url)
    mended = app.control("GET", "settings")

    assert set(BREAKS[how].settings) == {name for name in changed if changed[name] != mended[name]}


# -- set-up --


def test_without_a_network_set_up_says_so_in_one_sentence(tmp_path):
    """And the next try starts anew."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(APP / "scripts" / "setup", tmp_path / "scripts" / "setup")
    for name in ("requirements.txt", "requirements-run.txt", "requirements-dev.txt"):
        shutil.copy(APP / name, tmp_path / name)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    nowhere = f"http://127.0.0.1:{free_port()}/simple"
    environ |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": nowhere, "PIP_RETRIES": "0"}
    done = subprocess.run(
        [tmp_path / "scripts" / "setup"], env=environ, capture_output=True, text=True
    )

    said = (done.stdout.splitlines(), done.stderr.splitlines())
    assert (1, [1, 1]) == (done.returncode, [len(lines) for lines in said])
    assert "the package index cannot be reached" in done.stderr
    assert [] == list((tmp_path / ".venv").glob("installed*"))
