"""Settings at the top of program.md, as people write them: they hold, or a line says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.program import ProgramError, load_program, parse_program, reload_program

BODY = "# Title\n\nProse.\n\n---\n\nMore prose: with a colon.\n\n## Categories\n\n- **a**: b\n"
SET = "max_cost: 5\nhours: 8\n"
HOLD = {"max_cost": 5.0, "hours": 8.0}
TAKEN = {
    "as it should be": f"---\n{SET}---\n",
    "below a blank line": f"\n---\n{SET}---\n",
    "below blank lines with spaces": f"  \n\t\n---\n{SET}---\n",
    "byte order mark": f"\ufeff---\n{SET}---\n",
    "byte order mark and blank line": f"\ufeff\n---\n{SET}---\n",
    "below an HTML comment": f"<!-- what this is -->\n---\n{SET}---\n",
    "below a long HTML comment": f"<!--\nmax_cost: 9\n-->\n\n---\n{SET}---\n",
    "below a comment": f"# mine\n---\n{SET}---\n",
    "below a title": f"# Research program\n\n---\n\n{SET}\n---\n",
    "below a title, misspelt first": f"# Research\n---\n# budget: 20s\n{SET}---\n",
    "spaces after the fences": f"---  \n{SET}---\t\n",
    "comments after the fences": f"--- # settings\n{SET}--- #end\n",
    "HTML comment after the fence": f"--- <!-- settings -->\n{SET}---\n",
    "dots at the end": f"---\n{SET}...\n",
    "indented fences": f" ---\n{SET}  ---\n",
    "longer fences": f"-----\n{SET}-----\n",
    "CRLF": f"---\n{SET}---\n".replace("\n", "\r\n"),
    "CR": f"---\n{SET}---\n".replace("\n", "\r"),
    "tabs after the colons": f"---\n{SET}---\n".replace(": ", ":\t"),
    "indented settings": "---\n  max_cost: 5\n  hours: 8\n---\n",
    "quoted": '---\n"max_cost": \'5\'\nhours: "8"\n---\n',
    "JSON": '---\n{"max_cost": 5, "hours": 8}\n---\n',
    "a fence for YAML": f"---yaml\n{SET}---\n",
    "a fence for YAML below a title": f"# T\n\n--- YML\n{SET}---\n",
    "nothing for the others": f"---\n{SET}notify:\nseed: null\nkeep: ~\n---\n",
}
REFUSED = {
    "without fences": (SET, 1),
    "without fences below a title": (f"# Title\n\n{SET}", 3),
    "without fences, in a list": ("- max_cost: 5\n- hours: 8\n", 1),
    "without fences, bold": ("**max_cost:** 5\n", 1),
    "without fences, no valid value": ("max_cost: five\n", 1),
    "without fences, misspelt": ("max-costs: 5\n", 1),
    "TOML": ("+++\nmax_cost = 5\n+++\n", 2),
    "in a code fence": (f"```yaml\n{SET}```\n", 2),
    "smart dashes": (f"—\n{SET}—\n", 2),
    "below prose": (f"A program.\n\n---\n{SET}---\n", 4),
    "below prose, without fences": ("A program.\n\nmax_cost: 5  # dollars\n", 3),
    "below closed front matter": ("---\nbudget: 20s\n---\nmax_cost: 5\n", 4),
    "in the notes": (f"{BODY}\n## Notes\n\nmax_cost: 5\n", 15),
    "in a comment that never ends": (f"<!-- mine\n---\n{SET}---\n", 3),
    "below a blank line, unknown": ("\n---\nzzz: 3\n---\n", 3),
    "never closed": (f"\n---\n{SET}\n## Categories\n\n- **a**: b\n", 2),
    "on the fence": ("--- max_cost: 5\n---\n", 1),
    "no space": ("---\nhours: 8\nmax_cost:5\n---\n", 3),
    "misspelt in capitals": ("---\nhours: 8\nMAX_COST: 5\n---\n", 3),
}
MISTYPED = [
    "max_cost: $5", 'max_cost: "5"', "max_cost: 5,00", "hours: 1:30", "max_cost:5", "max_cost = 5",
    "max-cost: 5", "Max_cost: 5", "maxcost: 5", "MAX_TOKENS: 1e6", "- max_cost: 5", "max_costs: 5",
    "**max_cost:** 5", "    max_cost: 5", "\tmax_cost: 5", "trials: ten", "hours: 8h", "hours: '8'",
    "> hours: 8", "* `hours`: 8", "max_tokens: 900 000", '{"max_cost": 5, "hours": 8}',
    "max_cost 5", "| max_cost | $5 |", "max_cost：5", "max_cost → 5", "max cost: $5 (US)",
    # with more words than a setting has, in lists, and as options
    "max_cost for the night: 5", "max_cost (US dollars, for all): 5",
    "max_cost: 5 dollars, if you please", "max_cost in US dollars for the whole night: 5",
    "**max_cost**: 5 dollars in all, and no more", "max_tokens: 2 million tokens in all",
    "hours: 8 at the very most", "hours at the most: 8", "trials: 200 in the whole night",
    "hours = 8 per night", "hours: 8, max_cost: 5, trials: 100", "max_cost: 5, hours: 8",
    "Settings: max_cost: 5, hours: 8", "Limits: hours: 8", "set max_cost: 5",
    "max_cost: 5 (dollars for the whole campaign)",
    "hours: 8 # of the night, and not more than that", "1. max_cost: 5", "2) hours: 8",
    "(3) hours: 8", "a. hours: 8", "10. trials: 8", "- [ ] max_cost: 5", "- [x] hours: 8",
    "• hours: 8", "1. **hours**: 8", "--max-cost 5", "--max-cost=5 --hours 8", "--hours 8",
]  # fmt: skip
ABOVE = {
    "prose": "# T\n\nMake it better.\n\n",
    "a name": "Author: me\n\n",
    "a setext heading": "Program\n-------\n",
    "a name between rules": "# T\n\n---\nname: night\n",
    "a fence for YAML": "Text.\n\n```yaml\n",
    "a fence": "Text.\n\n~~~\n",
    "a fence of another kind": "---js\n",
    "prose and a rule": "Text.\n\n---\n",
    "prose and a fence for YAML": "Text.\n\n---yaml\n",
    "prose and a fence for TOML": "Text.\n\n--- toml\n",
    "front matter": "---\nbudget: 20s\n---\nText.\n",
}
BETWEEN_RULES = [
    "budget: 20 s", "llm: command:claude -p", "objective:\n  memory: 0.001", "keep: no", "seed: 3",
    "name: night\n\n# mine\nnulls: none at all, I think", "data: {a: b}", "isolation = off",
    "1. budget: 20s", "hours to work at most: 8", "- seed: 3",
]  # fmt: skip
PROSE = {
    "a rule in the prose": "",
    "a rule below the title": "# Title\n\n---\n\n",
    "a rule at the top": "\n---\n\n# Title\n\n---\n\n",
    "a setting in code": "# T\n\nText.\n\n```python\nmax_tokens = 5\n```\n\n",
    "a setting in a sentence": "Text.\n\nNote: `hours: 8` is what max_cost: 5 pays for.\n\n",
    "limits in prose": "Text.\n\nHours: many\nIt all took some\nhours 8.\n\nTrials: a few\n\n",
    "results": "Text.\n\nResults so far:\nseed: 3\nbudget: 20s\n\n",
    "prose between rules": "Text.\n\n---\n\nThat it may be clear.\ndata: small\n\n---\n\n",
    "categories between rules": "Text.\n\n---\n## Categories\n- **data**: b\n---\n\n",
    **{
        f"the first line {line}": f"{line}\n\n"
        for line in (
            "Keep: it simple",
            "Data: our own text",
            "Budget: keep it small",
            "Seed: change nothing",
            "Hours: many",
            "LLM: be careful",
            "Trials 3 and 4 failed",
        )
    },
    "a setting in a comment": "<!--\nmax_cost: 5\n-->\n\nText.\n\n<!-- hours: 8 -->\n\n",
    "words that are settings' names": "Text.\n\ndata: what to read\nseed: any\nkeep: it small\n",
    "prose that begins with a setting's name": "Budget: each training has 20 s to learn in.\n\n",
    "a word that is nearly one": "See: README\n\n",
    "a word in a list": "Text.\n\n- seed: 5\n- data: tinystories\n\n",
}
NO_SETTINGS = [
    "- trial: 12 gained 0.01", "trial: 12 gained 0.01", "- trials: 12 and 13 gained 0.01",
    "Note: lower is better", "hours: I work from 9 to 5", "Hours: I work from 9 to 5",
    "hours: I work from 9 to 5 on weekdays", "Trials 3 and 4 failed", "Trials: 3 and 4 failed",
    "1. Trials: many failed", "1. hours matter less than tokens", "1. Data: our own text",
    "1. Seed: change nothing of it", "What I learnt in two hours: 8 heads are enough",
    "After 3 hours: 0.01 better", "Best of 40 trials: 1.32", "At most hours: sleep",
    "Learning after 12 hours: loss 1.3", "See max_tokens: it cuts replies off",
    "max_tokens: how long a reply may be, 32000 by default",
    "The setting max_cost: 5 dollars pay for it, says the manual", "Trial 12: gained 0.01",
    "trial 12: kept", "- trial 7: 0.01 better", "hours: the office is open 9 to 5",
    "Office hours: 9 to 5", "GPU hours: 8", "Budget: each training has 20 s",
    "Results (trials: gain): 3: 0.01, 4: -0.2", "Example 1: 8 heads", "Step 2: 5 layers",
    "We had trials: 12 kept, 30 not", "keep: 5 layers", "In earlier trials: 5 of 7 failed",
    "hours ago: 5 ideas", "Training hours: 3.5, tokens: 5M", "hours: 9 to 5 is when I work",
    "2. trial: 12 gained 0.01", "12 trials: 0.01", "Hours: 9-17", "Tokens: 500", "Cost: 5",
    "The first hours: 0.3, 0.2", "- Trials: 31 of 40 were worse than the champion", "lr max: 5",
    "max_seq_len: 5",
]  # fmt: skip
OTHER_THAN_IT_LOOKS = [
    ("hours: 1:30", "not '1:30'; write it in digits with a point"),
    ("max_cost: 5,00", "not '5,00'"), ("max_cost: 5 USD", "not '5 USD'"),
    ("max_cost: $5", "not '$5'"), ("max_cost: .inf", "not '.inf'"), ("hours: nan", "finite"),
    ("max_tokens: 1e6", "not '1e6'; write it in digits alone"), ("seed: 0x10", "not '0x10'"),
    ("seed: 2026-02-31", "not '2026-02-31'"), ("budget: 2026-11-28", "budget '2026-11-28'"),
    ("trials: yes", "not 'yes'"), ("keep: no", "'confirm', 'strict' or 'greedy', not 'no'"),
    ("isolation: false", "or 'off', not 'false'"), ("budget: 1e3", "budget '1e3'"),
    ("budget: 20 s", "budget '20 s'"), ("trials: [5]", "valid integer"),
    ("trials: {a: 5}", "valid integer"), ("objective: 5", "objective"),
    ("objective:", "objective has no value"), ("objective: ~", "objective has no value"),
    ("objective:\n  # target: 1.3", "objective has no value"),
    ("objective: {target: }", "objective.target has no value"),
    ("objective: {target:1.3}", "write 'target: VALUE', with a blank after the colon"),
    ("objective: {target: 1,3}", "objective.3 has no value"),
    ("objective: {memory_limit: }", "objective.memory_limit has no value"),
    ("objective:\n- target:", "objective: write val_bpb"),
    ("objective: {target: {a: }}", "objective.target"),
    ("objective: {time: 1e308}", "less than or equal to 1000"),
    ("max_cost: 5\nmax_cost: 6", "max_cost is set twice"), ("max_cost: &a 5", "anchors"),
    ("hours: *a", "aliases"), ("seed: !!int 5", "tags"), ("llm: !!python/name:os.system", "tags"),
    *((f"{name}:{none}", f"{name} has no value, so no limit: write '{name}: VALUE'")
      for name in ("max_cost", "max_tokens", "hours", "trials")
      for none in ("", " # 5", " ~", " null")),
    ("? [a]\n: b", "not a list of 'name: value' lines"), ("x: " + "[" * 2000, "deep nesting"),
    ("data: files: /a", "in quotes"), ("llm: @x", "not YAML"), ("seed: 5\x07", "not YAML"),
    ("%YAML 1.1", "not YAML"), ("- max_cost: 5", "write 'name: value' lines"),
    ("seed: 1__0", "not '1__0'"), ("<<: {max_cost: 5}", "unknown setting <<"),
]  # fmt: skip
AS_IT_LOOKS = [
    ("seed: 010", "seed", 10), ("trials: 1_000", "trials", 1000), ("hours: 1e1", "hours", 10.0),
    ("isolation: off", "isolation", "off"), ("data: files:/a b", "data", "files:/a b"),
    ("llm: openai:x@http://h:1", "llm", "openai:x@http://h:1"),
    ("llm: 'command:a: b #c'", "llm", "command:a: b #c"),
    ("max_cost: +5.", "max_cost", 5.0), ("nulls: .5", "nulls", 0.5), ("llm: yes", "llm", "yes"),
]  # fmt: skip


@pytest.mark.parametrize("head", TAKEN.values(), ids=TAKEN)
def test_front_matter_holds(head: str, tmp_path: Path) -> None:
    program = parse_program(head + BODY)
    assert program.settings == HOLD
    assert "max_cost: 5" not in program.prose and "Prose." in program.prose
    path = tmp_path / "program.md"
    path.write_bytes((head + BODY).encode())
    assert load_program(path).settings == HOLD


@pytest.mark.parametrize(("head", "line"), REFUSED.values(), ids=REFUSED)
def test_or_its_line_is_refused(head: str, line: int, tmp_path: Path) -> None:
    text = head if "## Categories" in head else head + BODY
    with pytest.raises(ProgramError) as caught:
        parse_program(text)
    assert caught.value.line == line, caught.value
    path = tmp_path / "program.md"
    path.write_text(BODY)
    good = load_program(path)
    path.write_text(text)
    assert "going on with the last good version" in str(reload_program(path, good)[1])
    assert parse_program(text, lenient=True).names == ("a",), "in a journal it hurts nobody"


@pytest.mark.parametrize("above", ABOVE.values(), ids=ABOVE)
@pytest.mark.parametrize("line", MISTYPED)
def test_a_limit_is_never_silently_none(above: str, line: str) -> None:
    with pytest.raises(ProgramError) as caught:
        parse_program(f"{above}{line}\nhours: many, I hope, but we see\n---\n{BODY}")
    number = above.count("\n") + 1
    assert caught.value.line == number and "at the top of the file" in caught.value.message


@pytest.mark.parametrize("above", ["Text.\n\n", "Author: me\n\n", "# T\n\nMore:\n\n---\n\nText.\n"])
@pytest.mark.parametrize("lines", BETWEEN_RULES)
def test_settings_between_rules_below_text_are_refused(above: str, lines: str) -> None:
    with pytest.raises(ProgramError, match="settings stand at the top of the file"):
        parse_program(f"{above}---\n{lines}\n---\n{BODY}")


@pytest.mark.parametrize("head", PROSE.values(), ids=PROSE)
def test_prose_is_prose(head: str) -> None:
    program = parse_program(head + BODY)
    assert program.settings == {}
    assert program.prose == (head + BODY).strip()


@pytest.mark.parametrize("line", NO_SETTINGS)
def test_a_line_of_prose_is_prose(line: str) -> None:
    for head in (
        f"Text.\n\n{line}\n\n",
        f"---\nbudget: 20s\n---\n{line}\n",
        f"T.\n\n- {line}\n\n",
        f"{line}\n\n",
    ):
        assert line in parse_program(head + BODY).prose


@pytest.mark.parametrize(("line", "said"), OTHER_THAN_IT_LOOKS)
def test_what_yaml_would_read_otherwise_is_refused_by_its_line(line: str, said: str) -> None:
    with pytest.raises(ProgramError) as caught:
        parse_program(f"---\nnulls: 0\n{line}\n---\n{BODY}")
    assert caught.value.line == 3 + line.count("\nmax_cost"), caught.value
    assert said in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize(("line", "name", "value"), AS_IT_LOOKS)
def test_what_is_read_is_what_it_looks_like(line: str, name: str, value: object) -> None:
    assert parse_program(f"---\n{line}\n---\n{BODY}").settings == {name: value}


PIECES = [
    "---", "...", "max_cost: 5", "hours", ":", " ", "\t", "\n", "\r", "#", "<!--", "-->", "```yaml",
    "- ", "[", "{", "}", "&a", "*a", "!!int", "|", ">", "'", '"', "%", "? ", "<<: ", "\x00", "\x85",
    "\ufeff", "é", "\ud800", "objective: {memory: 1}", "## Categories\n- **a**: b\n", "1e999",
    "2026-02-31", "---\nmax_cost: 5\n---\n",
]  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=25).map("".join), st.booleans()
)
def test_any_text_is_a_program_or_a_complaint(text: str, closed: bool) -> None:
    for whole in (text + "\n" + BODY, f"---\n{text}\n" + "---\n" * closed + BODY):
        try:
            parse_program(whole)
        except ProgramError as error:
            assert error.line <= len(whole.split("\n")) + whole.count("\r")
            assert "\n" not in error.message
