"""The units as an operator sees them with `systemctl` and `journalctl`, on both suites."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.docs.documents import blocks, section
from tests.rig.container import Container, Done
from tests.speech import Recording, word_error_rate
from tests.system.recognising import MAPPED, SLOWER, mapped
from tests.system.talking import FINAL, HEARS_FILE, put_speech, speak_from_file

pytestmark = pytest.mark.nspawn

CONFIG = "/etc/flowpi/flowpi.yaml"
DROP_IN = "/etc/systemd/system/{}.service.d"


def show(container: Container, unit: str, name: str) -> str:
    return container.sh(f"systemctl show --property={name} --value {unit}").strip()


def drop_in(container: Container, unit: str, lines: str) -> None:
    directory = container.path(DROP_IN.format(unit))
    directory.mkdir(exist_ok=True)
    (directory / "test.conf").write_text(f"[Service]\n{lines}\n")
    container.sh("systemctl daemon-reload")


def test_it_takes_a_dictation_with_no_network(installed: Container, spoken: Path, sentence: Recording) -> None:
    assert installed.sh("ip -brief link").split()[0] == "lo"
    assert installed.sh("ls /sys/class/net").strip() == "lo"
    speak_from_file(installed, spoken)
    installed.until("systemctl is-active flowpi-asr")
    installed.sh("flowpi record start && sleep 4 && flowpi record stop")
    (line,) = installed.until(FINAL).splitlines()
    assert word_error_rate(sentence.text, json.loads(line)["text"]) <= 0.25


def test_the_recogniser_uses_its_own_graphs(installed: Container) -> None:
    """Without them it hears the same, and no other test would fail."""
    log = "journalctl --no-pager --output=cat --unit=flowpi-asr"
    installed.until(f"systemctl is-active flowpi-asr && {log} | grep 'moonshine tiny-en'")
    assert SLOWER not in installed.sh(log)
    assert mapped(installed) == MAPPED


@pytest.mark.parametrize("unit", ["flowpi", "flowpi-asr"])
def test_a_bad_configuration_is_not_tried_again(installed: Container, unit: str) -> None:
    installed.path(CONFIG).write_text("audio: {rat: 16000}\n")
    assert installed.run(f"systemctl restart {unit}").code != 0
    installed.sh("sleep 3")  # longer than RestartSec of the daemon
    assert show(installed, unit, "ExecMainStatus") == "78"
    assert show(installed, unit, "ActiveState") == "failed"
    assert show(installed, unit, "NRestarts") == "0"
    log = installed.sh(f"journalctl --no-pager --output=cat --unit={unit}")
    assert "flowpi.yaml" in log
    assert "rate" in log, "the nearest known key"


NOTE = """\
#!/bin/sh
cat >> /var/lib/flowpi-hook/notes
setsid sleep 1000 &
cat /etc/flowpi/flowpi.yaml /var/lib/flowpi/transcripts/*
exit 0
"""


def test_a_command_gets_each_text_once_it_is_configured(installed: Container, spoken: Path) -> None:
    installed.until("systemctl is-active flowpi && systemctl is-active flowpi-asr")
    assert show(installed, "flowpi-hook", "Result") == "exec-condition"
    assert installed.sh("systemctl is-enabled flowpi-hook; systemctl list-units --failed --plain --no-legend") == (
        "enabled\n"
    )
    installed.path("/usr/local/bin/note").write_text(NOTE)
    installed.sh("chmod 755 /usr/local/bin/note")
    drop_in(installed, "flowpi-hook", "ExecPaths=/usr/local/bin/note /usr/bin")
    speak_from_file(installed, spoken, "publish: {command: {run: [/usr/local/bin/note]}}\n")
    installed.sh("systemctl restart flowpi-hook && systemctl is-active flowpi-hook")
    installed.sh("flowpi record start && sleep 2 && flowpi record stop")
    message = json.loads(installed.until("grep . /var/lib/flowpi-hook/notes"))
    (text,) = installed.until(FINAL).splitlines()
    assert message == {"topic": "transcript/final", "payload": json.loads(text)}
    installed.until("flowpi sinks | grep '^command  *open$'")  # the daemon knows the user of the service
    installed.until(f"flowpi sinks | grep 'has {message['payload']['id']}'")
    installed.until("! pgrep --uid flowpi-hook sleep")
    installed.until("journalctl --no-pager --output=cat --unit=flowpi-hook | grep 'exit code 0'")
    log = installed.sh("journalctl --no-pager --output=cat --unit=flowpi-hook")
    assert log.count("Permission denied") == 2, "what the group flowpi may read is hidden"
    assert message["payload"]["text"] not in log
    # Off again.
    installed.path(CONFIG).write_text("")
    installed.sh("systemctl restart flowpi-hook")
    assert show(installed, "flowpi-hook", "ActiveState") == "inactive"


def test_a_killed_daemon_is_started_again(installed: Container) -> None:
    installed.until("systemctl is-active flowpi")
    before = show(installed, "flowpi", "MainPID")
    installed.sh(f"kill -KILL {before}")
    installed.until("[ $(systemctl show --property=NRestarts --value flowpi) -ge 1 ] && systemctl is-active flowpi")
    assert show(installed, "flowpi", "MainPID") != before
    # A restart is no wrong configuration.
    assert show(installed, "flowpi-signal", "ActiveEnterTimestampMonotonic") == "0"


def test_a_reload_takes_a_good_configuration_and_refuses_a_bad_one(installed: Container) -> None:
    installed.until("systemctl is-active flowpi")
    process = show(installed, "flowpi", "MainPID")
    config = installed.path(CONFIG)
    config.write_text("led: {kind: none}\nbutton: {kind: none}\naudio: {preroll_ms: 200}\n")
    installed.sh("systemctl reload flowpi")
    installed.until("journalctl --no-pager --unit=flowpi | grep 'configuration reloaded'")
    config.write_text("audio: [this is no configuration\n")
    installed.run("systemctl reload flowpi")
    installed.until("journalctl --no-pager --unit=flowpi | grep 'the old one stays'")
    assert show(installed, "flowpi", "MainPID") == process
    assert show(installed, "flowpi", "ActiveState") == "active"


def test_the_watchdog_ends_a_daemon_that_stands_still(installed: Container) -> None:
    drop_in(installed, "flowpi", "WatchdogSec=3s")
    installed.sh("systemctl restart flowpi")
    process = show(installed, "flowpi", "MainPID")
    installed.sh("sleep 5")
    assert show(installed, "flowpi", "MainPID") == process, "it is fed while all goes well"
    installed.sh(f"kill -STOP {process}")
    installed.until("[ $(systemctl show --property=NRestarts --value flowpi) -ge 1 ] && systemctl is-active flowpi")
    assert "Watchdog timeout" in installed.sh("journalctl --no-pager --unit=flowpi")


KEYED = """\
dictation: {backends: [local]}
backends: {local: {kind: flow, url: "ws+unix:///run/flowpi/asr.sock", client_key: {credential: house-key}}}
"""


def test_a_key_comes_as_a_credential(installed: Container, spoken: Path) -> None:
    """A dictation without the key waits, with the reason; it is delivered once systemd passes the key."""
    speak_from_file(installed, spoken, KEYED)
    installed.until("systemctl is-active flowpi-asr")
    installed.sh("flowpi record start && sleep 4 && flowpi record stop")
    installed.until("systemctl show --property=StatusText flowpi | grep house-key")
    assert installed.run(FINAL).code != 0
    installed.path("/etc/flowpi/house-key").write_text("a-key-of-this-house")
    installed.sh("chmod 600 /etc/flowpi/house-key")
    drop_in(installed, "flowpi", "LoadCredential=house-key:/etc/flowpi/house-key")
    installed.sh("systemctl restart flowpi")
    assert json.loads(installed.until(FINAL))["backend"] == "local"


def hears(container: Container, person: str) -> Done:
    """Have a person ask the recogniser for a text."""
    command = "flowpi transcribe --set publish.socket.path=/nowhere --backend local /srv/spoken.wav"
    return container.run(f"FLOWPI_CONFIG=/srv/flowpi.yaml runuser --user {person} -- {command}")


def test_the_recogniser_is_found_after_each_restart_by_those_who_may(installed: Container, spoken: Path) -> None:
    installed.put(spoken, "/srv/spoken.wav")
    installed.sh("useradd --groups flowpi member; useradd stranger; touch /srv/flowpi.yaml; chmod 644 /srv/*")
    for restarted in ("flowpi", "flowpi-asr", "flowpi flowpi-asr"):
        installed.sh(f"systemctl restart {restarted}")
        installed.until("systemctl is-active flowpi-asr")
        for person in ("member", "flowpi", "root"):
            assert hears(installed, person).code == 0, (restarted, person)
        refused = hears(installed, "stranger")
        assert refused.code == 69
        assert "ermission" in refused.out
    installed.sh("systemctl stop flowpi")
    assert hears(installed, "member").code == 0
    assert installed.sh("stat --format='%F %N' /run/flowpi/asr.sock").endswith("-> '/run/flowpi-asr/asr.sock'\n")


SERVER = """\
server:
  listen: ["unix:/run/flowpi/asr.sock", "unix:/run/flowpi/house.sock", "127.0.0.1:8123"]
  api_keys: [{file: /etc/flowpi/server-key}]
  tls: {certificate: /etc/flowpi/certificate.pem, key: /etc/flowpi/private.pem}
  engine: echo
...
"""

CLIENT = """\
import socket, ssl, urllib.request
for path in ("asr", "house"):
    socket.socket(socket.AF_UNIX).connect(f"/run/flowpi/{path}.sock")
url = "https://127.0.0.1:8123/api/v1/dash/generate_access_token"
trust = ssl.create_default_context(cafile="/etc/flowpi/certificate.pem")
ask = urllib.request.Request(url, b'{"client_id": "me", "duration_secs": 60}', {"Authorization": "Bearer a-house-key"})
ask.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(ask, context=trust).status)
"""


def test_a_server_for_others_has_its_key_its_certificate_and_its_sockets(installed: Container, tmp_path: Path) -> None:
    """They are in files that the group flowpi may read, as the documents say, and the recogniser may not."""
    command = "openssl req -x509 -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext"
    files = ["-keyout", str(tmp_path / "private.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*command.split(), "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True)
    for file in ("private.pem", "certificate.pem"):
        installed.put(tmp_path / file, f"/etc/flowpi/{file}")
    installed.path("/etc/flowpi/server-key").write_text("a-house-key\n")
    installed.path(CONFIG).write_text(SERVER)
    installed.path("/root/client.py").write_text(CLIENT)
    installed.sh("cd /etc/flowpi && chmod 640 * && chgrp flowpi *")
    drop_in(
        installed, "flowpi-asr", "PrivateNetwork=no\nRestrictAddressFamilies=AF_INET AF_INET6\nIPAddressAllow=localhost"
    )
    installed.sh("systemctl restart flowpi-asr")
    assert installed.sh("python3 /root/client.py") == "200\n"


def test_with_the_recogniser_here_the_daemon_needs_no_network(
    installed: Container, spoken: Path, sentence: Recording
) -> None:
    alone, _ = blocks("ini", section("docs/operations.md", "What the daemon may reach"))
    drop_in(installed, "flowpi", alone.removeprefix("[Service]\n"))
    speak_from_file(installed, spoken)
    installed.until("systemctl is-active flowpi-asr")
    installed.sh("flowpi record start && sleep 4 && flowpi record stop")
    (line,) = installed.until(FINAL).splitlines()
    assert word_error_rate(sentence.text, json.loads(line)["text"]) <= 0.25


BOOT = "/boot/firmware"

KEY_ON_THE_CARD = """\
dictation: {backends: [local]}
backends: {local: {kind: flow, url: "ws+unix:///run/flowpi/asr.sock", client_key: the-key-of-this-house}}
...
"""


def restart(container: Container) -> None:
    """Restart the container as by a power cut."""
    container.stop()
    container.start()


def test_a_key_on_the_boot_partition_becomes_a_credential_before_the_daemon_starts(
    installed: Container, spoken: Path
) -> None:
    put_speech(installed, spoken)
    installed.path(BOOT).mkdir(parents=True)
    installed.path(f"{BOOT}/flowpi.yaml").write_text(HEARS_FILE + KEY_ON_THE_CARD)
    restart(installed)
    installed.until("systemctl is-active flowpi && systemctl is-active flowpi-asr")
    installed.sh("flowpi record start && sleep 4 && flowpi record stop")
    assert json.loads(installed.until(FINAL))["text"], "with no key it would wait"
    done = int(show(installed, "flowpi-provision", "ExecMainExitTimestampMonotonic"))
    for unit in ("flowpi", "flowpi-asr"):
        assert done < int(show(installed, unit, "ExecMainStartTimestampMonotonic"))
    assert installed.sh(f"ls {BOOT}") == "flowpi-taken.yaml\n"
    assert installed.run(f"grep --recursive the-key-of-this-house {BOOT} {CONFIG}").code == 1
    (file,) = installed.sh("ls /etc/flowpi/credentials/*").split()
    assert installed.run(f"runuser --user flowpi -- cat {file}").code != 0
    for unit, reads in {"flowpi": 0, "flowpi-asr": 1}.items():
        seen = f"/proc/{show(installed, unit, 'MainPID')}/root/run/credentials"
        assert installed.run(f"grep --recursive the-key-of-this-house {seen}").code == reads, unit


def test_a_wrong_file_on_the_boot_partition_is_told_in_words(installed: Container, spoken: Path) -> None:
    put_speech(installed, spoken)
    installed.path(CONFIG).write_text(HEARS_FILE)
    installed.path(BOOT).mkdir(parents=True)
    file = installed.path(f"{BOOT}/flowpi.yaml")
    file.write_text("audio: {rat: 16000}\n...\n")
    assert installed.run("systemctl restart flowpi-provision").code != 0
    assert show(installed, "flowpi-provision", "ExecMainStatus") == "78"
    said = installed.sh(f"cat {BOOT}/flowpi-error.txt")
    assert "flowpi.yaml, line 1: audio.rat is not a known key" in said
    assert "did you mean audio.rate?" in said
    installed.sh("systemctl restart flowpi")
    assert "audio.rat is not a known key" in show(installed, "flowpi", "StatusText")
    faults = json.loads(installed.sh("flowpi status --json"))["state"]["faults"]
    assert [fault["code"] for fault in faults] == ["configuration"]
    file.write_text(HEARS_FILE + "...\n")
    installed.sh("systemctl restart flowpi-provision flowpi")
    assert json.loads(installed.sh("flowpi status --json"))["state"]["faults"] == []
    assert installed.sh(f"ls {BOOT}") == "flowpi-taken.yaml\n"


def test_a_wrong_configuration_is_told_by_the_led_until_the_daemon_starts(installed: Container) -> None:
    good = installed.path(CONFIG).read_text()
    installed.path(CONFIG).write_text("audio: {rat: 16000}\n")
    installed.run("systemctl restart flowpi")
    assert show(installed, "flowpi", "ExecMainStatus") == "78"
    installed.until("journalctl --no-pager --unit=flowpi-signal | grep 'there is no GPIO chip here'")
    # With an LED it would stay.
    drop_in(installed, "flowpi-signal", "ExecStart=\nExecStart=/usr/bin/python3 -c 'import signal; signal.pause()'")
    installed.run("systemctl restart flowpi")
    installed.until("systemctl is-active flowpi-signal")
    installed.path(CONFIG).write_text(good)
    installed.sh("systemctl start flowpi")
    assert show(installed, "flowpi", "ActiveState") == "active"
    assert show(installed, "flowpi-signal", "ActiveState") == "inactive"


def test_a_program_that_gets_a_key_is_started_where_the_owner_allows_it(installed: Container) -> None:
    program = installed.path("/usr/local/bin/get-key")
    program.write_text("#!/bin/sh\ntouch /run/flowpi/asked\necho key\n")
    program.chmod(0o755)
    token = "{local: {kind: flow, url: 'ws+unix:///run/flowpi/asr.sock', token: {command: [/usr/local/bin/get-key]}}}"
    installed.path(CONFIG).write_text(f"dictation: {{backends: [local]}}\nbackends: {token}\n")
    installed.sh("systemctl restart flowpi")
    installed.until("journalctl --no-pager --unit=flowpi | grep 'cannot run (permission denied).*ExecPaths='")
    drop_in(installed, "flowpi", "ExecPaths=/usr/local/bin/get-key /usr/bin")
    installed.sh("systemctl restart flowpi")
    installed.until("test -e /run/flowpi/asked")


def test_status_says_in_one_line_how_it_is(installed: Container) -> None:
    installed.until("systemctl is-active flowpi")
    status = installed.sh("systemctl status --no-pager flowpi")
    (line,) = [line for line in status.splitlines() if line.lstrip().startswith("Status:")]
    assert "sound" in line or "microphone" in line, "a container has none"


def test_it_stops_in_time_and_starts_with_the_system(installed: Container) -> None:
    installed.until("systemctl is-active flowpi && systemctl is-active flowpi-asr")
    installed.sh("systemctl stop flowpi && test -S /run/flowpi/asr.sock && systemctl stop flowpi-asr")
    assert show(installed, "flowpi", "Result") == "success"
    assert show(installed, "flowpi-asr", "Result") == "success"
