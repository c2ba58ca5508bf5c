"""Runs `flowpi setup` on an image on a read-only file system, in a mount namespace: see `disks.alone`."""

import contextlib
import io
import json
import subprocess
import sys

from flowpi.cli import main as cli

image = sys.argv[1]
subprocess.run(["mount", "--bind", image, image], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", image], check=True)
said = io.StringIO()
with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
    code = cli.main(["setup", "--root", image])
print(json.dumps({"code": code, "said": said.getvalue()}))
