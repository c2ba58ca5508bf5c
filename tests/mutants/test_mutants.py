"""The list of mutants is true, and its runner tells apart what a test found, missed and could not judge."""

from pathlib import Path

import pytest

from tests.mutants.__main__ import TREE, Mutant, main, read

MUTANTS = read()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.name))
def test_what_it_changes_is_there(mutant: Mutant) -> None:
    assert mutant.changed(TREE) not in (None, (TREE / mutant.file).read_text())
    assert mutant.tests
    for test in mutant.tests:
        assert (TREE / test.partition("::")[0]).exists()


def test_each_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_what_came_of_each_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "code.py").write_text("ONE = 1\nTWO = 2\n")
    (tree / "test_code.py").write_text("import code_\n\n\ndef test_one() -> None:\n    assert code_.ONE == 1\n")
    (tree / "code.py").rename(tree / "code_.py")
    mutants = {
        "found": ("ONE = 1", "ONE = 2", "test_code.py"),
        "survivor": ("TWO = 2", "TWO = 3", "test_code.py"),
        "stale": ("THREE = 3", "THREE = 4", "test_code.py"),
        "broken": ("ONE = 1", "ONE = ", "test_code.py"),
    }
    file = tmp_path / "mutants.toml"
    file.write_text(
        "".join(
            f"[[mutant]]\nname = '{name}'\nfile = 'code_.py'\nold = '{old}'\nnew = '{new}'\ntests = ['{test}']\n"
            for name, (old, new, test) in mutants.items()
        )
    )
    assert main([], tree=tree, file=file) == 1
    *lines, total = capfd.readouterr().out.splitlines()
    said = {line.split()[0]: " ".join(line.split()[3:]) for line in lines}
    assert said == {
        "found": "found",
        "survivor": "SURVIVED",
        "stale": "STALE: its old text is not in the file, or not once",
        "broken": "NO VERDICT: the tests cannot be imported",
    }
    assert total == "1 of 4 found"
    assert main(["found"], tree=tree, file=file) == 0
    assert (tree / "code_.py").read_text() == "ONE = 1\nTWO = 2\n"


def test_tests_that_fail_without_a_mutant_judge_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/test_code.py").write_text("def test_one() -> None:\n    assert False\n")
    file = tmp_path / "mutants.toml"
    file.write_text("[[mutant]]\nname = 'a'\nfile = 'test_code.py'\nold = 'one'\nnew = 'two'\ntests = ['test_code.py']")
    assert main([], tree=tmp_path / "tree", file=file) == 1
    assert "NO VERDICT: its tests do not pass without it" in capfd.readouterr().out
