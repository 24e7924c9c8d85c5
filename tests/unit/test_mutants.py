"""The lists of faults for make mutants are up to date."""

import pytest
from doors import ROOT
from mutants.run import mutants, mutated


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant["fault"])
def test_a_mutant_changes_its_file_and_names_tests(mutant):
    assert mutated(mutant) != (ROOT / mutant["file"]).read_text()
    assert all((ROOT / word.split("::")[0]).exists() for word in mutant["tests"].split() if word.startswith("tests/"))
