"""Text for tests: English-like, of any size, hardly ever the same twice."""

import random

_SYLLABLES = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "st")]


def document(seed: int, words: int = 150) -> str:
    rng = random.Random(seed)
    made = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 3))) for _ in range(words)]
    lines = [" ".join(made[i : i + 12]) for i in range(0, words, 12)]
    return "\n".join(lines) + "."


def documents(count: int, first: int = 0) -> list[str]:
    return [document(first + i) for i in range(count)]
