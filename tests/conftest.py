"""Fixtures for tests that measure: a tiny honest training file, and data that is prepared once.

Marks and the guard that holds them are in ``marking.py``, what runs side by side in ``sharing.py``.
"""

from pathlib import Path

import pytest

from trainer.data.prepare import Corpus, prepare

pytest_plugins = ("marking", "sharing")


@pytest.fixture(scope="session")
def prepared() -> Corpus:
    """The corpus for ``tiny_source`` in the usual cache, where other sessions find it too."""
    return prepare(vocab_size=257)


@pytest.fixture(scope="session")
def tiny_source(prepared: Corpus) -> str:
    """Text of a very small honest train.py; trains in well under a second."""
    return (Path(__file__).parent / "tiny_train.py").read_text()
