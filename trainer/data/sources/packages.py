"""Modules whose packages may be missing, and are needed for a download only."""

from __future__ import annotations

from types import ModuleType

from trainer.data.store import DataError


def downloading() -> tuple[ModuleType, ModuleType]:
    """The modules ``hub`` and ``parquet``, imported only when needed: they take long.

    Raises:
        DataError: a package that they need is not installed.
    """
    try:
        from trainer.data.sources import hub, parquet
    except ImportError as error:
        raise DataError(
            f"{error.name} is not installed, which downloads need; run: pip install "
            "huggingface_hub httpx2 pyarrow, or use --data apidocs"
        ) from None
    return hub, parquet
