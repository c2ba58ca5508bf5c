"""No document names a command that does not exist."""

import re

from flowpi.cli.parser import parser
from tests.docs.documents import DOCUMENTS, blocks
from tests.docs.test_api import commands


def test_no_command_is_named_that_does_not_exist() -> None:
    known = {name.partition(" ")[0] for name, _ in commands(parser())}
    words = set()
    for document in DOCUMENTS:
        text = document.read_text()
        prose = re.findall(r"(?:`|\bsudo |bin/)flowpi ((?:-\S+ \S+ )*)([a-z]+)", text)
        typed = re.findall(r"^flowpi ((?:-\S+ \S+ )*)([a-z]+)", "\n".join(blocks("sh", text)), re.MULTILINE)
        words |= {word for _, word in prose + typed}
    assert len(words) > 5
    assert words <= known
