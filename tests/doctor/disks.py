"""Small disks, and folders of another user, for the doctor to check.

Run by `tests.rig.disks.alone("tests.doctor.disks", PLACE)`.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flowpi.config.schema import Config, FilesSettings, PublishSettings, SocketSettings, SpoolSettings
from flowpi.doctor import sockets
from flowpi.doctor.disk import examine, look_at
from flowpi.doctor.findings import Finding
from flowpi.doctor.microphone import may_use_sound
from flowpi.host.paths import SYSTEM_STATE
from tests.rig.disks import make_ext4, memory, mounted, sh, shut_down

NOBODY = 65534


def findings(place: Path) -> Iterator[tuple[str, Finding | None]]:
    with memory(place / "a", size="8m") as disk:
        yield "full", look_at("sound", disk / "spool", 1)
        publish = PublishSettings(
            socket=SocketSettings(path=f"{disk}/sock"), files=FilesSettings(directory=f"{disk}/texts")
        )
        for folder in ("spool", "texts"):
            (disk / folder).mkdir()
        (one,) = examine(Config(publish=publish, spool=SpoolSettings(directory=f"{disk}/spool")))
        yield "both full", one
    with memory(place / "b", size="64m") as disk:
        yield "low", look_at("sound", disk / "spool", 512)
    with memory(place / "c", size="64m", inodes="50") as disk:
        yield "no inodes", look_at("sound", disk / "spool", 1)
    with mounted("tmpfs", place / "d", kind="tmpfs", options="ro,size=64m") as disk:
        yield "read-only", look_at("sound", disk / "spool", 1)
    make_ext4(place / "image", 64)
    with mounted(place / "image", place / "e") as disk:
        (disk / "spool").mkdir()
        shut_down(disk)
        yield "torn out", look_at("sound", disk / "spool" / "kept", 1)
    sh("mkdir", "-p", SYSTEM_STATE.parent)
    with mounted("tmpfs", SYSTEM_STATE.parent, kind="tmpfs", options="size=64m,mode=0755"):
        (SYSTEM_STATE / "spool").mkdir(parents=True)
        yield "root's", look_at("sound", SYSTEM_STATE / "spool", 1)
        os.chown(SYSTEM_STATE, 7, 7)
        os.chown(SYSTEM_STATE / "spool", 8, 8)
        yield "another user's", look_at("sound", SYSTEM_STATE / "spool", 1)
        SYSTEM_STATE.chmod(0o700)
        private = SYSTEM_STATE.parent / "private"
        private.mkdir()
        path = SYSTEM_STATE.parent / "flowpi.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        os.setresuid(NOBODY, NOBODY, 0)
        yield (
            "a private socket",
            sockets.examine(Config(publish=PublishSettings(socket=SocketSettings(path=str(path)))))[0],
        )
        yield "the service's", look_at("sound", SYSTEM_STATE / "spool", 1)
        yield "another's", look_at("sound", private / "spool", 1)
        yield "another's own", look_at("sound", private, 1)
        for kind, mode in (("nobody", 0o600), ("all", 0o666)):
            os.setresuid(0, 0, 0)
            card = SYSTEM_STATE.parent / "snd" / "controlC0"
            card.parent.mkdir(exist_ok=True)
            card.touch()
            card.chmod(mode)
            os.setresuid(NOBODY, NOBODY, 0)
            code = "works" if may_use_sound(card.parent) else "skipped"
            yield f"sound for {kind}", Finding("sound", "ok", code, "")
        os.setresuid(0, 0, 0)
        listener.close()


if __name__ == "__main__":
    print(json.dumps({kind: msgspec.to_builtins(found) for kind, found in findings(Path(sys.argv[1]))}))
