"""The section `publish.command`: what is refused, with what to write, and what is warned of."""

import os
from pathlib import Path

import pytest

from flowpi.config.command import CommandSettings
from flowpi.config.loading import load, warnings
from tests.config.refusals import refused


def test_it_is_off_and_for_texts() -> None:
    assert CommandSettings() == CommandSettings(run=None, filters=("transcript/final",), timeout_s=30)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            "run: /usr/local/bin/note",
            "publish.command.run must be a list of text, not empty or null, not '/usr/local/bin/note': "
            "write it as a list: [...]",
        ),
        ("run: []", "publish.command.run must be a list of text, not empty or null, not a list of 0"),
        ("run: [/bin/cat], timeout_s: 0", "publish.command.timeout_s must be a number from 0.1 to 3600, not 0"),
        (
            "run: [note, --now]",
            "publish.command.run.0 is 'note', and no folder is searched for it: write its whole path: "
            "`command -v note` shows it",
        ),
        (
            "run: [cd, /tmp]",
            "publish.command.run.0 is 'cd', which only a shell understands, and there is none here: "
            "put it into a script that begins with #!/bin/sh, and name that",
        ),
        (
            "run: [~/note]",
            "publish.command.run.0 is '~/note', and neither ~ nor $ is replaced here: write the whole path, from / on",
        ),
        (
            'run: [/bin/cat, "a\\0b"]',
            "publish.command.run.1 has a NUL character, which no program can be given: take it out",
        ),
        (
            "filters: [transcript/#/x]",
            "publish.command.filters.0 is 'transcript/#/x', which is no topic filter ('#' stands only at the end): "
            "such as transcript/final",
        ),
        (
            "filters: [transcript/final, nosuch]",
            "publish.command.filters.1 is 'nosuch', which matches no topic: name some of availability, state, "
            "transcript/partial, transcript/final, transcript/failed, event/button, stats, sinks",
        ),
        *(
            (
                f"filters: ['{one}']",
                f"publish.command.filters.0 is '{one}', which matches level, ten messages a second: name the topics "
                "that you want, such as transcript/+ and state",
            )
            for one in ("level", "#", "+")
        ),
        ("cwd: /tmp", "publish.command.cwd is not a known key: known here: run, filters, timeout_s"),
    ],
)
def test_what_is_wrong_says_what_to_write(file: Path, section: str, said: str) -> None:
    assert refused(file, f"publish: {{command: {{{section}}}}}") == f"f.yaml, line 1: {said}"


def warned(program: str) -> list[str]:
    return list(warnings(load(None, [f'publish.command.run=["{program}"]']), None))


def test_a_program_that_cannot_be_run_here_is_a_warning_as_the_file_may_be_for_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowpi.config.command.HIDDEN", ())
    note = tmp_path / "note"
    where = "publish.command.run:"
    assert warned(str(note)) == [f"{where} there is no program {str(note)!r}: install it, or correct the path"]
    assert warned(f"{note} --now") == [
        f"{where} there is no program '{note} --now': write each argument as an item of its own"
    ]
    note.write_text("#!/bin/sh\n")
    assert warned(str(note)) == [f"{where} {str(note)!r} may not be executed: sudo chmod 755 {note}"]
    note.chmod(0o755)
    monkeypatch.setattr(os, "access", lambda *_: False)  # as where a file system is mounted without execution
    assert warned(str(note)) == []
    assert warned(str(tmp_path)) == [f"{where} {str(tmp_path)!r} is a directory: name the program in it"]


def test_a_program_that_the_service_cannot_see_is_a_warning() -> None:
    assert os.access("/usr/bin/env", os.X_OK)
    assert warned("/usr/bin/env") == []
    assert warned("/home/ada/note")[0] == (
        "publish.command.run: flowpi-hook.service does not see /home: "
        "put it into /usr/local/bin, where root alone may change it"
    )
