"""The command `flowpi setup`: inspects the machine, makes a plan, and shows it or carries it out."""

import os

from flowpi.core.errors import UsageError
from flowpi.setup import plan
from flowpi.setup.apply import carry_out
from flowpi.setup.files import place, read_default_config, read_shipped
from flowpi.setup.machine import check_rights, look, owned_by_package
from flowpi.setup.steps import describe


def setup(*, root: str | None, dry_run: bool, remove: bool, purge: bool) -> int:
    """Install or remove the services, and return the exit code.

    Args:
        root: the folder of an image; None: this machine, where services are also started or stopped.
        dry_run: show the steps without carrying them out.
        remove: undo the installation.
        purge: with `remove`, also delete the configuration, the recordings and the user.

    Raises:
        FlowpiError: a step failed; running the command again continues from there.
    """
    if purge and not remove:
        raise UsageError("--purge belongs to --remove", "`flowpi setup --remove --purge`")
    where = "" if root is None else os.path.abspath(root)
    if owned_by_package(where):
        if remove:
            raise UsageError("this flowpi is a Debian package", f"sudo apt-get {'purge' if purge else 'remove'} flowpi")
        print("flowpi is here as a Debian package, which has set everything up: nothing to do")
        return 0
    if not dry_run:
        check_rights(where)
    shipped = read_shipped()
    paths = [place(name) for name in shipped]
    try:
        here = look(where, paths)
    except UsageError as error:
        if not dry_run or where:
            raise
        print(f"{error}; then setup would", flush=True)
        here = look(where, paths, installed=False)
    install = plan.install(here, shipped, read_default_config())
    for step in plan.remove(here, shipped, purge=purge) if remove else install:
        print(describe(step), flush=True)
        if not dry_run:
            carry_out(step, where)
    return 0
