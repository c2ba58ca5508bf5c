"""A disk that is away for a while."""

from pathlib import Path


class AbsentDisk:
    """A disk that accepts nothing, because a file replaces one of its directories; made, it is away."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._away = directory.with_name("away")
        directory.rename(self._away)
        directory.touch()

    def comes_back(self) -> None:
        """Put the directory back, with all that was in it."""
        self._directory.unlink()
        self._away.rename(self._directory)
