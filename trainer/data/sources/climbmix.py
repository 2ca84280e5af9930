"""Source ``climbmix``: shards of ClimbMix, web text for pretraining; the ancestor uses it too.

Diao et al. 2025, "CLIMB: Clustering-based Iterative Data Mixture Bootstrapping"; repackaged by
Karpathy into shuffled shards of some 250 million characters. The upstream licence is CC BY-NC 4.0:
research only. An H100 reads the first nine shards, some 500 million tokens, once in 300 s at the
ancestor's sizes. In all, the download is 1 GB, and the cache takes some 4 GB. As in the ancestor,
the held-out text comes from the last shard: its first documents are ``val``, the next are ``test``.
Training documents that are mostly a copy of either are dropped.

The host could not be reached where this was written. The checksums are those that others published;
two parties independently published those of shards 0 to 3 and 6542.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from pathlib import Path

from trainer.data.sources.base import CorpusSource, Progress, Text
from trainer.data.sources.held_out import clean, take, without_copies
from trainer.data.sources.packages import downloading
from trainer.data.text import Shingles

REPOSITORY = "karpathy/climbmix-400b-shuffle"
REVISION = "915333b4f8b8684f39aeaafea600fea6f43fb703"
RECIPE = 1
"""Goes up with every change that changes a document."""

TRAIN = {
    "shard_00000.parquet": "054ddbd98abf30d773c54de578fc9d579bafeb6c14e04e97bd36aa90e825bf9b",
    "shard_00001.parquet": "d4cfe1de19f4fd976022a9047458655968bc5583582ec5fa714801ec2be2c93c",
    "shard_00002.parquet": "5e80d7596d53be648d841ea5811082747281c39f6851e10dd90375a84bc509a7",
    "shard_00003.parquet": "b349c85d4b993d98e2328833ecfd3734692e0395a592d89858bae34a4ba73c59",
    "shard_00004.parquet": "87dae96fe1a6116c54c7873aadb81832178a36755991befd1b3b641c76244474",
    "shard_00005.parquet": "3d9aebf138ef69cff2585a686d7f21585b7ffc0de4655f8e7723590418583bd6",
    "shard_00006.parquet": "6a3f2afde8f1a39f9283ea9d9e9ee6431634d6881b63798176bf64efc3f33576",
    "shard_00007.parquet": "731eea337d941e5b18a9a4e2bbe73a517dac45d91bb93ae2e69346c68c5f37f6",
    "shard_00008.parquet": "e78379132451838afabed9034b5483a2f3bc5a422bed8b55b99f2bbb9a128755",
}
HELD_OUT = {
    "shard_06542.parquet": "769fe59d108dfd2cfa186c63173b83fbfb90a7adb3519519ba6eaa6ca9889f94"
}
HELD_OUT_BYTES = 10_000_000
"""Size of ``val``, and of ``test``; the largest preset scores 8 MB."""


def build(progress: Progress, folder: Path) -> Text:
    """Part ``climbmix``, ``val`` and ``test``.

    Raises:
        DataError: a shard cannot be downloaded or read.
    """
    hub, parquet = downloading()
    files = {**TRAIN, **HELD_OUT}
    tick = partial(progress, "downloading climbmix")
    sums = hub.fetch(REPOSITORY, REVISION, files, folder, tick)
    progress("reading held-out text", 0.0)
    (shard,) = HELD_OUT
    documents = clean(parquet.texts(folder / shard))
    val = list(take(documents, HELD_OUT_BYTES))
    test = list(take(without_copies(documents, Shingles(val)), HELD_OUT_BYTES))
    shards = chain.from_iterable(parquet.texts(folder / name) for name in TRAIN)
    train = without_copies(clean(shards), Shingles([*val, *test]))
    return Text({"val": val, "test": test, "climbmix": train}, {"climbmix": True}, sums)


def reach() -> None:
    """Ask for the held-out shard."""
    hub, _ = downloading()
    hub.reach(REPOSITORY, REVISION, next(iter(HELD_OUT)))


SOURCE = CorpusSource(
    name="climbmix",
    version=f"{REVISION[:12]}-r{RECIPE}",
    megabytes=2_200,
    build=build,
    reach=reach,
)
