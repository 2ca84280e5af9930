"""The text column of a Parquet file, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow  # takes long to import: import this module only where it is needed
import pyarrow.parquet

from trainer.data.sources.base import TEXT_FIELDS
from trainer.data.store import DataError

BATCH_ROWS = 1024


def texts(path: Path) -> Iterator[str]:
    """The text of each row in order; rows without text are left out.

    Raises:
        DataError: the file is no Parquet file, is damaged, or has no text column of strings.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            column = next((name for name in TEXT_FIELDS if name in schema.names), None)
            if column is None:
                raise DataError(
                    f"{path} has no column {' or '.join(TEXT_FIELDS)}, only "
                    f"{', '.join(schema.names) or 'none'}; rename the one with the text"
                )
            kind = schema.field(column).type
            if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
                raise DataError(f"column {column} of {path} holds {kind}, not strings")
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column]):
                yield from filter(None, batch.column(0).to_pylist())
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read {path} as Parquet: {_first_line(exc)}") from exc


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]
