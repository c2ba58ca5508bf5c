from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.publish.files import Transcripts


@pytest.fixture
def transcripts(tmp_path: Path) -> Iterator[Transcripts]:
    transcripts = Transcripts(tmp_path / "transcripts", keep_days=30)
    transcripts.open()
    yield transcripts
    transcripts.close()
