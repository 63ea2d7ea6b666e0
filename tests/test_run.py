"""`make run`: it starts, says what to try, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulator.run import APP, ask, free_port

CLIENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


class Run:
    """`python -m emulator` as a process, read until its hints are complete."""

    def __init__(self, port, *options, **settings):
        environ = os.environ | {"PORT": str(port), **settings}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emulator", *options],
            cwd=APP,
            env=environ,
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
    started = Run(free_port())
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


def test_the_printed_curl_lines_work_when_pasted(run):
    """The first id is accepted and on its way; the sweep is started."""
    lines = re.findall(r"^    (curl .*)$", run.said, re.MULTILINE)
    answers = [
        subprocess.run(line, shell=True, capture_output=True, text=True).stdout for line in lines
    ]

    assert ["202 Accepted", "202 Accepted", "200 OK", "202 Accepted", "200 OK", "202 Accepted"] == [
        answer.splitlines()[0].removeprefix("HTTP/1.1 ") for answer in answers
    ]
    assert '"outcome": "accepted"' in answers[0]
    assert '"outcome": "wouldReprocess"' in answers[2]
    assert '"outcome": "alreadyDelivering"' in answers[3]


def test_of_three_access_packages_graph_may_deny_one():
    """The other two are swept, and the sweep's failure names the one; settings reach the app."""
    graph_port = str(free_port())
    settings = {"GRAPH_PORT": graph_port, "SWEEP_DRY_RUN": "true", "AZURE_CLIENT_ID": CLIENT_ID}
    options = ("--packages", "3", "--forbidden", "1", "--stale-seconds", "30")
    started = Run(free_port(), *options, **settings)
    try:
        swept = re.search(r"over (.+), of which Graph denies (.+) \((.+)\);", started.said)
        switches = ask(
            f"http://127.0.0.1:{graph_port}/control/settings", {"X-Emulator-Control": "local"}
        )
        sweep = re.search(r"^    (curl .*/admin/functions/sweep)$", started.said, re.MULTILINE)[1]
        subprocess.run(sweep, shell=True, check=True, capture_output=True)
        line = started.read_until('"event": "sweep finished"')
        failed = started.read_until("Executed 'Functions.sweep' (Failed")
    finally:
        started.close()

    names, denied, denied_id = swept.groups()
    turned = json.loads(switches)
    report = json.loads(line[line.index("{") :])
    assert names.split(", ")[2] == denied
    assert (turned["forbiddenPackages"], turned["staleSeconds"]) == ([denied_id], 30)
    assert (report["dryRun"], report["found"] > 0) == (True, True)
    assert denied_id in failed


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


def test_a_taken_port_is_said_in_one_line():
    """The line says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = Run(port)
        code = ended.process.wait()
        ended.close()

    assert (1, f"port {port} is taken: choose another one, PORT=8080 make run\n") == (
        code,
        ended.said,
    )
