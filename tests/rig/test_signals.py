import subprocess
import sys

from tests.signals import STOPPING

CHILD = """\
import subprocess
from tests.signals import catch_ignored
catch_ignored()
print(subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True).stdout)
"""


def test_what_ignores_signals_starts_children_that_do_not() -> None:
    script = "trap '' HUP INT QUIT TERM; exec \"$@\""
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-c", CHILD], capture_output=True, text=True, check=True
    )
    ignored = int(done.stdout.split()[1], 16)
    assert [number for number in STOPPING if ignored >> (number - 1) & 1] == []
