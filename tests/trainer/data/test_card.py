"""What a corpus is, in figures: on files made by hand, and on a prepared corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data import store
from trainer.data.card import source_cards
from trainer.data.prepare import Corpus, TokenFile
from trainer.data.store import Artifact, Writer

LENGTHS = (10, 30, 20, 40, 100)


def artifact(folder: Path, vocab_size: int, n_tokens: int, below: Artifact | None) -> Artifact:
    """One source of five documents, whose text has 760 bytes."""

    def fill(writer: Writer) -> dict[str, object]:
        starts = np.cumsum((0, *LENGTHS[:-1])).astype("<i8")
        writer.write("one.starts", starts.tobytes())
        told = {"n_tokens": n_tokens, "n_docs": 5, "n_bytes": 760, "in_domain": False}
        return {"parts": {"one": told}}

    name = f"v{vocab_size}" if below else "text"
    return store.make(folder / name, below, fill)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    text = artifact(tmp_path, 0, 0, None)
    made = artifact(tmp_path, 2048, sum(LENGTHS), text)
    artifact(tmp_path, 512, 385, text)
    part = TokenFile("one", made.path, **made.manifest["parts"]["one"])
    return Corpus("x", 2048, (part,), part, "1", "", (made, made))


def test_a_card(corpus: Corpus) -> None:
    (card,) = source_cards(corpus, 50)
    assert (card.name, card.in_domain, card.documents, card.tokens) == ("one", False, 5, 200)
    assert card.megabytes == 760e-6
    assert card.lengths == (14, 30, 76)
    assert card.documents_a_row == 1.5, "of 3, 2, 1 and 1"
    assert card.bytes_per_token == {512: 2.0, 2048: pytest.approx(760 / 195)}


@pytest.mark.parametrize(("row", "documents"), [(200, 5), (1000, 5), (1, 1), (60, 1.5)])
def test_what_a_row_has(corpus: Corpus, row: int, documents: float) -> None:
    (card,) = source_cards(corpus, row)
    assert card.documents_a_row == documents


def test_another_vocabulary_is_only_told_if_it_is_of_the_same_text(corpus: Corpus) -> None:
    other = corpus.artifacts[0].path.parent / "v512"
    (other / store.MANIFEST).write_text("{}")
    (card,) = source_cards(corpus, 50)
    assert list(card.bytes_per_token) == [2048]


def test_files_that_are_gone_are_an_error_that_is_caught(corpus: Corpus) -> None:
    corpus.train[0].doc_starts.unlink()
    with pytest.raises(OSError):
        source_cards(corpus, 50)
