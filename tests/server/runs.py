"""How Moonshine's decoder is used."""

from typing import Any

import pytest

from flowpi.server.moonshine import Decoding


def counted_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of tokens of each run of the decoder from now on."""
    runs, run = list[int](), Decoding._run

    def counted(self: Decoding, ids: Any, own: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        runs.append(ids.shape[1])
        return run(self, ids, own)

    monkeypatch.setattr(Decoding, "_run", counted)
    return runs
