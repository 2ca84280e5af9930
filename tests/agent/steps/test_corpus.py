"""Which corpus a campaign is trained on, and that it keeps it; what the doctor says of it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from project import clone_without_model

from agent.campaign.reading import load
from agent.git.repo import Repo
from agent.report.display import Display
from agent.steps import doctor
from agent.steps.start import open_runtime
from trainer.data.prepare import DataError
from trainer.data.sources import hub
from trainer.presets import Preset, find_preset, load_presets

pytestmark = pytest.mark.process


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Preset:
    """The gpu preset, but of the cpu preset's size; its corpus cannot be downloaded."""
    small = replace(find_preset("cpu"), name="gpu", data="climbmix", val_bytes=100_000_000)
    monkeypatch.setitem(load_presets(), "gpu", small)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    return small


def opened(folder: Path, **given: str) -> str:
    """What a run with these settings says before its first trial."""
    stream = io.StringIO()
    given = {"preset": "gpu", "llm": "none", **given}
    with open_runtime(
        Repo.open(folder), "t", given, folder / "program.md", Display(stream)
    ) as runtime:
        assert runtime.settings.data == "apidocs"
    return stream.getvalue()


def test_a_campaign_goes_on_with_apidocs_and_keeps_it(gpu: Preset, tmp_path: Path) -> None:
    folder = clone_without_model(tmp_path)
    said = opened(folder)
    assert said.count("climbmix cannot be had, going on with apidocs: ") == 1
    assert (
        re.search(r"^data +apidocs, scored on ", said, re.MULTILINE)
        and "all it has of 100,000,000 wanted" in said
    )
    assert "climbmix cannot be had" in (folder / "campaigns/t/run.log").read_text()
    assert load(Repo.open(folder), "t").settings["data"] == "apidocs"
    assert "climbmix" not in opened(folder), "resumed: there is no choice any more"


def test_what_is_asked_for_is_not_replaced(gpu: Preset, tmp_path: Path) -> None:
    folder = clone_without_model(tmp_path)
    with pytest.raises(DataError, match="cannot download"):
        opened(folder, data="climbmix")
    path = folder / "program.md"
    path.write_text(path.read_text().replace("\n# data: auto ", "\ndata: climbmix "))
    with pytest.raises(DataError, match="cannot download"):
        opened(folder)
    assert not (folder / "campaigns").exists()


def test_the_doctor_looks_for_the_presets_corpus(
    gpu: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = doctor._corpus(gpu)
    assert found.startswith("apidocs, ")
    assert "; a run takes it, since climbmix cannot be had: cannot download" in found
    assert doctor._corpus(find_preset("cpu")).startswith("apidocs, ")
    monkeypatch.setattr(doctor, "reach", lambda source: None)
    assert doctor._corpus(gpu) == "climbmix, which the first run downloads"
