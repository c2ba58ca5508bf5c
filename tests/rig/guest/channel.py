"""The machine's end of `tests/rig/machine.py`: requests through a virtual serial port, one JSON object on each line.

{"script", "timeout_s"} runs a shell script and answers {"code", "out"}. {"pull": [[pin, level, seconds], ...]} pulls
lines of the simulated chip to levels, each after a number of seconds from the one before, and answers {"at": [monotonic
seconds of each]}. {"write", "content"} writes a file from base64 and answers {}.
"""

import base64
import glob
import json
import os
import subprocess
import time
from typing import Any

LINE = "/sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio{}/pull"
PULLS = (b"pull-down", b"pull-up")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    if "pull" in request:
        return {"at": pull(request["pull"])}
    if "write" in request:
        with open(beside := request["write"] + ".new", "wb") as file:
            file.write(base64.b64decode(request["content"]))
        os.rename(beside, request["write"])  # so that nobody reads half of it
        return {}
    process = subprocess.Popen(
        ["/bin/bash", "-c", request["script"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=request["timeout_s"])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, _ = process.communicate()
        return {"code": 124, "out": out.decode(errors="replace")}
    return {"code": process.returncode, "out": out.decode(errors="replace")}


def pull(steps: list[tuple[int, int, float]]) -> list[float]:
    lines = {pin: os.open(LINE.format(pin), os.O_WRONLY) for pin, _, _ in steps}
    at: list[float] = []
    due = time.monotonic()
    # A real contact does not wait for its reader: without this it would bounce for as long as the reader needs.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    for pin, level, seconds in steps:
        due += seconds
        if (early_s := due - time.monotonic()) > 0:
            time.sleep(early_s)
        os.pwrite(lines[pin], PULLS[level], 0)
        at.append(time.monotonic())
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for handle in lines.values():
        os.close(handle)
    return at


def main() -> None:
    while not (ports := glob.glob("/dev/vport*p1")):
        time.sleep(0.1)
    port = os.open(ports[0], os.O_RDWR)
    unread = b""
    while True:
        if not (more := os.read(port, 1 << 16)):  # nobody is at the other end
            time.sleep(0.05)
            continue
        *lines, unread = (unread + more).split(b"\n")
        for line in filter(None, lines):
            reply = json.dumps(answer(json.loads(line))).encode() + b"\n"
            while reply:
                reply = reply[os.write(port, reply) :]


main()
