"""A real PulseAudio for one test: a microphone of zeros, which ALSA programs open by its plugin as `server`."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.waiting import wait_for

PACKAGES = "apt-get install -y pulseaudio libasound2-plugins"

SCRIPT = """\
load-module module-native-protocol-unix auth-anonymous=1 socket={socket}
load-module module-null-sink sink_name=room rate=16000 channels=1 format=s16le
set-default-source room.monitor
"""
CONFIG = """\
</usr/share/alsa/alsa.conf>
pcm.server {{ type pulse server "unix:{socket}" device "room.monitor" }}
"""


class SoundServer:
    """The sound server, not started yet. Programs find it with `ALSA_CONFIG_PATH` set to `config_path`."""

    def __init__(self, directory: Path) -> None:
        """Prepare the server. Raises RuntimeError with the packages to install if there is no PulseAudio."""
        self._program = shutil.which("pulseaudio")
        if self._program is None:
            raise RuntimeError(f"the sound server is missing: {PACKAGES}")
        directory.mkdir(mode=0o700)
        self._directory = directory
        self._socket = directory / "pulse.sock"
        self._script = directory / "script.pa"
        self._script.write_text(SCRIPT.format(socket=self._socket))
        self.config_path = directory / "asound.conf"
        self.config_path.write_text(CONFIG.format(socket=self._socket))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        assert self._program
        own = {name: str(self._directory) for name in ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH")}
        options = ["--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes"]
        options += ["--high-priority=no", "--realtime=no", f"--log-target=file:{self._directory / 'log'}"]
        self._process = subprocess.Popen(
            [self._program, "-n", *options, "-F", str(self._script)], env={**os.environ, **own}
        )
        wait_for(self._answers, "no sound server")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._socket)) == 0

    def kill(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Stop the process until `go_on`."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)
