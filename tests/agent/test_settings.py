"""Settings from the command line, program.md and the campaign that goes on."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.campaign.journal import read_events
from agent.campaign.state import fold
from agent.settings import Settings, SettingsError, remember, resolve_settings

RECORDED = Path(__file__).parent / "campaign/recorded/2026-11-25.jsonl"
BEGUN = Settings(preset="cpu", budget="20s")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_path_to_data_means_the_same_from_every_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = f"files:{here / 'texts'}"
    assert resolve_settings({"data": "files:texts"}, {}, {}).data == absolute
    assert resolve_settings({"data": None}, {"data": "files:./texts"}, {}).data == absolute
    begun = BEGUN.model_copy(update={"data": absolute}).fixed()
    assert resolve_settings({"data": "files:texts"}, {}, begun).data == absolute
    assert resolve_settings({}, {"data": "files:elsewhere"}, begun).data == absolute
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert resolve_settings({"data": "files:../texts"}, {}, begun).data == absolute
    with pytest.raises(SettingsError, match="--data"):
        resolve_settings({"data": "files:texts"}, {}, begun)


def test_a_named_source_stays_as_it_is() -> None:
    assert resolve_settings({"data": "tinystories"}, {}, {}).data == "tinystories"
    assert resolve_settings({}, {}, {}).data == "auto", "the preset's"
    assert resolve_settings({}, {"data": "climbmix"}, {}).data == "climbmix"
    assert resolve_settings({"data": "apidocs"}, {"data": "climbmix"}, {}).data == "apidocs"


@pytest.mark.parametrize("said", [{}, {"data": "auto"}])
def test_a_campaign_keeps_its_corpus(said: dict[str, str]) -> None:
    """Also one that went on with apidocs since climbmix could not be had."""
    begun = BEGUN.model_copy(update={"preset": "h100", "data": "apidocs"}).fixed()
    assert resolve_settings(said, {}, begun).data == "apidocs"
    with pytest.raises(SettingsError, match="--data apidocs"):
        resolve_settings({"data": "climbmix"}, {}, begun)


def test_what_the_command_line_said_holds_when_the_campaign_is_taken_up_again() -> None:
    campaign = BEGUN.fixed()
    said = {
        "max_cost": 2.0, "max_tokens": 9, "llm": "cassette:tape+local", "proposer": "llm",
        "keep": "strict", "trials": 5, "seed": 7,
    }  # fmt: skip
    kept = remember(said, {}, ())
    assert kept == {k: v for k, v in said.items() if k not in ("trials", "seed")}
    program = {"max_cost": 50.0, "keep": "greedy", "hours": 3.0}
    again = resolve_settings({"keep": None, "proposer": "deck"}, program, campaign, kept)
    assert (again.max_cost, again.max_tokens, again.llm) == (2.0, 9, "cassette:tape+local")
    assert (again.keep, again.proposer) == ("strict", "deck"), "and this command line before it"
    assert (again.trials, again.hours) == (None, 3.0)
    assert remember({"max_cost": None, "keep": "confirm"}, kept, ()) == kept | {"keep": "confirm"}


def test_the_share_of_null_trials_is_the_programs() -> None:
    assert resolve_settings({}, {}, {}).nulls == 0.05
    assert resolve_settings({}, {"nulls": 0.0}, BEGUN.fixed()).nulls == 0.0


def test_a_secret_in_the_model_is_not_kept_and_asked_for_again() -> None:
    for spec in ("command:ask --token verysecret1", "command:ask sk-abcdefgh12"):
        kept = remember({"llm": spec}, {}, ("verysecret1",))
        assert "verysecret" not in kept["llm"]
        assert "abcdefgh" not in kept["llm"]
        with pytest.raises(SettingsError, match="give --llm again"):
            resolve_settings({}, {}, BEGUN.fixed(), kept)
        assert resolve_settings({"llm": spec}, {}, BEGUN.fixed(), kept).llm == spec


def test_a_campaign_recorded_by_an_earlier_version_goes_on_with_its_settings() -> None:
    state = fold(read_events(RECORDED))
    settings = resolve_settings({}, {"budget": "9s", "seed": 3}, state.settings, state.given)
    measured = {"preset": "cpu", "budget": "5s", "data": "apidocs", "isolation": "auto", "seed": 0}
    assert settings.fixed() == measured
    assert (settings.llm, settings.trials) == ("none", None)


BOTH = {"sequential": True, "workers": 2}


@pytest.mark.parametrize("typed", [set(), {"sequential"}, {"workers"}, set(BOTH)])
def test_one_device_and_several_are_not_asked_for_at_once(typed: set[str]) -> None:
    said = {name: BOTH[name] for name in typed}
    program = {name: BOTH[name] for name in BOTH.keys() - typed}
    with pytest.raises(SettingsError, match=r"--sequential .* --workers 2 .* leave one of"):
        resolve_settings(said, program, {})
    assert resolve_settings({**said, "sequential": False}, program, {}).workers == 2
    # What is only remembered keeps no campaign from going on: the run says what it uses.
    assert resolve_settings({}, {}, {}, BOTH).sequential


def test_what_program_md_does_not_say_any_more_is_lifted() -> None:
    program = {"trials": 5, "hours": 8.0, "max_cost": 1.0, "max_tokens": 9, "nulls": 0.5}
    said = {"max_cost": 2.0}
    settings = resolve_settings(said, {**program, "keep": "greedy"}, {})
    assert settings.follow(program, said) == settings.model_copy(update={"keep": "confirm"})
    lifted = settings.follow({}, said)
    assert lifted == Settings(max_cost=2.0)
    assert lifted.follow(program, {}).max_cost == 1.0


def test_what_is_not_live_stays_as_it_is_until_the_next_start() -> None:
    settings = resolve_settings({}, {"seed": 1, "llm": "none", "proposer": "deck"}, {})
    assert settings.follow({"seed": 2, "llm": "local", "data": "climbmix"}, {}) == settings


@example("notify", "", '"\x1e')
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(Settings.model_fields)),
    st.sampled_from(["", "files:", "command:", "openai:", "1e", "0.", "-", "999"]),
    st.text(st.characters(), max_size=20),
)
def test_any_text_is_a_setting_or_one_line_of_complaint(name: str, start: str, text: str) -> None:
    try:
        found = resolve_settings({name: start + text}, {}, {})
    except SettingsError as error:
        assert name.replace("_", "-") in str(error) and len(str(error).splitlines()) == 1
    else:
        assert isinstance(found, Settings)
