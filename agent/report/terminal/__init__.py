"""What a person sees in a terminal: finished trials scroll by, a panel below says what is done."""

from agent.report.terminal.rich_display import RichDisplay as RichDisplay
from agent.report.terminal.rich_display import make_display as make_display
