"""Settings from the command line, program.md and the campaign that goes on."""

from pathlib import Path

import pytest

from agent.settings import Settings, SettingsError, resolve


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_path_to_data_means_the_same_from_every_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = f"files:{here / 'texts'}"
    assert resolve({"data": "files:texts"}, {}, {}).data == absolute
    assert resolve({"data": None}, {"data": "files:./texts"}, {}).data == absolute
    begun = Settings(data=absolute).fixed()
    assert resolve({"data": "files:texts"}, {}, begun).data == absolute
    assert resolve({}, {"data": "files:elsewhere"}, begun).data == absolute
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert resolve({"data": "files:../texts"}, {}, begun).data == absolute
    with pytest.raises(SettingsError, match="--data"):
        resolve({"data": "files:texts"}, {}, begun)


def test_a_named_source_stays_as_it_is() -> None:
    assert resolve({"data": "tinystories"}, {}, {}).data == "tinystories"
    assert resolve({}, {}, {}).data == "apidocs"
