"""The room around the card's microphone: endless quiet noise, and once what a test writes to /run/rig/say.

A loopback card delivers digital silence while nobody plays, which no microphone does. The file, int16 mono 16 kHz, is
removed when its last sample is on its way.
"""

import array
import fcntl
import os
import random
import subprocess

SAY = "/run/rig/say"
CHUNK = 3200  # 100 ms
LOUDEST = 12  # -73 dBFS
F_SETPIPE_SZ = 1031

os.makedirs(os.path.dirname(SAY), exist_ok=True)
noise = array.array("h", random.Random(0).choices(range(-LOUDEST, LOUDEST + 1), k=CHUNK // 2)).tobytes()
command = ["aplay", "--quiet", "--device=hw:Loopback,0", "--file-type=raw", "--format=S16_LE", "--rate=16000"]
command += ["--channels=1", "--period-time=100000", "--buffer-time=500000", "-"]
player = subprocess.Popen(command, stdin=subprocess.PIPE)
assert player.stdin
fcntl.fcntl(player.stdin, F_SETPIPE_SZ, 4096)  # a small buffer, so that speech is heard soon
while True:
    sound = noise
    if os.path.exists(SAY):
        with open(SAY, "rb") as file:
            sound = file.read()
    player.stdin.write(sound)
    player.stdin.flush()
    if sound is not noise:
        os.unlink(SAY)
