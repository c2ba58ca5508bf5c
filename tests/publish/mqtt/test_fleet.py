"""Two hundred appliances at one broker, which is restarted in the middle: nothing is lost. `make bench` times them."""

from pathlib import Path

from tests.publish.mqtt import fleet


def test_199_appliances_and_a_restart_of_their_broker(tmp_path: Path) -> None:
    found = fleet.run(tmp_path)
    waits = {f"p{part * 100:.0f}_ms": round(found.percentile_ms(part), 1) for part in (0.5, 0.99)}
    texts = sum(map(len, found.said.values()))
    print({"texts": texts, "twice": found.twice, **waits, "longest_s": round(found.longest_s, 1)})  # pytest -rP
    assert len(found.said) == fleet.PLAIN + fleet.DAEMONS == 199
    assert found.arrived == found.said  # all of them, in order
    assert found.twice <= len(found.said)  # the one that each was writing when the broker stopped
