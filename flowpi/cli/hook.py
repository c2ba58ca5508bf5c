"""`flowpi hook list`, `retry` and `skip`: what the command refused, and what the running hook is to do about it."""

import json
import signal
import sys

from flowpi.cli.terminal import print_safely
from flowpi.core.errors import NoPermissionError, UnavailableError, UsageError
from flowpi.hook.service import RETRY, SKIP
from flowpi.hook.state import refused_in, running_in
from flowpi.host.paths import find_hook_directory


def hook(action: str, *, as_json: bool) -> int:
    """Carry out an action, and return the exit code.

    Raises:
        UsageError: only a list can be JSON.
        UnavailableError: no hook runs that could do it.
        NoPermissionError: this user may not.
    """
    if as_json and action != "list":
        raise UsageError(f"--json is for the list, and not for {action}", "")
    directory = find_hook_directory()
    if action == "list":
        refused = [{"id": one.id, "part": one.part, "reason": one.reason} for one in refused_in(directory).texts]
        if as_json:
            print_safely(json.dumps({"refused": refused}))
            return 0
        for one in refused:
            name = one["id"] if one["part"] == 1 else f"{one['id']}.{one['part']}"
            print_safely(f"{name}: the command {one['reason']}")
        if not refused:
            print("the command refused no text", file=sys.stderr)
        return 0
    with running_in(directory) as process:
        if process is None:
            raise UnavailableError("no `flowpi hook` runs", "sudo systemctl start flowpi-hook")
        try:
            signal.pidfd_send_signal(process, RETRY if action == "retry" else SKIP)
        except PermissionError:
            raise NoPermissionError("the hook belongs to another user", "use sudo") from None
        except ProcessLookupError:
            raise UnavailableError("the hook has just ended", "sudo systemctl start flowpi-hook") from None
    print("asked for: `journalctl -u flowpi-hook` shows what becomes of it")
    return 0
