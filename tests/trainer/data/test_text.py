import pytest

from trainer.data.text import from_html, normalise, novel


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One  <code>two</code>\n three.</p>", "One two three."),
        ("<p>See <a href='x'>the <i>Guide</i> </a>.</p>", "See the Guide."),
        ("<p>One.</p> <p>Two.</p>", "One.\n\nTwo."),
        ("no tags &amp; one &lt;entity&gt;", "no tags & one <entity>"),
        ("<p>Use <account-id> here.</p>", "Use <account-id> here."),
        ("<note> <p>Mind.</p> </note> <p>Then.</p>", "Note: Mind.\n\nThen."),
        (
            "<p>Values:</p> <ul> <li> <p>A</p> <p>more</p> </li> <li>B</li> </ul> <p>End.</p>",
            "Values:\n- A\n  more\n- B\n\nEnd.",
        ),
        (
            "<ul><li>A <ol><li>one</li><li>two</li></ol></li><li>B</li></ul>",
            "- A\n  - one\n  - two\n- B",
        ),
        ("<dl><dt>T</dt><dd><p>Says.</p></dd></dl>", "- T\n  Says."),
        ("<dl><dt/><dd><p>T</p><p>Says.</p></dd></dl>", "- T\n  Says."),
        ("<p>Run:</p><pre>if x:\n    y\n</pre>", "Run:\n\nif x:\n    y"),
        ("<p>A</p> <pre><code> &lt;p&gt;B&lt;/p&gt; </code></pre>", "A\n\nB"),
        ("<p></p> ", ""),
        ("</ul>A</p><li>B", "A\n\nB"),
    ],
)
def test_from_html(html: str, text: str) -> None:
    assert from_html(html) == text


def test_normalise() -> None:
    assert normalise("e\u0301 \ud800\x00\x1b\u200b\ttab\r\nline\n") == "é \ttab\nline\n"


def words(first: int, count: int) -> str:
    return " ".join(f"w{i}" for i in range(first, first + count))


def test_novel_drops_what_is_mostly_a_copy() -> None:
    texts = [
        words(0, 40),
        words(0, 40).upper(),  # a copy
        words(20, 24),  # 13 of its 17 shingles are copied
        words(30, 40),  # 3 of 33 are
        "short text",
        "Short text!",
        "short text too",
        words(500, 20),
        words(500, 10) + " " + words(600, 18),  # 3 of 21 are
    ]
    assert novel(texts).tolist() == [True, False, False, True, True, False, True, True, True]
    assert novel([]).tolist() == []
    assert novel(["", "..."]).tolist() == [True, False]


def test_novel_does_not_count_repeats_within_a_text() -> None:
    assert novel([words(0, 10) + " " + words(0, 10)]).tolist() == [True]
