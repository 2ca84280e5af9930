"""results.tsv, read and drawn as the ancestor's analysis.ipynb does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from events import campaign
from matplotlib.figure import Figure

from agent.campaign.results import write_tsv

pytestmark = pytest.mark.process
TITLES = (
    '"quoted and not closed', 'a "b" c', r"$\frac{1$ and $x", "$5", "NA", "a\tb\nc", "#1", "",
    "'single", "1,000", "\\", "学习率",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Glyph")
def test_the_notebook_reads_and_draws_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    story = campaign()
    for n, title in enumerate(TITLES):
        gain = {"gain": 0.001 * (n + 1), "gain_half": 0.0005}
        story.trial("schedule", title, [(1.28, 1.27)], "keep", "kept", **gain)
    story.trial("schedule", '"', [(None, None)])
    write_tsv(tmp_path / "results.tsv", story.state)

    table = pandas.read_csv(tmp_path / "results.tsv", sep="\t")
    assert list(table.columns) == ["commit", "val_bpb", "memory_gb", "status", "description"]
    table["val_bpb"] = pandas.to_numeric(table["val_bpb"], errors="coerce")
    table["memory_gb"] = pandas.to_numeric(table["memory_gb"], errors="coerce")
    table["status"] = table["status"].str.strip().str.upper()
    assert table["status"].value_counts().to_dict() == {
        "KEEP": 2 + len(TITLES),
        "DISCARD": 2,
        "CRASH": 2,
    }
    assert not table["val_bpb"].isna().any() and not table["memory_gb"].isna().any()
    crashed = table[table["status"] == "CRASH"]
    assert (crashed["val_bpb"] == 0).all() and (crashed["memory_gb"] == 0).all()

    valid = table[table["status"] != "CRASH"].copy().reset_index(drop=True)
    assert valid.loc[0, "val_bpb"] == pytest.approx(1.30075), "first the baseline"
    kept = valid.index[valid["status"] == "KEEP"]
    best = valid.loc[kept, "val_bpb"].cummin()
    assert (best == valid.loc[kept, "val_bpb"]).all(), "each keep is below the one before"
    figure = Figure()
    axes = figure.add_subplot()
    axes.step(kept, best, where="post")
    for number, bpb in zip(kept, best, strict=True):
        axes.annotate(str(valid.loc[number, "description"]).strip(), (number, bpb))
    figure.savefig(tmp_path / "progress.png")
    table = table.loc[table["status"] == "KEEP"]
    assert table.loc[table["val_bpb"].idxmin()]["description"] == "学习率"
