"""Prices and limits of models: ours, and a file of one's own over them."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients import KEY

from agent.models import catalog
from agent.models.types import Misconfigured, Usage


def test_defaults_have_prices(environ: dict[str, str]) -> None:
    known = catalog.load_catalog(environ)
    million = Usage(1_000_000, 1_000_000)
    for service, model in known.defaults.items():
        small = Usage(1000, 1000, cache_read=1000, cache_write=1000)
        assert known.cost(small, f"{service}:{model}") is not None
    assert known.cost(million, "anthropic:claude-sonnet-5-5") == pytest.approx(12.0)
    assert known.cost(million, "anthropic:claude-sonnet-5-5-20260928") == pytest.approx(12.0)
    only_cache = Usage(0, 0, cache_read=1_000_000, cache_write=1_000_000)
    assert known.cost(only_cache, "anthropic:claude-sonnet-5-5") == pytest.approx(4.1)


def test_unknown_prices_are_unknown(environ: dict[str, str], tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(
        '[models."openai:m"]\ninput = 1.0\noutput = 2.0\n'
        '[models."openai:free@http://localhost/v1"]\ninput = 0\noutput = 0\n'
    )
    known = catalog.load_catalog(environ | {"AUTORESEARCH_MODELS": str(own)})
    assert known.cost(Usage(10, 10), "openai:nobody-knows") is None
    assert known.cost(None, "anthropic:claude-sonnet-5-5") is None
    assert known.cost(Usage(10, 10), "openai:m") == pytest.approx(30e-6)
    assert known.cost(Usage(10, 10, cache_read=1), "openai:m") is None
    assert known.cost(Usage(10, 10), "openai:free@http://localhost/v1") == 0.0
    long = Usage(1, 1, cache_read=100_000)
    assert known.cost(long, "anthropic:claude-haiku-5-5") is None, "dearer from there on"
    vendor = Usage(10, 10)
    assert known.cost(vendor, "openai:gpt-6.1-sol@http://elsewhere/v1") is None


def test_own_file_goes_over_ours_key_by_key(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "autoresearch"
    folder.mkdir(parents=True)
    (folder / "models.toml").write_text(
        '[defaults]\nopenai = "gpt-6-luna"\n[models."anthropic:claude-sonnet-5-5"]\noutput = 20\n'
    )
    known = catalog.load_catalog(environ)
    assert known.defaults["openai"] == "gpt-6-luna"
    entry = known.entry("anthropic:claude-sonnet-5-5")
    assert (entry.input, entry.output) == (2.0, 20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models", "is not TOML"),
        ('[models."a:b"]\nprice = 3\n', "models.a:b.price is not known; there are input, output"),
        ('[models."a:b"]\ninput = "3"\n', "models.a:b.input = '3': .* number"),
        ('[models."a:b"]\ninput = true\n', "models.a:b.input = True"),
        ('[models."a:b"]\ninput = nan\n', "models.a:b.input = nan: .* finite"),
        ('[models."a:b"]\noutput = inf\n', "models.a:b.output = inf: .* finite"),
        ('[models."a:b"]\ncache_read = -1\n', "models.a:b.cache_read = -1: .* greater"),
        (f'[models."a:b"]\napi_key = "{KEY}"\n', "models.a:b.api_key is not known"),
        ("[defaults]\nopenai = 3\n", "defaults.openai = 3: .* string"),
        ("[prices]\n", "prices is not known; there are defaults, models"),
        ('[models]\n"a:b" = 3\n', "models.a:b = 3"),
    ],
)
def test_mistakes_in_the_own_file(
    environ: dict[str, str], tmp_path: Path, text: str, said: str
) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(text)
    with pytest.raises(Misconfigured, match=said) as caught:
        catalog.load_catalog(environ | {"AUTORESEARCH_MODELS": str(own)})
    assert str(own) in str(caught.value)
    assert KEY not in str(caught.value)
    with pytest.raises(Misconfigured, match="cannot be read"):
        catalog.load_catalog(environ | {"AUTORESEARCH_MODELS": str(tmp_path / "nothing")})
