"""`complete.py SHELL LINE...`: prints each line as bash or zsh completes it when Tab is typed behind it.

The shell runs interactively in a terminal, with the completions that are installed. In it, `flowpi` is a function that
prints its arguments: what is completed is what the command would get.
"""

import os
import pty
import re
import select
import sys

PATIENCE_S = 60

SHELLS = {
    "bash": (["bash", "--norc", "-i"], ". /usr/share/bash-completion/bash_completion"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit && compinit -D -u"),
}


def main(shell: str, lines: list[str]) -> None:
    command, load = SHELLS[shell]
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="dumb")
        os.execvp(command[0], command)
    said = ""

    def answer(typed: str) -> str:
        """Type something, and return what the function prints."""
        nonlocal said
        os.write(terminal, typed.encode())
        said = ""
        while (found := re.search(r"<([^$>]*)>", said)) is None:
            if not select.select([terminal], [], [], PATIENCE_S)[0]:
                sys.exit(f"{shell} does not answer {typed!r}: {said!r}")
            said += os.read(terminal, 65536).decode(errors="replace")
        return found[1]

    answer(f'flowpi() {{ echo "<$*>"; }}; {load}; flowpi ready\n')
    for line in lines:
        print("flowpi", answer(f"{line}\t\n"))
    os.close(terminal)
    os.waitpid(child, 0)


main(sys.argv[1], sys.argv[2:])
