"""Every block of code in the README and the documentation is executed, in the order of its page, and prints what the
page says.
"""

from collections import Counter

import pytest

from tests.docs.blocks import PAGES, ROOT, blocks_of
from tests.docs.session import RUNNERS, Session

pytestmark = pytest.mark.integration

KINDS = {*RUNNERS, "toml", "text"}
NOT_RUN = {
    "docs/slurm_adapter.md": 3,
    "docs/container_adapter.md": 4,
    "README.md": 3,
    "CONTRIBUTING.md": 1,
    "docs/installing.md": 3,
    "docs/quick_start.md": 1,
}
"""How many blocks of a page cannot be executed; each says why on its page."""


def names(pages):
    return [str(page.relative_to(ROOT)) for page in pages]


def blocks_to_run(page):
    return [block for block in blocks_of(page) if not block.not_run and block.kind != "text"]


@pytest.mark.parametrize("name", names(page for page in PAGES if blocks_to_run(page)))
def test_the_examples_of_a_page(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = Session()
    try:
        for block in blocks_to_run(ROOT / name):
            session.run(block)
    finally:
        session.close()


def test_which_blocks_are_not_run():
    counts = Counter(block.place.partition(":")[0] for page in PAGES for block in blocks_of(page) if block.not_run)
    assert counts == NOT_RUN


@pytest.mark.parametrize("name", names(PAGES))
def test_every_block_is_of_a_known_kind_and_every_file_is_used(name):
    blocks = blocks_of(ROOT / name)
    for index, block in enumerate(blocks):
        assert block.kind in KINDS, block.place
        if block.not_run or block.kind == "text":
            continue
        if block.kind == "toml":
            assert block.file_name, f"{block.place} has no name of a file in its first line"
        if block.file_name:
            module = block.file_name.removesuffix(".py")
            later = [other.text for other in blocks[index + 1 :]]
            assert any(block.file_name in text or f"{module}:" in text for text in later), f"{block.place} is not used"
