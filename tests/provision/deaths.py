"""Runs of `flowpi provision` that are killed: `python -m tests.provision.deaths DIRECTORY SCENARIO`, preloaded with
tests/rig/fatal.c, prints the state that each run left, as JSON.

Each process is killed before another of its calls that change the disk, the next one before one of its own, and then
one is left to end.
"""

import ctypes
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from flowpi.core.errors import FlowpiError
from flowpi.provision.boot_file import understand
from flowpi.provision.wifi_files import WPA_SUPPLICANT
from tests.provision.card import Card, meant

SECRET = "canary-new"
PADDING = "\n".join(["# so that the second secret is not in the first sector, nor in the first cluster"] * 30)
NEW = f"""\
device_id: desk
dictation: {{backends: [cloud]}}
backends: {{cloud: {{kind: flow, url: "wss://flow.example/ws", api_key: {SECRET}-cloud}}}}
{PADDING}
server: {{api_keys: [{SECRET}-org]}}
wifi: {{ssid: house, password: {SECRET}-wifi, country: DE}}
...
"""
OLD = NEW.replace(SECRET, "canary-old").replace("desk", "old-desk")
NETWORKS = {text: understand(text.encode(), "flowpi.yaml").network for text in (OLD, NEW)}
BAD = NEW.replace("kind: flow", "kind: flaw")


class Life(msgspec.Struct):
    """`before`: what it was killed before, or nothing. `state`: of /etc then: `old`, `new`, or `mixed`.

    `whole`: whether the person's file is in force or still there to be taken. `same`: whether the last of those that
    followed left what an undisturbed one leaves.
    """

    before: str
    state: str
    whole: bool
    same: bool


def live(card: Card, death: int) -> str:
    """Run one process, killed before call number `death` (0: not at all); return that call, if it was reached."""
    log = card.directory.parent / "log"
    child = os.fork()
    if child == 0:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        ctypes.CDLL(None).fatal_from_now(death)
        try:
            card.provision()
        except FlowpiError:
            os._exit(1)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(2)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, 1, -signal.SIGKILL):
        raise RuntimeError(f"{status}: {log.read_text()}")
    return log.read_text().removeprefix("fatal: killed before ").strip() if status == -signal.SIGKILL else ""


def state(card: Card, old: str | None, new: str) -> str:
    try:
        found = card.effective()
    except KeyError:
        return "mixed"
    before = NETWORKS[old] if old else None
    if found == (meant(old) if old else {}):
        # The network goes first, and each of the two is whole.
        return "old" if card.network in (before, NETWORKS[new]) else "mixed"
    return "new" if (found, card.network) == (meant(new), NETWORKS[new]) else "mixed"


def lives(directory: Path, scenario: str) -> list[Life]:
    chance = random.Random(0)
    old = None if scenario == "first" else OLD
    text = BAD if scenario == "bad" else NEW
    new = OLD if scenario == "bad" else NEW
    start = directory / "start"
    before = Card(start)
    before.installs(WPA_SUPPLICANT)
    if old:
        before.leave(old)
        before.provision()
    before.leave(text)
    undisturbed = copy(start, directory / "undisturbed")
    live(undisturbed, 0)
    expected = undisturbed.tree()
    found: list[Life] = []
    while not found or found[-1].before:
        card = copy(start, directory / "card")
        death = live(card, len(found) + 1)
        now = state(card, old, new)
        whole = (card.boot / "flowpi.yaml").is_file() and (card.boot / "flowpi.yaml").read_text() == text
        life = Life(death.replace(f"{card.directory}/", ""), now, whole or (now == "new" and scenario != "bad"), False)
        live(card, chance.randrange(1, len(found) + 2))
        if state(card, old, new) == "mixed":
            life.state = "mixed"
        live(card, 0)
        life.same = card.tree() == expected
        found.append(life)
    leftovers = b"".join(content for name, content in expected.items() if not name.startswith("etc/flowpi/credentials"))
    if scenario != "bad" and SECRET.encode() in leftovers:
        raise RuntimeError("secrets are left")
    return found


def copy(card: Path, to: Path) -> Card:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(card, to)
    return Card(to)


if __name__ == "__main__":
    import flowpi.appliance.daemon
    import flowpi.backends.chain
    import flowpi.provision.credentials  # noqa: F401  # imported once, not in each life

    sys.stdout.write(msgspec.json.encode(lives(Path(sys.argv[1]), sys.argv[2])).decode())
