"""What the typist is handed of the configuration: its own part, and which profiles do without it."""

from pathlib import Path

from flowpi.config.loading import load
from flowpi.core.errors import ConfigError
from flowpi.host import handover
from flowpi.peer.handover import hand_over

CONFIG = """\
publish:
  keyboard: {kind: hid, layout: de}
  webhooks: {x: {url: 'https://h/', secret: whsec_Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5}}
profiles:
  private: {sinks: [webhook.x]}
  shared: {sinks: [keyboard]}
"""


def test_it_knows_the_keyboard_and_the_profiles_that_it_passes_over(tmp_path: Path) -> None:
    file, given = tmp_path / "flowpi.yaml", tmp_path / "given"
    file.write_text(CONFIG)
    given.mkdir()
    assert hand_over("keyboard", lambda: load(str(file)), given)
    written = given / handover.CONFIG
    config = load(str(written))
    assert (config.publish.keyboard.kind, config.publish.keyboard.layout) == ("hid", "de")
    assert config.without_sink("keyboard") == {"private"}
    assert not any(word in written.read_text() for word in ("shared", "webhook", "Y2Fu"))


def test_without_a_keyboard_the_unit_is_skipped_and_with_an_error_it_reports_that(tmp_path: Path) -> None:
    assert not hand_over("keyboard", lambda: load(None, []), tmp_path)

    def wrong() -> None:
        raise ConfigError("flowpi.yaml", 1, "x", "is wrong", "")

    assert hand_over("keyboard", wrong, tmp_path)  # type: ignore[arg-type]
    assert (tmp_path / handover.ERROR).exists()
