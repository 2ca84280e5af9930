"""What others have committed, and what they claim: read or told, whatever it is written in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from events import Story

from agent.campaign.state import State
from agent.campaign.submissions import Submission, submit
from agent.git.command import RepoError
from agent.git.repo import Repo
from agent.steps.import_commits import Imports, read_imports
from trainer.errors import UserError

Git = Callable[..., str]
TRAIN_PY = "VOCAB_SIZE = 512\nSEQ_LEN = 64\n\nRATE = 0.01\n\nWARMDOWN = 0.3\n"
NUMBERS = {"a": "0.01", "b": "0.3", "c": "512"}
"""Of TRAIN_PY, changed by a commit of this name."""


@pytest.fixture
def theirs(tmp_path: Path, git: Git) -> Path:
    """Somebody's repository of the ancestor's form: train.py at the top, commits a, b, c."""
    root = tmp_path / "theirs"
    root.mkdir()
    git(root, "init", "--quiet")
    commit(root, git, "start", TRAIN_PY)
    grow(root, git)
    return root


def commit(root: Path, git: Git, message: str, text: str, name: str = "train.py") -> None:
    (root / name).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", message)
    git(root, "tag", message.split()[0])


def grow(root: Path, git: Git, name: str = "train.py") -> None:
    for number, (title, old) in enumerate(NUMBERS.items()):
        text = (root / name).read_text().replace(f"= {old}", f"= {2**number}.5")
        commit(root, git, f"{title} (val_bpb {1 - number / 100:.4f})", text, name)
        commit(root, git, f"notes{number}", f"{number}\n", "README.md")


def read(repo: Repo, what: object, state: State | None = None) -> Imports:
    return read_imports(repo, state or State(), repo.root / "campaigns/t", str(what))


def titles(imports: Imports) -> list[tuple[str, float | None]]:
    return [(one.title, one.claimed) for one in imports.found]


@pytest.fixture
def forked(user_repo: Path, git: Git) -> Repo:
    """The user's repository, with a branch of somebody's; HEAD is on main."""
    commit(user_repo, git, "own", TRAIN_PY, "trainer/train.py")
    git(user_repo, "switch", "--quiet", "-c", "fork")
    grow(user_repo, git, "trainer/train.py")
    git(user_repo, "switch", "--quiet", "main")
    return Repo.open(user_repo)


@pytest.mark.parametrize(
    ("what", "names"), [("fork", "abc"), ("b", "b"), ("a..fork", "bc"), ("fork~1", "c")]
)
def test_commits_are_read_oldest_first_each_with_its_parent(
    forked: Repo, git: Git, what: str, names: str
) -> None:
    imports = read(forked, what)
    assert [one.title for one in imports.found] == list(names)
    claims = [one.claimed for one in imports.found]
    assert claims == [None] * len(names), "the parent's message names no score"
    for one in imports.found:
        assert one.base == forked.read_file(f"{one.commit}^")
        assert one.source == forked.read_file(one.commit) != one.base
        assert one.origin == "import"


@pytest.mark.parametrize(
    ("before", "message", "claimed"),
    [
        ("x", "faster", None),
        ("x (val_bpb 1.2000)", "y (val_bpb 1.1900 ± 0.0010, -0.0100)", 0.01),
        ("x\n\nVal-Bpb: 1.5 ± 0.1", "y\n\nbody\n\nval_bpb=1.25", 0.25),
        ("x", "y\n\nGain: -0.004544 ± 0.017869\nSeeds: 2", -0.004544),
        ("x val_bpb 1.2", "y\n\nGain: none", None),
        ("x val_bpb: 0.9979 -> 0.9932", "y\n\nval_bpb: 0.9932 -> 0.9900", 0.0032),
        ("x", "y (val_bpb 1.25 to 1.125)", 0.125),
        ("x", "y\n\nGain: 3.1e-3", 0.0031),
        ("x", "y\n\nGain: 1.5% of val_bpb", None),
        ("x val_bpb 1.2", "y (val_bpb 1.19)\n\nbody\n\nGain: 1.25 %", 0.01),
        ("x", "", None),
    ],
)
def test_a_claim_is_what_the_messages_name(
    repo: Repo, git: Git, before: str, message: str, claimed: float | None
) -> None:
    for text, said in ((f"{TRAIN_PY}A = 1\n", before), (f"{TRAIN_PY}A = 2\n", message)):
        (repo.root / "trainer/train.py").write_text(text)
        git(repo.root, "commit", "--quiet", "--allow-empty-message", "-am", said)
    (one,) = read(repo, "HEAD").found
    assert one.claimed == claimed
    assert one.title == (message.split() or [one.commit[:7]])[0]
    assert one.hypothesis == ("body" if "body" in message else one.title)


def test_what_is_no_change_of_a_train_py_is_told_and_nothing_comes_twice(
    forked: Repo, theirs: Path, git: Git
) -> None:
    start = git(forked.root, "rev-list", "--max-parents=0", "HEAD").strip()
    told = {start: "begins or ends", "HEAD~1": "no change", "notes0": "no change"}
    for what, why in told.items():
        imports = read(forked, what)
        assert not imports.found and why in imports.skipped[0]
    git(forked.root, "fetch", "--quiet", str(theirs), "main:unrelated")
    assert [one.title for one in read(forked, "unrelated").found] == ["a", "b", "c"]
    story = Story()
    story.baseline()
    state = story.state
    a, b, _ = read(forked, "fork").found
    folder = forked.root / "campaigns/t"
    folder.mkdir(parents=True)
    submit(folder, b)
    object.__setattr__(state.trials[0], "submitted", {"commit": a.commit})
    again = read(forked, "fork", state)
    assert [one.title for one in again.found] == ["c"]
    assert ["it was trial 0" in again.skipped[0], "it waits" in again.skipped[2]] == [True, True]
    with pytest.raises(UserError, match="nothing in it"):
        read(forked, "main")
    for odd in ("nosuch", "-x", "--all", "a\nb", ""):
        with pytest.raises(UserError, match="is no file"):
            read(forked, odd)
    with pytest.raises(RepoError, match="nosuch"):
        read(forked, "nosuch..fork")


def short(theirs: Path, git: Git) -> dict[str, str]:
    return {n: git(theirs, "rev-parse", "--short=7", n).strip() for n in ("start", *NUMBERS)}


HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
ROWS = """{start}\t0.997900\t44.0\tkeep\tbaseline
{a}\t0.990000\t44.0\tkeep\tbatch halved
fffffff\t1.005000\t44.0\tdiscard\tgelu
{b}\t0.000000\t0.0\tcrash\ttoo wide
{c}\t0.985000\t44.2\tkeep\tdeeper"""
PLAIN = [("batch halved", 0.0079), ("deeper", 0.005)]


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (f"{HEADER}\n{ROWS}\n", PLAIN),
        (f"\ufeff{HEADER}\n{ROWS}".replace("\n", "\r\n"), PLAIN),
        (ROWS, PLAIN),
        (f"# mine\n\n{HEADER}\n# more\n{ROWS}\n\n", PLAIN),
        (f"{HEADER}\n{ROWS}".replace("\t", " \t "), PLAIN),
        (f"{HEADER}\n{ROWS}".replace("\t", "  "), PLAIN),
        (f"{HEADER}\n{ROWS}".replace("keep", "KEEP").replace("commit", "Commit"), PLAIN),
        (
            "\n".join(
                "\t".join(reversed(line.split("\t"))) for line in f"{HEADER}\n{ROWS}".splitlines()
            ),
            PLAIN,
        ),
        (f"{ROWS}\n{{a}}\t0.98\t1\tkeep\tagain", PLAIN),
        ("\n".join(ROWS.splitlines()[1:]), [("batch halved", None), ("deeper", 0.005)]),
        (f"{ROWS}\n0123456\t0.9\t1\tkeep\tlost\n{{b}}\tnan\t1\tkeep\tb", [*PLAIN, ("b", None)]),
        (f"{ROWS}\nHEAD\t0.9\t1\tkeep\tno hash\nfe\n", PLAIN),
    ],
    ids=["plain", "BOM and CRLF", "no header", "comments", "spaces", "no tabs", "capitals",
         "columns turned round", "twice", "no baseline", "missing and nan", "odd rows"],
)  # fmt: skip
def test_a_table_is_read_or_told_by_row(
    repo: Repo, theirs: Path, git: Git, table: str, found: list[tuple[str, float | None]]
) -> None:
    before = git(repo.root, "for-each-ref"), git(theirs, "for-each-ref")
    path = theirs / "results.tsv"
    path.write_text(table.format(**short(theirs, git)))
    imports = read(repo, path)
    rows = [line for line in table.lstrip("\ufeff").splitlines() if line and line[0] != "#"]
    count = sum(not row.lower().startswith(("commit", "description")) for row in rows)
    assert len(imports.found) + len(imports.skipped) + len(imports.unread) == count
    assert titles(imports) == found
    assert imports.found[0].base == TRAIN_PY
    assert all(line.startswith("row ") for line in imports.skipped + imports.unread)
    told = " ".join(imports.skipped)
    assert "discard there" in told and "crash there" in told
    assert ("their baseline" in told) == ("baseline" in table)
    for row, why in (("0123456\t0", "no such"), ("HEAD\t0", "no such"), ("\nfe\n", "no status")):
        name = f": {row.split()[0]} "
        assert any(name in line and why in line for line in imports.unread) == (row in table)
    assert (git(repo.root, "for-each-ref"), git(theirs, "for-each-ref")) == before


def test_a_table_without_a_repository_beside_it_has_its_commits_here(
    forked: Repo, tmp_path: Path, git: Git
) -> None:
    names = {n: git(forked.root, "rev-parse", n).strip() for n in "abc"}
    path = tmp_path / "results.tsv"
    path.write_text(ROWS.format(start="ffff", **names))
    assert titles(read(forked, path)) == PLAIN


@pytest.mark.parametrize(
    ("content", "why"), [(b"# caf\xe9\n", "is not UTF-8"), (b"# a\0b\n", "NUL bytes")]
)
def test_a_file_that_is_no_text_is_told(repo: Repo, git: Git, content: bytes, why: str) -> None:
    (repo.root / "trainer/train.py").write_bytes(content)
    git(repo.root, "commit", "--quiet", "-am", "odd")
    imports = read(repo, "HEAD")
    assert not imports.found and why in imports.unread[0]


def test_a_file_that_was_moved_keeps_its_edit_and_a_merge_is_told(forked: Repo, git: Git) -> None:
    git(forked.root, "mv", "trainer/train.py", "train.py")
    commit(forked.root, git, "moved", TRAIN_PY.replace("0.01", "0.02"))
    (one,) = read(forked, "HEAD").found
    assert (one.base, one.source) == (TRAIN_PY, TRAIN_PY.replace("0.01", "0.02"))
    git(forked.root, "switch", "--quiet", "fork")
    git(forked.root, "merge", "--quiet", "--no-ff", "-s", "ours", "-m", "joined", "main")
    git(forked.root, "switch", "--quiet", "main")
    for what, count in (("fork", 3), ("fork^0", 0)):
        imports = read(forked, what)
        assert len(imports.found) == count
        assert any("a merge: its own edits are not taken" in line for line in imports.skipped)


def test_a_submission_is_what_a_commit_changes(forked: Repo) -> None:
    (one,) = read(forked, "b").found
    assert one == Submission(
        TRAIN_PY.replace("= 0.01", "= 1.5").replace("= 0.3", "= 2.5"),
        "b",
        "b",
        "import",
        base=TRAIN_PY.replace("= 0.01", "= 1.5"),
        commit=forked.resolve("b") or "",
    )
