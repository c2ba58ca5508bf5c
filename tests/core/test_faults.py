"""The table of faults is complete: no code is raised without a row, and no row lacks what others read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.core import faults
from flowpi.core.appliance import Idle, step
from flowpi.core.events import Refuse, StartCommanded
from flowpi.core.faults import BACKEND, KINDS, MICROPHONE, MUTED, REFUSED, Fault, FaultKind, Severity, kind_of
from flowpi.core.indicator import light
from flowpi.core.lights import ALL, MOMENTS, NO_BACKEND, READY
from flowpi.core.rules import Rules
from flowpi.core.summary import summary
from flowpi.publish.remote import REMOTES

PACKAGE = Path(faults.__file__).parents[1]
TABLE = "flowpi.core.faults"

CONSTANTS = {
    name: value
    for name, value in vars(faults).items()
    if name.isupper() and isinstance(value, str) and not name.endswith("_FAMILY") and not name.startswith("_")
}

COMPARED = ("fault.code", "fault['code']", "event.code")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, Function | None]]:
    """Yield each call, and the innermost function around it."""

    def walk(node: ast.AST, inside: Function | None) -> Iterator[tuple[ast.Call, Function | None]]:
        if isinstance(node, ast.Call):
            yield node, inside
        for child in ast.iter_child_nodes(node):
            yield from walk(child, node if isinstance(node, Function) else inside)

    return walk(tree, None)


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def constants_in(tree: ast.Module) -> dict[str, str]:
    """Return the codes by the name under which a file imports them."""
    return {
        alias.asname or alias.name: CONSTANTS[alias.name]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == TABLE
        for alias in node.names
        if alias.name in CONSTANTS
    }


def raised() -> tuple[set[str], list[str]]:
    """Return the codes that the package raises or clears, and the places where a code is not from the table."""
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    raisers = {"FaultRaised", "FaultCleared", "raise_fault", "clear_fault", "_try"}
    codes: set[str] = set()
    elsewhere: list[str] = []
    searched: set[str] = set()
    while raisers - searched:
        now, searched = raisers - searched, set(raisers)
        for path, tree in trees.items():
            known = constants_in(tree)
            for call, inside in calls(tree):
                if name_of(call) not in now or not call.args:
                    continue
                first = call.args[0]
                parameters = [argument.arg for argument in inside.args.args] if inside else []
                for leaf in [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]:
                    match leaf:
                        case ast.Name(id=name) if name in known:
                            codes.add(known[name])
                        case ast.Attribute(value=ast.Name(id="faults"), attr=name) if name in CONSTANTS:
                            codes.add(CONSTANTS[name])
                        case ast.Name(id=name) if inside and name in parameters:
                            raisers.add(inside.name)  # its callers pass the code
                        case _:
                            elsewhere.append(f"{path.name}:{call.lineno}: {ast.unparse(call)}")
    return codes, elsewhere


def test_every_code_that_is_raised_is_a_row() -> None:
    codes, elsewhere = raised()
    assert not elsewhere
    codes |= {kind.fault for kind in REMOTES.values()} & set(CONSTANTS.values())  # raised by `remote.py` for its rows
    assert codes == set(CONSTANTS.values())
    assert codes == {kind.code for kind in KINDS if not kind.code.endswith(".NAME")}


def test_no_code_is_written_out_where_one_is_compared() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and ast.unparse(node.left) in (
                "fault.code",
                "fault['code']",
                "event.code",
            ):
                literals = [leaf.value for leaf in ast.walk(node.comparators[0]) if isinstance(leaf, ast.Constant)]
                assert not literals, f"{path.name}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_a_row_is_complete(kind: FaultKind) -> None:
    assert [other.code for other in KINDS].count(kind.code) == 1
    assert kind.pattern in ALL
    assert kind.pattern not in MOMENTS
    assert kind.sentence
    assert kind.sentence.rstrip(".") == kind.sentence
    assert bool(kind.headline) == (kind.severity is Severity.BLOCKING)
    assert (kind.pattern is READY) == (kind.severity is Severity.MINOR)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_everybody_follows_the_table(kind: FaultKind) -> None:
    state = Idle(0.0, (Fault(kind.code, "wrong", 0.0),))
    after, effects = step(state, StartCommanded("A"), 1.0, Rules())
    assert light(state) is kind.pattern
    assert (effects == (Refuse(kind.code, "wrong"),)) == (not kind.accepts_presses)
    assert (after is state) == (not kind.accepts_presses)
    assert summary(state, 0, None).startswith((kind.headline or "ready") + "; ")


def test_of_several_faults_the_first_of_the_table_shows() -> None:
    for rank, kind in enumerate(KINDS):
        state = Idle(0.0, tuple(Fault(each.code, "wrong", 0.0) for each in reversed(KINDS[rank:])))
        assert light(state) is kind.pattern


def test_who_is_muted_and_has_no_microphone_hears_of_the_mute() -> None:
    state = Idle(0.0, (Fault(MICROPHONE, "gone", 0.0), Fault(MUTED, "by hand", 1.0)))
    assert step(state, StartCommanded("A"), 2.0, Rules()) == (state, (Refuse(MUTED, "by hand"),))


@pytest.mark.parametrize(
    ("code", "pattern", "severity"),
    [
        ("sink.fifo", READY, Severity.MINOR),
        ("undelivered.webhook.desk", READY, Severity.MINOR),
        ("backend.far.away", READY, Severity.MINOR),
    ],
)
def test_a_member_of_a_family_needs_no_row(code: str, pattern: object, severity: Severity) -> None:
    kind = kind_of(code)
    assert kind.code == f"{code.split('.')[0]}.NAME"
    assert (kind.pattern, kind.severity, kind.accepts_presses) == (pattern, severity, True)
    assert light(Idle(0.0, (Fault(code, "wrong", 0.0),))) is pattern


def test_a_member_of_a_family_has_its_place_among_the_others() -> None:
    sink, backend = Fault("sink.fifo", "nobody reads", 0.0), Fault("backend.cloud", "refuses", 0.0)
    down = Fault(BACKEND, "no text", 5.0)
    assert light(Idle(0.0, (backend, down))) is NO_BACKEND
    assert light(Idle(0.0, (sink, down))) is NO_BACKEND
    assert faults.by_urgency([sink, backend, down]) == [down, sink, backend]
    assert kind_of(BACKEND) is not kind_of("backend.cloud")
    assert kind_of(REFUSED).severity is kind_of("backend.cloud").severity
    assert kind_of("undelivered.fifo").severity is kind_of("sink.fifo").severity
