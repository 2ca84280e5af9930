"""Files of a dataset on the Hugging Face Hub, at one revision: the same bytes for everyone.

A mirror of the Hub is used if ``AUTORESEARCH_MIRROR`` (or ``HF_ENDPOINT``, which the Hub's own
tools read) is set to one: the part of the address before ``/datasets/``, such as
``https://hf-mirror.com``, or ``http://localhost:8000`` with the files laid out as on the Hub.
Proxies are taken from the environment as usual.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trainer.data.sources.base import Tick
from trainer.data.sources.download import Remote
from trainer.data.sources.download import fetch as _fetch

HUB = "https://huggingface.co"
REMEDY = (
    "nothing half-written is used, and the next try goes on from here; check the network, set "
    "AUTORESEARCH_MIRROR to a mirror of huggingface.co, or use --data apidocs, which needs no "
    "download"
)


def fetch(
    repository: str, revision: str, files: Mapping[str, str], folder: Path, tick: Tick
) -> dict[str, str]:
    """Download the files of a dataset that are not in ``folder`` yet.

    Args:
        files: published SHA-256 by name, empty where there is none.

    Returns:
        SHA-256 by name.

    Raises:
        DataError: a file cannot be downloaded.
    """
    base = os.environ.get("AUTORESEARCH_MIRROR") or os.environ.get("HF_ENDPOINT") or HUB
    root = f"{base.rstrip('/')}/datasets/{repository}/resolve/{revision}"
    remotes = [Remote(name, f"{root}/{name}", sha256) for name, sha256 in files.items()]
    return _fetch(remotes, folder, tick, remedy=REMEDY)
