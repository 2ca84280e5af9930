"""The text of apidocs: what it is, how it is split, and what it needs."""

import hashlib
import re
import sys
from pathlib import Path

import pytest
from preparing import TRAIN

from trainer.data.prepare import DataError, prepare
from trainer.data.sources import apidocs

VAL_SHA256 = "aa31359ff7e2b1f30531051e9c401398f9672b642c51614dae3e9489fb01cc97"


def title(document: str) -> str:
    """The service's name in the first line: ``Operation (Service)``, or the service alone."""
    line = document.splitlines()[0]
    found = re.fullmatch(r"\w+ \((.*)\)", line)
    return found[1] if found else line


def test_text_is_the_one_of_this_recipe(text: dict[str, list[str]]) -> None:
    digest = hashlib.sha256("".join(text["val"]).encode()).hexdigest()
    assert digest == VAL_SHA256, "another text needs another apidocs.RECIPE"


def test_sizes(text: dict[str, list[str]]) -> None:
    sizes = {name: sum(len(d.encode()) for d in part) for name, part in text.items()}
    assert 22e6 < sizes["reference"] + sizes["guides"] < 27e6
    assert sizes["guides"] > 1.5e6
    assert sizes["python"] > 4e6
    assert sizes["val"] > 400_000 and sizes["test"] > 400_000
    for name in ("reference", "guides", "val", "test"):
        assert all(200 <= len(document) < 100_000 for document in text[name])


def test_text_is_clean(text: dict[str, list[str]]) -> None:
    everything = "".join(d for part in text.values() for d in part)
    controls = set(re.findall(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", everything))
    assert controls <= {"\n", "\t"}
    documentation = "".join(d for name in text if name != "python" for d in text[name])
    tags = r"</?(?:p|li|ul|ol|code|a|b|i|note|important|dl|dt|dd)\b[^>]*>"
    # One string of the source escapes a tag on its own.
    assert re.findall(tags, documentation) == ["<code>", "</code>"]
    assert "&quot;" not in documentation


def test_validation_is_a_fair_sample(text: dict[str, list[str]]) -> None:
    size = 0
    first = []
    for document in text["val"]:
        size += len(document)
        if size > 150_000:
            break
        first.append(document)
    titles = [title(document) for document in first]
    assert len(set(titles)) >= 15
    assert max(titles.count(t) for t in titles) <= len(first) / 8
    overviews = [d for d, t in zip(first, titles, strict=True) if d.startswith(f"{t}\n")]
    members = [d for d in first if re.search(r"^\w+: ", d, re.MULTILINE)]
    assert overviews and len(members) > len(first) / 2


def test_splits_share_no_service_and_no_text(text: dict[str, list[str]]) -> None:
    train = [d for name in TRAIN for d in text[name]]
    assert len(set(train)) == len(train)
    services = {
        "train": {title(d) for name in ("reference", "guides") for d in text[name]},
        "val": {title(d) for d in text["val"]},
        "test": {title(d) for d in text["test"]},
    }
    assert len(services["train"]) > 350
    assert not services["train"] & services["val"]
    assert not services["train"] & services["test"]
    assert not services["val"] & services["test"]

    def paragraphs(documents: list[str]) -> set[str]:
        found = {re.sub(r"^\w+: ", "", p) for d in documents for p in d.split("\n\n")}
        return {p for p in found if len(p.split()) > 3}

    assert not paragraphs(text["val"]) & paragraphs(train)
    assert not paragraphs(text["test"]) & paragraphs(train)
    assert not paragraphs(text["test"]) & paragraphs(text["val"])


def test_no_training_document_is_mostly_held_out_text(text: dict[str, list[str]]) -> None:
    def shingles(document: str) -> set[int]:
        words = re.findall(r"\w+", document.lower())
        return {hash(tuple(words[i : i + 8])) for i in range(len(words) - 7)}

    held_out = set().union(*map(shingles, text["val"] + text["test"]))
    shares = []
    for document in (d for name in TRAIN for d in text[name][::3]):
        own = shingles(document)
        shares.append(len(own & held_out) / max(1, len(own)))
    assert len(shares) > 3000
    assert max(shares) < 0.5
    assert sum(shares) / len(shares) < 0.02


def test_missing_botocore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "path", [e for e in sys.path if not e.endswith("site-packages")])
    with pytest.raises(DataError, match=r"pip install botocore==1\.44\.5") as error:
        prepare()
    assert "not installed" in str(error.value)


def test_other_botocore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "botocore").mkdir(parents=True)
    (site / "botocore" / "__init__.py").touch()
    (site / "botocore-1.40.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: botocore\nVersion: 1.40.0\n"
    (site / "botocore-1.40.0.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"pip install botocore==1\.44\.5") as error:
        prepare()
    assert "botocore 1.40.0 is installed" in str(error.value)


def test_groups_of_the_test_text_are_its_services(cache: Path, text: dict[str, list[str]]) -> None:
    """Found from the documents, so that a cache of before has them too."""
    metadata = [
        apidocs._model(path)["metadata"]
        for service, path in apidocs._service_files().items()
        if apidocs.split_of(service) == "test"
    ]
    services = {of.get("serviceFullName") or of["serviceId"] for of in metadata}

    opened = prepare(vocab_size=257, split="test")

    groups = [group for group, _ in opened.documents]
    assert groups == [title(document) for document in text["test"][: len(groups)]]
    assert len(set(groups)) >= 15 and set(groups) <= services
    assert sum(size for _, size in opened.documents) == opened.val.n_bytes


def test_whole_families_are_held_out() -> None:
    assert apidocs.split_of("iot") == apidocs.split_of("iot-data") == "val"
    splits = [apidocs.split_of(f"service{i}") for i in range(2000)]
    assert 60 < splits.count("val") < 140 and 60 < splits.count("test") < 140
