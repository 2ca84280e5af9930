"""The user's repository as a campaign uses it: commits, refs and notes beside the user's own.

Only plumbing commands are used, so that the user's checkout, index, branch and hooks do not change.
GitPython opens the repository and runs the commands (``command``). Commands also read objects and
refs, because GitPython's own readers support neither SHA-256 repositories nor reftables; and they
write them, because GitPython's object store does not sync to disk.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agent.git.command import EMAIL, NAME, RepoError, complaint, forget_inherited, run_git
from agent.git.files import is_emptied, loose_refs
from agent.git.objects import CommitInfo, Object, commit_of, info_of, pack, put_file, put_notes
from agent.git.reader import Reader
from trainer.source import not_utf8

TRAIN_FILE = "trainer/train.py"
TAG_BYTES = 100
OLDEST_GIT = (2, 27)
"""The first one with transactions in ``update-ref --stdin``."""

log = logging.getLogger(__name__)
_RECENT = 50
"""So many of the last commits are read whole at a start."""
_DAMAGED = re.compile(rb"(?:loose object '?|unable to stream )([0-9a-f]{40,64})")
"""How git names an object whose file is damaged."""
Move = tuple[str, str, str | None]
"""Of a ref: its name, where it goes, and where it is."""
DIFF = ("diff-tree", "-r", "--text", "--no-ext-diff", "--no-textconv", "--no-renames")
"""A command that shows every change of a file as text, whatever the user's settings are."""


class Repo:
    """The user's repository, seen from one checkout of it."""

    def __init__(self, root: Path) -> None:
        """``root`` is the checkout's top."""
        self.root = root
        self.git_dir = self._path_of("--absolute-git-dir")
        """The git directory of this checkout; a linked worktree has its own."""
        self.common_dir = self._path_of("--git-common-dir")
        """The git directory of the repository, the same for all its checkouts."""
        self.reader = Reader(root)
        """Who opens it reads faster, and has to close it."""

    def _path_of(self, option: str) -> Path:
        found = os.fsdecode(self.git("rev-parse", option).removesuffix(b"\n"))
        return (self.root / found).resolve()

    @classmethod
    def open(cls, start: Path) -> Repo:
        """The repository that ``start`` is in.

        Raises:
            RepoError: no git or an old one, no such folder, no repository, a bare one, one without
                a commit, or one that git does not trust.
        """
        forget_inherited()
        version = run_git("version", cwd=Path("/")).stdout.decode().strip()
        numbers = re.search(r"(\d+)\.(\d+)", version)
        if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST_GIT:
            oldest = ".".join(map(str, OLDEST_GIT))
            raise RepoError(f"{version} is too old: a campaign needs git {oldest} or newer")
        done = run_git("rev-parse", "--show-toplevel", cwd=start)
        if done.returncode != 0:
            said = complaint(done)
            if "not a git repository" in said:
                said = "not a git repository; run inside a clone, or make one with: git init"
            elif "work tree" in said:
                said += "; it is a bare repository or git's own folder: run in a checkout"
            raise RepoError(f"{start}: {said}")
        repo = cls(Path(os.fsdecode(done.stdout.removesuffix(b"\n"))))
        if repo.resolve("HEAD") is None:
            said = "has no commit yet; a campaign needs one: git add -A && git commit -m 'first'"
            logged, packs = repo.git_dir / "logs/HEAD", repo.common_dir / "objects/pack"
            if any(packs.glob("*.*")) or (logged.is_file() and logged.stat().st_size):
                said = f"lacks HEAD's commit, or it is damaged: see git fsck and {logged}"
                said += "; on a new branch: git switch one with commits"
            raise RepoError(f"{repo.root} {said}")
        return repo

    def git(self, *args: str, stdin: bytes = b"", dates: int | None = None) -> bytes:
        """Run a git command that has to succeed; returns its standard output.

        Raises:
            RepoError: it failed.
        """
        done = run_git(*args, cwd=self.root, stdin=stdin, dates=dates)
        if done.returncode != 0:
            raise RepoError(f"git {args[0]} failed in {self.root}: {complaint(done)}")
        return done.stdout

    def head(self) -> str:
        """Full hash of the checkout's commit; also with a detached HEAD or in a rebase."""
        return self.commit_for("HEAD").sha

    def resolve(self, ref: str) -> str | None:
        """Full hash of the commit that a ref (or any revision) names, None if there is none."""
        found = self._object(f"{ref}^{{commit}}", "commit")
        return found[0] if found else None

    def commit_for(self, rev: str) -> CommitInfo:
        """The commit that a hash, branch, tag or expression such as ``autoresearch/t~1`` names.

        Raises:
            RepoError: it names none, or more than one.
        """
        found = self._object(f"{rev}^{{commit}}", "commit")
        if found is None:
            raise RepoError(f"{rev!r} names no commit in {self.root}; see: git log --all")
        return info_of(*found)

    def read_file(self, rev: str, path: str = TRAIN_FILE) -> str:
        """A file's text as committed, line ends untouched.

        Raises:
            RepoError: no such commit or file, or it is not UTF-8 or a filter's.
        """
        found = self._object(f"{rev}:{path}", "blob")
        if found is None:
            sha = self.commit_for(rev).sha
            do = "commit one"
            if (self.root / path).is_file():
                do = f"commit the one that you have: git add -f {path} && git commit -m 'add it'"
            raise RepoError(f"commit {sha[:12]} in {self.root} has no file {path}; {do}")
        if found[1].startswith((b"version https://git-lfs", b"\0GITCRYPT")):
            raise RepoError(
                f"{path} in {rev} is no text but what a filter made of it (Git LFS, git-crypt): "
                "take it out of .gitattributes, then commit it again"
            )
        try:
            return found[1].decode("utf-8")
        except UnicodeDecodeError as error:
            raise RepoError(f"{path} in {rev}: {not_utf8(error)}; then commit it") from None

    def blob(self, rev: str, path: str = TRAIN_FILE) -> str:
        """Full hash of a file as committed; "" if there is no such commit or file."""
        found = self._object(f"{rev}:{path}", "blob")
        return found[0] if found else ""

    def commit_file(
        self, parent: str, content: str, message: str, when: float, path: str = TRAIN_FILE
    ) -> str:
        """Commit ``parent`` with one file's content changed; no ref moves. Returns the full hash.

        The same arguments give the same hash. ``when`` is in unix seconds; git drops fractions.
        Trees are made directly, so that no index is involved.

        Raises:
            RepoError: no such parent or file, text that UTF-8 cannot hold, or git failed.
        """
        base = self.commit_for(parent)
        try:
            data = content.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RepoError(f"the new {path} cannot be written as UTF-8: {error}") from error
        made = [Object("blob", data)]
        trees = put_file(self._tree, base.tree, path.split("/"), made[0].name(base.sha))
        if trees is None:
            raise RepoError(f"{path} is no regular file in commit {base.sha[:12]} of {self.root}")
        made += trees
        made.append(commit_of(made[-1].name(base.sha), [base.sha], message, int(when)))
        return self._write(made, base.sha)

    def recommit(self, sha: str, message: str) -> str:
        """The same tree, parent and date under another message; returns the full hash."""
        info = self.commit_for(sha)
        parents = filter(None, [info.parent])
        return self._write([commit_of(info.tree, parents, message, info.time)], info.sha)

    def squash(self, base: str, commit: str) -> str:
        """A commit on top of ``base`` with the tree, message and date of ``commit``."""
        info, parent = self.commit_for(commit), self.commit_for(base).sha
        return self._write([commit_of(info.tree, [parent], info.message, info.time)], info.sha)

    def is_own(self, sha: str) -> bool:
        """Whether a campaign has made this commit."""
        found = self._object(sha, "commit")
        own = f"\ncommitter {NAME} <{EMAIL}> ".encode()
        return found is not None and own in found[1].partition(b"\n\n")[0]

    def refs(self, *patterns: str) -> dict[str, str]:
        """Hashes by ref: of the refs that have one of these names, or are below one of them."""
        listed = self.git("for-each-ref", "--format=%(objectname) %(refname)", *patterns)
        lines = (line.partition(" ") for line in listed.decode().splitlines())
        return {ref: sha for sha, _, ref in lines}

    def named(self, *names: str) -> dict[str, str]:
        """The same of refs that have one of these names, however many others there are."""
        found, unsure = loose_refs(self.common_dir, names)
        return found | (self.refs(*unsure) if unsure else {})

    def missing(self, commits: Sequence[str]) -> list[str]:
        """Those of ``commits`` that the repository does not have whole, with their train.py. Only
        of the last ones all bytes are read: they are what a power cut may have damaged."""
        names = [f"{commit}:{TRAIN_FILE}" for commit in commits]
        self._mended("cat-file", "--batch", names=names[-_RECENT:])
        answers = self._mended("cat-file", "--batch-check", names=names).decode().splitlines()
        return [one for one, said in zip(commits, answers, strict=True) if " blob " not in said]

    def _mended(self, *args: str, names: Iterable[str] = ()) -> bytes:
        """Output of a command that reads objects. The files of damaged ones are put out of the way
        and kept: git would not write them again, which the journal may be able to."""
        stdin = "".join(f"{name}\n" for name in names).encode()
        done = run_git(*args, cwd=self.root, stdin=stdin)
        if done.returncode != 0 or b" missing\n" in done.stdout:
            for path in filter(is_emptied, (self.common_dir / "objects").glob("??/[0-9a-f]*")):
                path.unlink()
            done = run_git(*args, cwd=self.root, stdin=stdin)
        while done.returncode != 0 and (found := _DAMAGED.search(done.stderr)):
            sha = found[1].decode()
            path = self.common_dir / "objects" / sha[:2] / sha[2:]
            if not path.is_file():
                break
            log.warning("%s is damaged: kept as damaged-%s in %s", path, sha, self.common_dir)
            path.replace(self.common_dir / f"damaged-{sha}")
            done = run_git(*args, cwd=self.root, stdin=stdin)
        return done.stdout if done.returncode == 0 else self.git(*args, stdin=stdin)

    def update_refs(self, changes: Sequence[Move]) -> None:
        """Move refs in one transaction: all of them, or none.

        If ``old`` is None, the ref must not exist yet. A ref that is already at ``new`` stays
        there, so that a cut-off step can be repeated. One whose file is damaged counts as none.

        Raises:
            RepoError: a ref is somewhere else, or cannot be written.
        """
        names = [ref for ref, _, _ in changes]
        found = self.named(*names)
        self._put_aside(ref for ref in names if ref not in found)
        commands = ["start"]
        for ref, new, old in changes:
            if found.get(ref) == new:
                commands += [f"verify {ref}", new]
            elif old is None:
                commands += [f"create {ref}", new]
            else:
                commands += [f"update {ref}", new, old]
        commands += ["prepare", "commit", ""]
        args = ("update-ref", "--no-deref", "-m", NAME, "-z", "--stdin")
        self.git(*args, stdin="\0".join(commands).encode())

    def _put_aside(self, refs: Iterable[str]) -> None:
        """Keep aside the files of refs that git does not list, and would not write either."""
        for ref in refs:
            if (path := self.common_dir / ref).is_file():
                log.warning("%s is damaged: kept in %s", path, self.common_dir)
                path.replace(self.common_dir / f"damaged-{ref.replace('/', '-')}")

    def delete_refs(self, refs: Mapping[str, str]) -> None:
        """Delete refs that have these hashes, in one transaction: all of them, or none."""
        commands = "".join(f"delete {ref}\0{old}\0" for ref, old in refs.items())
        self.git("update-ref", "--no-deref", "-z", "--stdin", stdin=commands.encode())

    def branch(self, tag: str) -> str:
        """The ref of a campaign's branch."""
        return f"refs/heads/autoresearch/{tag}"

    def folder(self, tag: str) -> str:
        """Below it are a campaign's refs, but for its branch and its notes."""
        return f"refs/autoresearch/{tag}"

    def base_ref(self, tag: str) -> str:
        """The ref that keeps the commit a campaign started from; it marks the branch as ours."""
        return f"{self.folder(tag)}/base"

    def trial_ref(self, tag: str, n: int) -> str:
        """The ref of trial ``n``'s candidate, later of its final commit."""
        return f"{self.folder(tag)}/trials/{n}"

    def notes_ref(self, tag: str) -> str:
        """The ref of a campaign's notes."""
        return f"refs/notes/autoresearch/{tag}"

    def openings_ref(self, tag: str) -> str:
        """The ref of the notes that tell each opening of the sealed test text."""
        return f"refs/notes/autoresearch-openings/{tag}"

    def check_tag(self, tag: str, *, new: bool = False) -> None:
        """Check that ``tag`` is a possible name of a campaign, and with ``new`` that none has it.

        Raises:
            RepoError: it cannot name a branch or folder, or another ref is in the way.
        """
        if not tag.isprintable() or "/" in tag or len(tag.encode()) > TAG_BYTES:
            raise RepoError(f"--tag {tag!r}: give one short name without slashes, such as nov22")
        branch = self.branch(tag)
        if run_git("check-ref-format", branch, cwd=self.root).returncode != 0:
            raise RepoError(f"--tag {tag!r}: git refuses the branch autoresearch/{tag}; rename it")
        if new and self.refs(self.folder(tag)):
            raise RepoError(
                f"--tag {tag!r}: refs of an earlier campaign, whose journal is gone or empty: "
                f"restore campaigns/{tag}/journal.jsonl from a copy, use another --tag, or remove "
                f"the rest: python -m agent clean --tag {tag}"
            )
        folder = "refs/heads/autoresearch"
        for ref in self.refs(folder):
            foreign = ref == branch and new
            if foreign or ref == folder or ref.startswith(f"{branch}/"):
                short = ref.removeprefix("refs/heads/")
                raise RepoError(
                    f"--tag {tag!r}: the branch {short} is in the way, and no campaign's; use "
                    f"another --tag, or rename it: git branch -m {short} NEW"
                )

    def add_note(self, tag: str, commit: str, text: str, *, ref: str = "") -> None:
        """Attach a text to a commit in the campaign's notes, or in those of ``ref``; replaces an
        earlier note."""
        self.update_refs([self.made_notes(ref or self.notes_ref(tag), {commit: text})])

    def made_notes(self, ref: str, notes: dict[str, str]) -> Move:
        """The move of ``ref``, for ``update_refs``, that attaches a text to each of some commits;
        its date is the last one's."""
        old, last = self.named(ref).get(ref), self.commit_for(next(reversed(notes)))
        blobs = {text: Object("blob", text.encode("utf-8", "replace")) for text in notes.values()}
        tree = self.commit_for(old).tree if old else ""
        told = {commit: blobs[text].name(last.sha) for commit, text in notes.items()}
        made = [*blobs.values(), *put_notes(self._tree, tree, told)]
        parents, said = filter(None, [old]), "Notes added by 'git notes add'\n"
        made.append(commit_of(made[-1].name(last.sha), parents, said, last.time))
        return ref, self._write(made, last.sha), old

    def read_note(self, tag: str, commit: str, *, ref: str = "") -> str | None:
        """The text that ``add_note`` attached, None if there is none."""
        notes = f"--ref={ref or self.notes_ref(tag)}"
        done = run_git("notes", notes, "list", commit, cwd=self.root)
        found = self._object(done.stdout.decode().strip(), "blob") if done.stdout else None
        return found[1].decode("utf-8", "replace") if found else None

    def noted(self, tag: str) -> set[str]:
        """The commits that have a note. If the notes are damaged, there are none from now on: the
        journal has what was in them."""
        ref = self.notes_ref(tag)
        self._put_aside([ref] if ref not in self.refs(ref) else [])
        try:
            listed = self._mended("notes", f"--ref={ref}", "list").decode().split()
        except RepoError:
            self.git("update-ref", "-d", ref)
            return set()
        blobs = self._mended("cat-file", "--batch-check", names=listed[::2]).decode().splitlines()
        return {of for of, said in zip(listed[1::2], blobs, strict=True) if " blob " in said}

    def diff(self, a: str, b: str, path: str = TRAIN_FILE) -> str:
        """Unified diff of one file between two commits; empty if it is the same."""
        return self.git(*DIFF, "-p", a, b, "--", path).decode("utf-8", "replace")

    def _object(self, name: str, kind: str) -> tuple[str, bytes] | None:
        """Hash and bytes of the object that ``name`` stands for, None if there is none."""
        if "\n" in name:
            return None
        if (read := self.reader.read(name)) is not None:
            return (read[0], read[2]) if read[1] == kind else None
        asked = f"{name}\n".encode("utf-8", "replace")
        header, _, rest = self.git("cat-file", "--batch", stdin=asked).partition(b"\n")
        match = re.fullmatch(rb"([0-9a-f]{40,64}) (\w+) (\d+)", header)
        if match is None or match[2] != kind.encode():
            return None
        return match[1].decode(), rest[: int(match[3])]

    def _tree(self, sha: str) -> bytes:
        """The content of a tree."""
        if (found := self._object(sha, "tree")) is None:
            raise RepoError(f"tree {sha[:12]} is missing in {self.root}; see: git fsck")
        return found[1]

    def _write(self, made: Sequence[Object], like: str) -> str:
        """Write objects, none without those before it; the hash of the last one.

        Args:
            like: any full hash of this repository.
        """
        self.git("unpack-objects", "-q", stdin=pack(made, like))
        return made[-1].name(like)


def changed_lines(diff: str) -> tuple[int, int]:
    """Lines (added, removed) in a diff of one file."""
    # Counted here: git's own --numstat obeys a "-diff" attribute in spite of --text.
    changed = diff.partition("\n@@")[2].split("\n")
    marks = [line[:1] for line in changed]
    return marks.count("+"), marks.count("-")
