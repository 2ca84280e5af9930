"""What is to be known of an edit: its size, its kind, if it moves the loss, if it reads a clock."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.edits.changes import canonical_lines, differences, places, remove_texts
from agent.edits.constants import sections
from agent.edits.pieces import pieces, remembered, tree_of
from trainer.source import plain

_LOSS = re.compile(
    r"loss|entropy|\blog\b|consumed|dropout|smooth|mixture|sources|penalty", re.IGNORECASE
)
_CLOCKS = re.compile(
    r"time\.(time|monotonic|perf_counter|process_time|thread_time|clock_gettime)(_ns)?"
    r"|time\.(localtime|gmtime|ctime|asctime|strftime)"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)|os\.(times|urandom|getrandom|getloadavg|getpid)"
    r"|threading\.Timer|signal\.(alarm|setitimer)|resource\.getrusage|(timeit|psutil|secrets)\.\w+"
    r"|torch(\.\w+)*\.Event|torch\.(utils\.benchmark|profiler|autograd\.profiler)\.\w+"
    r"|uuid\.uuid[14]|random\.SystemRandom|torch(\.\w+)?\.seed(_all)?"
)
_GENERATORS = re.compile(
    r"random\.Random|numpy\.random\.(default_rng|RandomState|SeedSequence|PCG64|MT19937|Philox|SFC64)"
)
"""Repeat if they are given a seed."""
_GLOBAL = re.compile(r"(random|numpy\.random)\.[a-z_]+")
"""Draw from a generator that repeats if the file seeds it."""
_FILES = re.compile(r"/proc/|/dev/u?random")
_STARS = {"time", "timeit", "random", "secrets", "numpy.random"}
MOST_NAMED = 4
CROSS_CUTTING = frozenset({"hyperparameters", "regularisation", "efficiency", "simplification"})
"""Categories that may change any section, and whose sections any category may change."""


@dataclass(frozen=True)
class EditFacts:
    """See the fields of the same names in ``campaign.records.Trial``."""

    size_delta: int
    """Statements of the candidate less those of its parent; 0 if it has fewer of them, but no fewer
    nodes in its syntax tree: then statements were only put together."""
    sets_numbers: bool
    """Whether module-level numbers are all that differs."""
    hides_loss: bool
    """Whether a statement about the loss, what is logged or what is read differs: the logged losses
    of candidate and champion may then be different quantities."""
    reads_clock: str
    """See the function of this name."""


def edit_facts(parent: str, candidate: str) -> EditFacts:
    """Compare two sources.

    Raises:
        SyntaxError: a source is not Python.
    """
    parent, candidate = plain(parent), plain(candidate)
    old, new = _one(parent), _one(candidate)
    size_delta = new.statements - old.statements
    if size_delta < 0 and new.nodes >= old.nodes:
        size_delta = 0
    changed = [
        line
        for i1, i2, j1, j2 in differences(old.lines, new.lines)
        for line in (*old.lines[i1:i2], *new.lines[j1:j2])
    ]
    numbers = sets_numbers(parent, candidate)
    return EditFacts(
        size_delta=size_delta,
        sets_numbers=numbers,
        hides_loss=any(_LOSS.search(line) for line in changed),
        # Numbers are no names, and the champion's answer is known.
        reads_clock=reads_clock(parent if numbers and _in_place(parent, candidate) else candidate),
    )


def sets_numbers(parent: str, candidate: str) -> bool:
    """Whether module-level numbers are all that differs in two sources in plain form.

    Raises:
        SyntaxError: a source is not Python.
    """
    return _one(parent).but_for_numbers == _one(candidate).but_for_numbers


def _in_place(parent: str, candidate: str) -> bool:
    """Whether all that differs are pieces of one line, so that all others are where they were."""
    old, new = pieces(parent), pieces(candidate)
    return len(old) == len(new) and all(
        a.line == b.line and (a.text == b.text or a.text.count("\n") == b.text.count("\n") == 1)
        for a, b in zip(old, new, strict=True)
    )


@dataclass(frozen=True)
class _One:
    """What is compared of one source or of a piece of it, without its docstrings."""

    lines: tuple[str, ...]
    statements: int
    nodes: int
    but_for_numbers: Sequence[str]


@functools.lru_cache(maxsize=4)  # the champion's is asked for in each trial
def _one(source: str) -> _One:
    parts = [_of_piece(piece.text) for piece in pieces(source)]
    return _One(
        canonical_lines(source),
        sum(part.statements for part in parts),
        sum(part.nodes for part in parts),
        [dumped for part in parts for dumped in part.but_for_numbers],
    )


@remembered
def _of_piece(text: str) -> _One:
    tree = ast.parse(text)
    remove_texts(tree)
    statements, nodes = _count(tree, ast.stmt), _count(tree, ast.AST) - 1  # the module
    _forget_numbers(tree)
    return _One((), statements, nodes, [ast.dump(node) for node in tree.body])


def credited(
    asked: str, declared: str, parent: str, candidate: str, categories: Collection[str]
) -> str:
    """The category that an edit counts for, so that the prior learns of what was really tried.

    It is the one that the reply declares (the one asked for, if that is none of ``categories``), if
    the edit may be of it: if it touches its section or none that is another's, or if it has no
    section. Else it is the one with the most changed lines. ``CROSS_CUTTING`` categories may change
    any section, and any may change theirs.
    """
    claimed = declared if declared in categories else asked
    before, after = sections(parent), sections(candidate)
    changed: Counter[str] = Counter()
    for i1, i2, j1, j2 in places(parent, candidate):
        changed.update([*before[i1:i2], *after[j1:j2]])
    theirs = set(categories) - CROSS_CUTTING
    others = [name for name, _ in changed.most_common() if name in theirs]
    is_free = claimed in CROSS_CUTTING or claimed not in before
    return claimed if is_free or not others or claimed in changed else others[0]


@functools.lru_cache(maxsize=4)
def reads_clock(source: str) -> str:
    """What a train.py reads by itself that is another thing each time, and where; "" if nothing.

    That is the time, and randomness that no seed governs. A training on it cannot be replayed bit
    for bit. Names are followed through imports, assignments and ``getattr``, not through data.

    Raises:
        SyntaxError: the source is not Python.
    """
    nodes = list(ast.walk(tree_of(plain(source))))
    known: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for one in node.names:
                top = one.name.partition(".")[0]
                known |= {one.asname: one.name} if one.asname else {top: top}
        elif isinstance(node, ast.ImportFrom):
            known |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    for node in 2 * nodes:  # twice: an alias may be used above the line that makes it
        if isinstance(node, ast.Assign) and (name := _full_name(node.value, known)):
            known |= {to.id: name for to in node.targets if isinstance(to, ast.Name)}
    lines: dict[str, int] = {}
    for name, line in sorted(_unrepeatable(nodes, known), key=lambda one: one[1]):
        lines.setdefault(name, line)
    named = [f"{name} (line {line})" for name, line in lines.items()]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return ", ".join(named[:MOST_NAMED]) + more


def _full_name(node: ast.AST, known: Mapping[str, str]) -> str:
    """The dotted name of what an expression stands for, from its module on; "" if it has none."""
    match node:
        case ast.Name(id=name):
            return known.get(name, "")
        case (
            ast.Attribute(value=of, attr=name)
            | ast.Call(func=ast.Name(id="getattr"), args=[of, ast.Constant(value=str(name)), *_])
        ):
            above = _full_name(of, known)
            return f"{above}.{name}" if above else ""
        case ast.Call(
            func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return name
    return ""


def _unrepeatable(nodes: Sequence[ast.AST], known: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Name and line of each use of something that is another thing each time."""
    calls = [(node, _full_name(node.func, known)) for node in nodes if isinstance(node, ast.Call)]
    seeded = {name for call, name in calls if call.args or call.keywords}
    yield from (
        (name, call.lineno)
        for call, name in calls
        if _GENERATORS.fullmatch(name) and ast.unparse(call).endswith(("()", "(None)", "=None)"))
    )
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            if node.module in _STARS:
                yield f"{node.module}.*", node.lineno
        elif isinstance(node, ast.expr):
            name = _full_name(node, known)
            if isinstance(node, ast.Constant) and _FILES.match(str(node.value)):
                yield str(node.value), node.lineno
            elif _CLOCKS.fullmatch(name) or (
                (drawn := _GLOBAL.fullmatch(name))
                and not _GENERATORS.fullmatch(name)
                and f"{drawn[1]}.seed" not in seeded
            ):
                yield name, node.lineno


def _count(tree: ast.AST, kind: type[ast.AST]) -> int:
    return sum(isinstance(node, kind) for node in ast.walk(tree))


def _forget_numbers(tree: ast.Module) -> None:
    """Set all numbers that module-level statements assign to 0."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and _is_number(node.value):
            node.value = ast.Constant(0)


def _is_number(node: ast.expr | None) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)
