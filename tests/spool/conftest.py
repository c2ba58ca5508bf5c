from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.spool.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", sync_s=0.1)
    spool.open()
    yield spool
    spool.close()
