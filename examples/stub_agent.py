"""A stand-in for a coding agent: to try ``command:`` without a model, or to begin your own with.

    python -m agent run --llm "command:python3 examples/stub_agent.py" --trials 3 --budget 4s

It gets the prompt on standard input and runs in a folder of its own. There it moves one constant of
train.py within the range that its comment gives, as nothing that it reads has moved it before, and
prints the lines that a reply begins with. What it moves, train.py in its folder, is the proposal.
It understands nothing of what it does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

BANNER = re.compile(r"# === (\w+) ===")
CONSTANT = re.compile(
    r"(?P<name>[A-Z][A-Z0-9_]*) = (?P<value>\d[\d.e-]*)  # (?:(?P<meaning>[^;]+).*; )?"
    r"(?:range (?P<low>[\d.e-]+)\.\.(?P<high>[\d.e-]+) ?(?P<kind>log|int|)"
    r"|choice (?P<all>[\d. ]+))$"
)
STEP = 1.5


def main(prompt: str, folder: Path) -> str:
    """Edit train.py; returns what to print."""
    path = folder / "train.py"
    if not path.exists():  # it is asked for the campaign's notebook
        return "I keep no notebook."
    source = path.read_text(encoding="utf-8")
    known = prompt + (folder / "history.md").read_text(encoding="utf-8")
    asked = re.findall(r"\*\*(\w+)\*\*", prompt.rpartition("# Now")[2])
    moves = sorted(moves_in(source), key=lambda move: move[0] not in asked)
    for category, constant, new in moves:
        title = f"{constant['name']} from {constant['value']} to {new}"
        if title not in known:
            line = constant[0].replace(f"= {constant['value']} ", f"= {new} ", 1)
            path.write_text(source.replace(constant[0], line), encoding="utf-8")
            why = f"{constant['meaning'] or 'untried'}: another value may suit this budget"
            return f"title: {title}\ncategory: {category}\nhypothesis: {why}"
    return "I have moved every constant that I know."


def moves_in(source: str) -> Iterator[tuple[str, re.Match[str], str]]:
    """Category, constant and new value of all that could be tried."""
    category = ""
    for line in source.splitlines():
        if banner := BANNER.fullmatch(line):
            category = banner[1]
        elif category and (constant := CONSTANT.fullmatch(line)):
            for new in values(constant):
                yield category, constant, new


def values(constant: re.Match[str]) -> Iterator[str]:
    """The values beside a constant's own."""
    value = float(constant["value"])
    if constant["all"]:
        choices = constant["all"].split()
        at = min(range(len(choices)), key=lambda i: abs(float(choices[i]) - value))
        yield from choices[at + 1 : at + 2] + choices[max(0, at - 1) : at]
        return
    low, high = float(constant["low"]), float(constant["high"])
    step = 1.0 if constant["kind"] == "int" else (high - low) / 10
    logarithmic = constant["kind"] == "log"
    for new in (value * STEP, value / STEP) if logarithmic else (value + step, value - step):
        if low <= new <= high:
            yield str(int(new)) if constant["kind"] == "int" else f"{new:.3g}"


if __name__ == "__main__":
    print(main(sys.stdin.read(), Path.cwd()))
