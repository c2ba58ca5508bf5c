"""The doctor's findings: each has a code for programs, a message, and a hint that fixes the fault."""

from typing import Literal

from msgspec import Struct

Level = Literal["ok", "warning", "failure"]

EXIT_CODES: dict[Level, int] = {"ok": 0, "warning": 1, "failure": 2}

CODES: dict[str, str] = {
    "works": "nothing is wrong with it",
    "skipped": "it was not looked at; the message says why",
    "internal": "the check itself failed: a mistake in flowpi",
    "hangs": "the check did not end in time: a driver, a disk or a service is stuck",
    # the configuration
    "configuration": "the configuration cannot be used",
    "unreadable": "this user may not read the configuration",
    "boot_file": "the configuration on the boot partition was refused; the one of before is in force",
    # the microphone
    "absent": "there is no such device",
    "busy": "another program has the microphone",
    "forbidden": "this user may not use the device, the folder or the socket",
    "broken": "the device is there and cannot be used",
    "no_sound": "the device is open and delivers nothing",
    "silence": "digital silence, without even noise",
    "quiet": "hardly any noise, or speech so quiet that words are lost: the input gain is too low",
    "clipping": "sound hits the rail: the input gain is too high",
    "noisy": "steady noise is so loud that words are lost in it",
    "rate": "the device runs at another rate than it says",
    "several": "`audio.device` is `default`, and several sound cards record",
    # the sound cards
    "unstable": "the name of the microphone may lead to another one after the next boot",
    "narrowed": "an I2S microphone is heard without its low bits, or mixed with a channel that is silent",
    "mute_codec": "the mixer of a codec is as after a boot: its input is closed or far too quiet",
    "no_overlay": "the card of the configured board is missing: a line in config.txt is, too",
    "other_board": "the board is another revision than the configuration, or config.txt, says",
    # button and LED
    "no_chip": "there is no GPIO chip, or no SPI device",
    "pin": "the button or the LED cannot be used",
    "not_pressed": "no press was seen within 10 s",
    "dark": "the LED was not seen to flash",
    # backends
    "key": "the key is missing, or it is refused",
    "dns": "the name of the service has no address",
    "route": "there is no way to the service, or nobody listens there",
    "tls": "there is no secure connection",
    "path": "the service is there and its path is not",
    "http": "another HTTP status",
    "protocol": "it is no such service",
    "refused": "the service refuses in its dialect",
    # the recogniser on this machine
    "no_model": "the recogniser or its speech model is not installed",
    # the disk
    "read_only": "the file system is mounted read-only",
    "full": "there is hardly any room",
    "low": "there is less room than `spool.max_mb` allows to be kept",
    "inodes": "the file system has no room for more files",
    "not_written": "the disk does not take sound or texts",
    "quarantine": "files of the spool cannot be read",
    "waiting": "something has waited for its text for more than a day",
    # permissions
    "no_user": "the user of the service does not exist",
    "no_group": "a group that the service needs does not exist",
    "not_member": "the user of the service is not in a group that it needs",
    "exposed": "a secret is not as private as it should be",
    # the clock
    "clock_unset": "the clock is years behind",
    "unsynchronised": "the clock is not set by the network",
    # units
    "not_installed": "the service is not installed",
    "not_enabled": "it does not start with the machine",
    "not_running": "the unit is stopped",
    "failed": "the unit failed, and systemd does not start it again",
    "restarts": "it was restarted after it failed or hung",
    "outdated": "what runs is older than what is installed",
    # the daemon's socket
    "no_daemon": "no daemon answers on its socket",
    "open_to_all": "every user of the machine may use the socket",
    "wrong_group": "the socket has another group than the configuration says",
    # the sinks
    "not_accepting": "a sink does not accept texts: they wait for it",
    "parked": "a sink refused texts for good",
    "missed": "texts expired before a sink had them",
    # the keyboard
    "no_peripheral": "the line in config.txt is missing by which the USB controller is a device",
    "no_controller": "this machine has no USB controller that can be a device, or another gadget has it",
    "no_host": "no computer is connected to the keyboard",
    "asleep": "the computer sleeps, or has switched the keyboard off",
    "layout": "text cannot be typed in the layout",
    "caps_lock": "Caps Lock is on at the computer; texts are typed right all the same",
    # texts
    "no_library": "a library is not installed that a setting needs",
    "unknown_model": "the server does not list the language model",
    # power
    "undervoltage": "the power supply is too weak",
    "throttled": "the processor is slowed down, mostly for heat",
    # Wi-Fi
    "power_save": "the Wi-Fi sleeps between packets, and the network answers late",
    "radio_off": "the Wi-Fi is switched off",
    "not_joined": "the Wi-Fi is on, and has not joined the network from the boot partition",
}
"""Every code and its meaning. A code never changes its meaning."""


LOOK = "see `journalctl -u flowpi -n 50` and `dmesg`"


class Finding(Struct):
    """The result of one check.

    Attributes:
        part: what was checked.
        level: how serious the finding is.
        code: one of `CODES`.
        message: what is wrong, or that nothing is.
        hint: the command or advice that fixes it; empty if nothing is wrong. If it is not known, where to look.

    Raises:
        KeyError: the code is not in the table.
    """

    part: str
    level: Level
    code: str
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        CODES[self.code]
        if self.level != "ok":
            self.hint = self.hint or LOOK  # the errors of a driver do not all have one


def fine(part: str, message: str) -> Finding:
    return Finding(part, "ok", "works", message)


def skipped(part: str, why: str) -> Finding:
    """Return the finding for a part that could not be checked, which is no fault."""
    return Finding(part, "ok", "skipped", f"not looked at: {why}")
