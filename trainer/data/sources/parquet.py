"""The rows of a Parquet file, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow  # takes long to import: import this module only where it is needed
import pyarrow.parquet

from trainer.data.sources.base import FIELDS, TEXT_FIELDS, text_of
from trainer.data.store import DataError
from trainer.untrusted import one_line

BATCH_ROWS = 1024


def texts(path: Path) -> Iterator[str]:
    """The text of each row in order; rows without text are left out.

    Raises:
        DataError: see ``records``.
    """
    with path.open("rb") as file:
        yield from filter(None, map(text_of, records(file, str(path))))


def records(source: IO[bytes], name: str) -> Iterator[dict[str, Any]]:
    """Each row in order: its columns that may hold text.

    Raises:
        DataError: the file is no Parquet file, is damaged, or has no such column.
    """
    try:
        with pyarrow.parquet.ParquetFile(source) as file:
            names = file.schema_arrow.names
            columns = [name for name in names if name.strip().lower() in FIELDS]
            if not columns:
                raise DataError(
                    f"{name} has no column {', '.join(TEXT_FIELDS)}, only "
                    f"{', '.join(names) or 'none'}; rename the one with the text"
                )
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read {name} as Parquet: {one_line(exc)}") from exc
