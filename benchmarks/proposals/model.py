"""Stands for a model: reads a prompt on its standard input, and answers with the next proposals.

Uses the standard library only, since it also answers to earlier versions of the loop. Which
proposals come next follows from how many trials the prompt tells of.
"""

from __future__ import annotations

import re
import sys

Setting = tuple[str, str, str, dict[str, str]]

PROPOSALS: tuple[Setting, ...] = (
    ("initialisation", "queries start as copies of the keys", "look-ups need not be found", {}),
    (
        "hyperparameters",
        "half the batch",
        "twice the steps",
        {"BATCH_ROWS": "4", "MICRO_ROWS": "4"},
    ),
    (
        "schedule",
        "a longer warm-down",
        "the loss falls while rates fall",
        {"WARMDOWN_SHARE": "0.8"},
    ),
    ("architecture", "two blocks", "one block attends only once", {"DEPTH": "2"}),
    ("optimizer", "a shorter momentum", "few steps, old gradients", {"MUON_MOMENTUM": "0.9"}),
    ("architecture", "a bounded logit", "calmer rare tokens", {"LOGIT_CAP": "15.0"}),
    ("architecture", "four blocks", "depth still pays", {"DEPTH": "4"}),
    ("preprocessing", "a vocabulary of 4,096", "more text a token", {"VOCAB_SIZE": "4096"}),
    ("architecture", "a wide MLP", "room for facts", {"MLP_RATIO": "4"}),
    ("hyperparameters", "matrices twice as fast", "few steps", {"MATRIX_LR": "0.04"}),
    ("dataset", "a tenth from elsewhere", "names recur", {"OUT_OF_DOMAIN_SHARE": "0.1"}),
    ("preprocessing", "shorter rows", "cheaper attention", {"SEQ_LEN": "256"}),
)
"""Category, title, hypothesis, and the constants with their values. The first is an edit of code.

They are written anew after the ideas of a strong model's campaign, of which five were kept."""
COPY = (
    (
        "        for layer in (attention.query, attention.key, attention.value, mlp.up):",
        "        for layer in (attention.key, attention.value, mlp.up):",
    ),
    (
        "        for layer in (attention.out, mlp.down):",
        "        attention.query.weight.copy_(attention.key.weight)\n"
        "        for layer in (attention.out, mlp.down):",
    ),
)


def proposal(number: int, source: str) -> str:
    """The proposal of this number for a train.py, as a reply; sections are named by comments."""
    category, title, why, values = PROPOSALS[number]
    blocks = list(COPY)
    if values:
        lines = {name: re.search(rf"^{name} = \S+(.*)$", source, re.M) for name in values}
        blocks = [
            (line[0], f"{name} = {values[name]}{line[1]}") for name, line in lines.items() if line
        ]
    told = [
        f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"
        for old, new in blocks
        if old != new
    ]
    head = f"title: {title}\ncategory: {category}\nhypothesis: {why}, so the loss should be lower."
    return "\n".join([head, *told])


def reply(prompt: str) -> str:
    """The next proposals: one, or as many as the prompt allows in one reply."""
    source = prompt.split("<train.py>\n")[1].split("\n</train.py>")[0]
    done = max([0, *(int(n) for n in re.findall(r"^trial (\d+), ", prompt, re.M))])
    several = re.search(r"^Propose up to (\d+) edits", prompt, re.M)
    last = min(len(PROPOSALS), done + (int(several[1]) if several else 1))
    return "\n\n".join(proposal(number, source) for number in range(done, last))


if __name__ == "__main__":
    print(reply(sys.stdin.read()))
