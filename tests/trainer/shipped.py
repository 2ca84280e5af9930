"""The shipped train.py as text, and as a module with some constants set."""

import types
from pathlib import Path

import trainer
from agent.edits.blocks import Block
from agent.edits.constants import set_constants

FILE = Path(trainer.__file__).parent / "train.py"
SOURCE = FILE.read_text()


def load(**values: object) -> types.ModuleType:
    """train.py as a module, with some constants set."""
    source = SOURCE
    for block in set_constants(SOURCE, values):
        source = block_applied(source, block)
    module = types.ModuleType("train")
    exec(compile(source, "train.py", "exec"), module.__dict__)
    return module


def block_applied(source: str, block: Block) -> str:
    assert source.count(block.search) == 1
    return source.replace(block.search, block.replace)
