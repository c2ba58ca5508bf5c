"""That the services of flowpi can start under an emulator which has no namespaces for them."""

import re

from tests.rig.arm import IN_NO_NAMESPACE
from tests.rig.package import TREE

OF_A_NAMESPACE = r"(?m)^(Private\w+|Protect\w+|ProcSubset|TemporaryFileSystem|\w+Paths|\w+Credential)="

WITHOUT_ONE = {"ProtectClock"}
"""What sounds the same, and is done by the rules for devices."""


def test_each_setting_that_makes_a_namespace_is_switched_off() -> None:
    units = "".join(unit.read_text() for unit in (TREE / "systemd").glob("*.service"))
    off = {line.partition("=")[0] for line in IN_NO_NAMESPACE}
    assert set(re.findall(OF_A_NAMESPACE, units)) - WITHOUT_ONE <= off
