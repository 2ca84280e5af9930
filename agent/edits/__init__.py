"""Edits of train.py: read from a reply, placed, checked, and compared with what was tried."""

from agent.edits.blocks import Edit as Edit
from agent.edits.blocks import EditError as EditError
from agent.edits.blocks import parse as parse
