"""Replies as models really write them, and what becomes of each.

``REPLIES`` maps a name to the reply and its outcome: either the pairs (old, new) that turn
``PARENT`` into the source that is trained, to the byte, or how the reason begins for which it is
turned down. ``FILES`` holds those that answer a model's being asked for the whole file.
"""

from __future__ import annotations

CATEGORY = "schedule"

PARENT = '''"""A training file."""

import torch

# === preprocessing ===

VOCAB_SIZE = 512
SEQ_LEN = 64

# === architecture ===

DEPTH = 2  # blocks; range 1..8

NOTES = """
Heading
=======
"""


class Model(torch.nn.Module):
    def forward(self, ids):
        x = self.embed(ids)

        x = self.norm(x)
        if DEPTH > 1:
            x = x + self.block(x)
        x = self.norm(x)
        return self.head(x)

    def extra_loss(self):
        return 0.0


def build_model(spec):
    return Model()


# === schedule ===

WARMUP = 0.1  # range 0..1
WARMDOWN = 0.3  # range 0..1


def rate(progress):
    return min(1.0, progress / WARMUP, (1.0 - progress) / WARMDOWN)


# === training ===


def train(session):
    torch.manual_seed(session.seed)
    model = build_model(session.spec)
    while not session.done():
        session.log(rate(session.progress()))
    return model
'''

HEAD = "title: longer warm-down\ncategory: schedule\nhypothesis: the last steps average out noise\n"
UP, DOWN = "WARMUP = 0.1  # range 0..1\n", "WARMDOWN = 0.3  # range 0..1\n"
LONGER = (DOWN, DOWN.replace("0.3", "0.5"))

Pair = tuple[str, str]
Outcome = str | tuple[Pair, ...]


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


def after(outcome: tuple[Pair, ...]) -> str:
    """The source that an outcome of pairs names."""
    source = PARENT
    for old, new in outcome:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


GOOD = HEAD + block(*LONGER)
WHOLE = after((LONGER,))
TEN = [
    ("import torch\n", "import math\n\nimport torch\n"),
    ("VOCAB_SIZE = 512\n", "VOCAB_SIZE = 1024\n"),
    ("SEQ_LEN = 64\n", "SEQ_LEN = 128\n"),
    ("DEPTH = 2  # blocks; range 1..8\n", "DEPTH = 3  # blocks; range 1..8\n"),
    ("        x = self.embed(ids)\n", "        x = self.embed(ids).float()\n"),
    ("        return self.head(x)\n", "        return self.head(x) / math.pi\n"),
    ("        return 0.0\n", "        return 1.0\n"),
    (UP, UP.replace("0.1 ", "0.2 ")),
    LONGER,
    ("    return model\n", "    model.eval()\n    return model\n"),
]
HEADING = ("Heading\n=======\n", "Other heading\n=======\n")
BRANCH = (
    "        if DEPTH > 1:\n            x = x + self.block(x)\n",
    "        if DEPTH > 2:\n            x = x + 2 * self.block(x)\n",
)


def outdented(text: str, by: int) -> str:
    return "".join(line[by:] for line in text.splitlines(keepends=True))


def indented(text: str, by: str) -> str:
    return "".join(by + line for line in text.splitlines(keepends=True))


REPLIES: dict[str, tuple[str, Outcome]] = {
    # --- what applies, and to what exactly ---
    "plain": (GOOD, (LONGER,)),
    "windows line ends": (GOOD.replace("\n", "\r\n"), (LONGER,)),
    "byte order mark": ("\ufeff" + GOOD, (LONGER,)),
    "no final newline": (GOOD.rstrip("\n"), (LONGER,)),
    "spaces after the markers": (GOOD.replace("SEARCH\n", "SEARCH  \n"), (LONGER,)),
    "prose around": (f"Let me think.\n\n{GOOD}\nThis should help!\n", (LONGER,)),
    "thought left in the text": (f"<think>\n{block(UP, DOWN)}\n</think>\n{GOOD}", (LONGER,)),
    "markdown list of fields": (
        GOOD.replace("title", "- **title**").replace("category", "- **Category**")
        .replace("hypothesis", "* __hypothesis__"),
        (LONGER,),
    ),
    "numbered fields": (
        GOOD.replace("title", "1. title").replace("hypothesis", "3) hypothesis"), (LONGER,),
    ),
    "quoted fields": (GOOD.replace("category: schedule", "> category: `Schedule`."), (LONGER,)),
    "one fence around the block": (HEAD + f"```python\n{block(*LONGER)}```\n", (LONGER,)),
    "tilde fence": (HEAD + f"~~~\n{block(*LONGER)}~~~\n", (LONGER,)),
    "fence never closed": (HEAD + f"```diff\n{block(*LONGER)}", (LONGER,)),
    "fence that names train.py": (HEAD + f"```python trainer/train.py\n{block(*LONGER)}```\n",
                                  (LONGER,)),
    "everything fenced": (f"```\n{GOOD}```\n", (LONGER,)),
    "fences inside the block": (
        HEAD + block(f"```python\n{LONGER[0]}```\n", f"```python\n{LONGER[1]}```\n"), (LONGER,),
    ),
    "path above the block": (HEAD + f"\ntrainer/train.py\n{block(*LONGER)}", (LONGER,)),
    "hypothesis over two lines": (GOOD.replace("average out", "average\nout"), (LONGER,)),
    "fields after the block": (block(*LONGER) + HEAD, (LONGER,)),
    "no title": (GOOD.partition("\n")[2], (LONGER,)),
    "ten blocks": (HEAD + "\n".join(block(*pair) for pair in TEN), tuple(TEN)),
    "ten blocks, backwards": (HEAD + "".join(block(*p) for p in reversed(TEN)), tuple(TEN)),
    "deletion": (
        HEAD + block("    def extra_loss(self):\n        return 0.0\n", "") + block(*LONGER),
        (("    def extra_loss(self):\n        return 0.0\n", ""), LONGER),
    ),
    "bare divider that the file has": (
        HEAD + block(*HEADING) + block(*LONGER), (HEADING, LONGER),
    ),
    "bare divider that is new": (
        HEAD + block(DOWN, LONGER[1] + 'TEXT = """\n=======\n"""\n'),
        ((DOWN, LONGER[1] + 'TEXT = """\n=======\n"""\n'),),
    ),
    "bare divider by itself": (
        HEAD + block("=======\n", "-------\n") + block(*LONGER),
        (("Heading\n=======\n", "Heading\n-------\n"), LONGER),
    ),
    "bare divider that goes": (
        HEAD + block("=======\n", "") + block(*LONGER), (("=======\n\"\"\"", '"""'), LONGER),
    ),
    "quoted without its indentation": (
        HEAD + block(outdented(BRANCH[0], 8), outdented(BRANCH[1], 8)), (BRANCH,),
    ),
    "quoted too far to the right": (
        HEAD + block(indented(BRANCH[0], "    "), indented(BRANCH[1], "    ")), (BRANCH,),
    ),
    "very long line": (HEAD + block(DOWN, LONGER[1] + "# " + "long " * 3000 + "\n"),
                       ((DOWN, LONGER[1] + "# " + "long " * 3000 + "\n"),)),
    "letters of the world": (
        HEAD + block(DOWN, LONGER[1].rstrip("\n") + ' — “später”, 後で, \N{HONEYBEE}\n'),
        ((DOWN, LONGER[1].rstrip("\n") + ' — “später”, 後で, \N{HONEYBEE}\n'),),
    ),
    "line separators in a comment are no line ends": (
        HEAD + block(DOWN, LONGER[1].rstrip("\n") + " \u2028 \x85 \x0b\n"),
        ((DOWN, LONGER[1].rstrip("\n") + " \u2028 \x85 \x0b\n"),),
    ),
    # --- what is no whole edit ---
    "empty": ("", "there is no line 'category"),
    "white space": (" \n\t\r\n", "there is no line 'category"),
    "garbage": ("\x00\x01\ufffd%PDF-1.7 \x7f" * 50, "there is no line 'category"),
    "refusal": ("I'm sorry, but I can't help with that.", "there is no line 'category"),
    "cut in the fields": (GOOD[:40], "there is no line 'hypothesis"),
    "cut in the search text": (GOOD[:150], "block 1 is cut off"),
    "cut before the last marker": (GOOD[:-20], "block 1 is cut off"),
    "cut in the last marker": (GOOD[:-4], "block 1 is not closed"),
    "second block cut": (GOOD + "<<<<<<< SEARCH\n" + UP, "block 2 is cut off"),
    "thought never ends": (f"<think>\n{GOOD.partition('>>>>')[0]}", "there is no line 'category"),
    "no category": (GOOD.replace("category", "kind"), "there is no line 'category"),
    "no hypothesis": (GOOD.replace("hypothesis", "idea"), "there is no line 'hypothesis"),
    "fields only": (HEAD, "there is no block"),
    "code without markers": (HEAD + f"```python\n{LONGER[1]}```\n", "there is no block"),
    "the whole file unasked": (HEAD + f"```python\n{WHOLE}```\n", "line 20 of the reply"),
    "unified diff": (
        HEAD + f"```diff\n--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-{DOWN}+{LONGER[1]}```\n",
        "there is no block",
    ),
    "JSON": (
        '{"category": "schedule", "hypothesis": "x", "edits": [{"search": "a", "replace": "b"}]}',
        "there is no line 'category",
    ),
    "HTML escapes around": (
        GOOD.replace("<", "&lt;").replace(">", "&gt;"), "line 4 of the reply",
    ),
    "a tool call": (
        '<tool_call>{"name": "edit", "path": "train.py"}</tool_call>', "there is no line 'category",
    ),
    # --- markers ---
    "no divider": (HEAD + block(*LONGER).replace("=======\n", ""), "block 1 has no '======='"),
    "six signs": (GOOD.replace("<<<<<<< ", "<<<<<< "), "line 4 of the reply"),
    "marker with a path": (GOOD.replace("SEARCH", "SEARCH train.py"), (LONGER,)),
    "marker with another path": (
        GOOD.replace("SEARCH", "SEARCH agent/judge.py"), "line 4 of the reply",
    ),
    "marker and fence": (HEAD + f"```\n{block(*LONGER)}"[:-1] + "```\n", (LONGER,)),
    "markers in small letters": (GOOD.replace("SEARCH", "search"), "line 4 of the reply"),
    "git's conflict markers": (
        HEAD + f"<<<<<<< HEAD\n{DOWN}=======\n{LONGER[1]}>>>>>>> new\n", "line 4 of the reply",
    ),
    "indented in a list": (HEAD + indented(block(*LONGER), "  "), "line 4 of the reply"),
    **{
        f"an opening with something glued: {form}": (
            GOOD.replace("<<<<<<< SEARCH", form), f"line 4 of the reply, {form!r}, is a marker",
        )
        for form in (
            "Block 1: <<<<<<< SEARCH", "<edit><<<<<<< SEARCH", "```python <<<<<<< SEARCH",
            "&lt;&lt;&lt;&lt;&lt;&lt;&lt; SEARCH", "\\<<<<<<< SEARCH", "| <<<< search",
        )
    },
    "an opening glued to a field": (
        GOOD.replace("\n<<<<<<<", " <<<<<<<"), "line 3 of the reply, 'hypothesis:",
    ),
    "an opening in a sentence": (f"I write <<<<<<< SEARCH blocks.\n{GOOD}", (LONGER,)),
    "nested": (
        HEAD + "<<<<<<< SEARCH\n" + block(*LONGER) + "=======\nx\n>>>>>>> REPLACE\n",
        "block 1 is not closed",
    ),
    "closed twice": (GOOD + ">>>>>>> REPLACE\n", "line 9 of the reply"),
    "a divider between blocks": (GOOD + "=======\n" + block(UP, UP + "\n"), "line 9 of the reply"),
    "dividers without end": (HEAD + block(DOWN, "=======\n" * 500), "block 1 has 501 lines"),
    # --- where it would go ---
    "another file": (HEAD + f"trainer/session.py\n{block(*LONGER)}", "block 1 names the file"),
    "a file on the fence": (HEAD + f"```python:agent/judge.py\n{block(*LONGER)}```\n",
                            "block 1 names the file"),
    "wrong category": (GOOD.replace("schedule", "architecture"), (LONGER,)),
    "unknown category": (GOOD.replace("schedule", "scheduling"), (LONGER,)),
    "two categories": (GOOD + "category: optimizer\n", "two categories"),
    "not in the file": (HEAD + block("COOLDOWN = 0.3\n", "COOLDOWN = 0.5\n"),
                        "block 1: its search text is not in the file"),
    "half a line": (HEAD + block("WARMDOWN = 0.3\n", "WARMDOWN = 0.5\n"), "block 1: its search"),
    "tabs for spaces": (
        HEAD + block(BRANCH[0].replace("    ", "\t"), BRANCH[1].replace("    ", "\t")),
        "block 1: its search text is not in the file",
    ),
    "no-break spaces": (GOOD.replace("WARMDOWN = 0.3", "WARMDOWN\xa0=\xa00.3"), "block 1: its"),
    "HTML escapes inside": (
        HEAD + block("        if DEPTH &gt; 1:\n", "        if DEPTH &gt; 2:\n"), "block 1: its",
    ),
    "not indented alike": (
        HEAD + block("if DEPTH > 1:\nx = x + self.block(x)\n", "pass\n"), "block 1: its",
    ),
    "a blank line to search for": (
        HEAD + block("\n", "x = 1\n") + block(*LONGER), "block 1 has an empty search text",
    ),
    "twice in the file": (
        GOOD + block("        x = self.norm(x)\n", ""),
        "block 2: its search text stands in the file 2 times, at lines 24, 27",
    ),
    "twice in the file, once indented": (
        GOOD + block("x = self.norm(x)\n", ""), "block 2: its search text stands in the file 2",
    ),
    "the same block twice": (GOOD + block(*LONGER), "blocks 1 and 2 overlap"),
    "overlapping": (
        HEAD + block(UP + DOWN, UP + LONGER[1]) + block(DOWN, LONGER[1]), "blocks 1 and 2 overlap",
    ),
    "one of ten does not apply": (
        HEAD + "".join(block(*pair) for pair in TEN[:9]) + block("    return nothing\n", ""),
        "block 10: its search text is not in the file",
    ),
    # --- what it would write ---
    "dots for code": (
        HEAD + block(BRANCH[0], "        # ... existing code ...\n"), "block 1 elides code",
    ),
    "the rest unchanged": (HEAD + block(DOWN, LONGER[1] + "# rest unchanged\n"), "block 1 elides"),
    "dots and words": (HEAD + block(DOWN, LONGER[1] + "... existing code\n"), "block 1 elides"),
    "dots in the search text": (
        HEAD + block("def rate(progress):\n    ...\n", "def rate(progress):\n    return 1.0\n"),
        "block 1: its search text is not in the file (it elides code",
    ),
    "nothing changes": (HEAD + block(DOWN, DOWN), "block 1 changes nothing"),
    "nothing changes once indented": (
        HEAD + block(outdented(BRANCH[0], 8) + "\n", outdented(BRANCH[0], 8)), "block 1: its",
    ),
    "only a comment": (HEAD + block(DOWN, DOWN + "# a longer one may help\n"),
                       "comments or formatting only"),
    "only the seed": (
        HEAD + block("    torch.manual_seed(session.seed)\n", "    torch.manual_seed(1)\n"),
        "seed only",
    ),
    "smart quotes": (HEAD + block(DOWN, LONGER[1] + "NAME = “linear”\n"), "does not compile"),
    "no-break space in code": (HEAD + block(DOWN, "WARMDOWN\xa0= 0.5\n"), "does not compile"),
    "byte order mark in code": (HEAD + block(DOWN, "\ufeffWARMDOWN = 0.5\n"), "does not compile"),
    "tabs mixed with spaces": (
        HEAD + block("    return model\n", "\tpass\n    return model\n"), "does not compile",
    ),
    "a hidden line": (HEAD + block(DOWN, "# as it was\rWARMDOWN = 0.5\n"),
                      "block 1 has a carriage return"),
    "a lone surrogate": (HEAD + block(DOWN, LONGER[1] + "X = '\ud800'\n"), "does not compile"),
    "a name that is not there": (
        HEAD + block(DOWN, LONGER[1] + "LIMIT = math.inf\n"), "undefined name",
    ),
    "the contract broken": (
        HEAD + block("VOCAB_SIZE = 512\n", "VOCAB_SIZE = 2**9\n"), "contract",
    ),
    "another category's number": (
        HEAD + block("DEPTH = 2  # blocks; range 1..8\n", "DEPTH = 3  # blocks; range 1..8\n"),
        (("DEPTH = 2  # blocks; range 1..8", "DEPTH = 3  # blocks; range 1..8"),),
    ),
    "weights in the file": (
        HEAD + block(DOWN, LONGER[1] + f"TABLE = {list(range(500))}\n"), "high-entropy literals",
    ),
    "far too long": (HEAD + block(DOWN, LONGER[1] + "X = 1\n" * 900), "too large"),
}  # fmt: skip


def fenced(source: str, mark: str = "```") -> str:
    return f"{HEAD}{mark}python\n{source}{mark}\n"


CUT_OFF = "the file in the code fence '```' is cut off: nothing closes it"
UNCLEAR = "the file in the code fence '```' is not closed, or not opened; line "
WHOLE_LINES = WHOLE.count("\n")
ENDS = ["</file>", "<|im_end|>", "\u200b", ".", "<|eot_id|></s>", "**"]

FILES: dict[str, tuple[str, Outcome]] = {
    "whole file": (fenced(WHOLE), (LONGER,)),
    "whole file with prose around": (f"Here:\n{fenced(WHOLE)}\nGood luck!\n", (LONGER,)),
    "whole file, windows line ends": (fenced(WHOLE).replace("\n", "\r\n"), (LONGER,)),
    "whole file in tildes": (fenced(WHOLE, "~~~"), (LONGER,)),
    "whole file that holds a fence": (
        fenced(WHOLE.replace("Heading", "```\nHeading"), "````"),
        (LONGER, ("Heading", "```\nHeading")),
    ),
    "blocks all the same": (GOOD, (LONGER,)),
    "file cut off": (fenced(WHOLE)[:-400], CUT_OFF),
    "file whose fence is glued to its last line": (
        fenced(WHOLE).removesuffix("\n```\n") + "```\n",
        f"{UNCLEAR}{WHOLE_LINES + 4} of the reply, '    return model```', neither opens",
    ),
    **{
        f"file whose end is glued to {glued!r}": (fenced(WHOLE)[:-1] + glued + "\n", (LONGER,))
        for glued in ENDS
    },
    **{
        f"file that begins with {line!r}": (
            HEAD + f"{line}\n{WHOLE}```\n", f"{UNCLEAR}4 of the reply, {line!r}, neither opens",
        )
        for line in ("Here: ```python", "```python A = 1 # and so on", "> ```python")
    },
    "file that ends with another sign": (
        fenced(WHOLE)[:-4] + "~~~\n", f"{UNCLEAR}{WHOLE_LINES + 5} of the reply, '~~~', neither",
    ),
    "file on one line": (HEAD + "```python A = 1 ```\n", "no code fences in the reply; write one"),
    "file with a zero-width character": (HEAD + f"\u200b```python\n{WHOLE}```\n", (LONGER,)),
    "file without a fence": (HEAD + WHOLE, "no code fences"),
    "two fences": (fenced(WHOLE) + "```\nx = 1\n```\n", "2 code fences"),
    "fence inside a short fence": (
        fenced(WHOLE.replace("Heading", "```\nHeading")), CUT_OFF,
    ),
    "an empty file": (fenced("\n"), "the file is empty"),
    "file with the rest elided": (
        fenced(WHOLE.partition("# === training")[0] + "# ... rest of the file unchanged ...\n"),
        "the file elides code",
    ),
    "file with dots": (fenced(WHOLE.replace("        return 0.0\n", "        ...\n")),
                       "the file elides code"),
    "only the function": (
        fenced("WARMUP = WARMDOWN = 0.3\ndef rate(progress):\n    return 1.0\n"), "contract",
    ),
    "file as it was": (fenced(PARENT), "the edit changes nothing"),
    "another whole file": (
        f"{HEAD}```python trainer/scoring/scorer.py\n{WHOLE}```\n", "the code fence names the file",
    ),
    "file without fields": (f"```python\n{WHOLE}```\n", "there is no line 'category"),
    "file with a hidden line": (fenced(WHOLE.replace("0.5", "0.5\r")), "the file has a carriage"),
}  # fmt: skip


def book(words: str) -> str:
    """A notebook as a model writes it."""
    return f"## What was learnt\n\n{words}\n\n## What to combine\n\nx\n\n## What is exhausted\n\ny"
