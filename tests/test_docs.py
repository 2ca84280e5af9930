"""What the documents name exists: files, headings, commands, options, benchmarks, checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperCommand, TyperGroup

from agent import cli
from agent.settings import Lifetime, names
from trainer.__main__ import main as measure_file

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "program.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
FIRST_PAGE_LINES = 130
NOT_BUILT = {"verify"}
"""Commands that a page may name to say that they are missing."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def commands(page: Path, module: str) -> list[str]:
    """What follows ``python -m MODULE`` in a page, to the end of the line or of the code."""
    return re.findall(rf"python -m {module}\b ?([^`\n#>|]*)", page.read_text())


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    for line in filter(None, commands(page, "agent")):
        name, *rest = line.split()
        assert name in group.commands or name in NOT_BUILT, line
        if name in group.commands:
            assert options(rest) <= known(group.commands[name]), line
    alone = typer.Typer()
    alone.command()(measure_file)
    for line in commands(page, "trainer"):
        assert options(line.split()) <= known(typer.main.get_command(alone)), line


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def known(command: TyperCommand) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help"}


def test_using_names_the_settings_that_an_edit_of_program_md_changes_during_a_run() -> None:
    text = (ROOT / "docs/using.md").read_text()
    (said,) = re.findall(r"in its front matter (.*?)\.\s+It\s+is read again", text, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", said)) == set(names(Lifetime.LIVE))


@each_page
def test_benchmarks_and_tests_exist(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"benchmarks[./](\w+)(?=\.py| --|`)", text):
        place = ROOT / "benchmarks" / name
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name
    for name in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name


def test_the_first_page_is_short_and_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= FIRST_PAGE_LINES
    first_screen = "\n".join(text.splitlines()[:20])
    assert "pip install -e . && python -m agent run" in first_screen
    assert 'pip install -e ".[dev]" && pytest' in first_screen


def test_a_commit_is_checked_by_the_tools_that_ci_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["entry"].split(" --")[0] for repo in config["repos"] for hook in repo["hooks"]}
    ci = (ROOT / ".ci/run").read_text()
    assert hooks == {"ruff check", "ruff format", "mypy", "lint-imports"}
    assert all(re.search(rf"^{hook}\b", ci, re.MULTILINE) for hook in hooks)
