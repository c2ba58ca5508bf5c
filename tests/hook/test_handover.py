"""What the hook is handed of the configuration: its own part, and which profiles do without it."""

from pathlib import Path

from flowpi.config.loading import load
from flowpi.host import handover
from flowpi.peer.handover import hand_over

CONFIG = """\
publish:
  command: {run: [/bin/true]}
  webhooks: {x: {url: 'https://h/', secret: whsec_Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5}}
profiles:
  private: {sinks: [webhook.x], text: {replacements: {canary: [bird]}}, language: [de]}
  shared: {sinks: [command]}
  all: {}
"""


def test_it_knows_the_profiles_that_it_passes_over_and_nothing_else_of_them(tmp_path: Path) -> None:
    file, given = tmp_path / "flowpi.yaml", tmp_path / "given"
    file.write_text(CONFIG)
    given.mkdir()
    assert hand_over("command", lambda: load(str(file)), given)
    written = given / handover.CONFIG
    assert load(str(written)).without_sink("command") == {"private"}
    text = written.read_text()
    assert "shared" not in text
    assert not any(word in text for word in ("canary", "webhook", "Y2Fu", "de]"))
