from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.panel.board import Board, in_use


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """Use the pins of a board without a kernel, and check that they are all released."""
    with in_use(Board(tmp_path)) as board:
        yield board
