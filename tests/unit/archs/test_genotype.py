"""Words of cells: there and back, and the folder of a search in place of one."""

import random
import re

from doors import finished, refused
from hydra.core.override_parser.overrides_parser import OverridesParser

from lineage.archs import genotype, operations
from lineage.sweeps.jobs import Job, save_history


def drawn(draws: random.Random, blocks: int) -> list[str]:
    return [draws.choice(options) for options in genotype.options(blocks)]


def decisions(tables: tuple[genotype.Table, ...]) -> list[str]:
    blocks = [block for table in tables for block in table.blocks]
    return [str(b[k]) for b in blocks for k in (0, 2, 1, 3, 4)]  # states, operations, combination


def test_words_and_back():
    """10,000 pairs of cells; what no block reads is the output, and no two pairs have one word."""
    draws, words = random.Random(0), dict[str, list[str]]()
    for number in range(10_000):
        values = drawn(draws, 1 + number % 9)
        word = genotype.word(values)
        tables = genotype.parse(word)
        assert decisions(tables) == values == words.setdefault(word, values)
        for table in tables:
            read = {state for block in table.blocks for state in (block.left, block.right)}
            assert read.isdisjoint(table.concat) and read | {*table.concat} == {*range(len(table.blocks) + 2)}


def test_space():
    """Section 3.1: of 5 blocks 2 x 5 x 5 decisions; block b, from 1, chooses among b + 1 states."""
    sizes = [len(options) for options in genotype.options(5)]
    assert sizes == [n for b in range(1, 6) for n in (b + 1, b + 1, 13, 13, 2)] * 2
    assert tuple(operations.OPERATIONS) == genotype.OPERATIONS


def test_a_word_needs_no_quotes():
    """Neither for Hydra, as a value and in a list of a sweep, nor for a shell; NASNet-A's list of states neither."""
    draws, parser = random.Random(1), OverridesParser.create()
    for word in (*genotype.CELLS.values(), *(genotype.word(drawn(draws, 1 + n % 9)) for n in range(50))):
        assert parser.parse_override(f"arch.cells={word}").value() == word
        assert list(parser.parse_override(f"arch.cells={word},{word}").sweep_string_iterator()) == [word] * 2
        assert re.fullmatch(r"[\w.+-]+", word)


def test_the_best_of_a_search(tmp_path):
    """The folder of a search in place of a word: what describe draws. Of three jobs two have finished."""
    pairs = ["0max3+1max3-0max3+1max3", "0sep3+1sep3-0sep3+1sep3", "0avg3+1avg3-0avg3+1avg3"]
    words = "arch=nasnet_cell", "arch.cells=runs/search", "datamodule=cifar10"
    search = tmp_path / "runs" / "search"
    jobs = [Job(n, ["seed=1", f"arch.cells={pair}"], search / f"job{n}") for n, pair in enumerate(pairs, start=1)]
    save_history(search, jobs)
    assert "runs/search is no search with results" in refused(tmp_path, "describe", *words)
    for job, accuracy in zip(jobs, (0.5, 0.75), strict=False):
        job.folder.mkdir()
        (job.folder / "results.json").write_text(f'{{"val_top1": {accuracy}, "test_top1": 0}}')
    assert "normal cell (sep 3x3) x 2" in finished(tmp_path, "describe", *words).stdout
    assert (tmp_path / "drawings" / "nasnet_cell.svg").exists()
