import pytest

from flowpi.publish.messages import rfc3339


@pytest.mark.parametrize(
    ("unix_s", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.0, "2023-11-14T22:13:20.000Z"),
        (1_700_000_000.1239, "2023-11-14T22:13:20.123Z"),
    ],
)
def test_times_are_utc_to_the_millisecond(unix_s: float, text: str) -> None:
    assert rfc3339(unix_s) == text
