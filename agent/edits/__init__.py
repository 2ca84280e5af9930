"""Edits of train.py: parsed from a reply, located, checked, and compared with past edits."""

from agent.edits.blocks import Edit as Edit
from agent.edits.blocks import EditError as EditError
from agent.edits.blocks import parse as parse
