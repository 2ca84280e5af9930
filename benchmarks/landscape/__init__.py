"""A landscape to learn on: what real edits of real training files were worth, as measured.

    python -m benchmarks.landscape --json    a few edits now, beside what is recorded (a minute)
    python -m benchmarks.landscape --full    all edits, kept in results/; goes on where it stopped

``plan`` draws the edits, ``record`` trains them in heats, ``table`` reads what was recorded:

    landscape = Landscape.load()
    landscape.sample(landscape.edits[0], seed=1).difference
"""

from benchmarks.landscape.table import Landscape, RecordedEdit, Sample

__all__ = ["Landscape", "RecordedEdit", "Sample"]
