"""What a model is told of the text, the machine and the champion before it is asked for an edit.

It is looked up only then: a profile of the champion trains a few steps. It is taken once for each
champion, and is in the journal before it is used. Where it fails, the prompt goes without it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from agent.campaign import events
from agent.proposers.base import Cards
from agent.steps.runtime import Runtime, spaced
from trainer import contract
from trainer.data.card import SourceCard, source_cards
from trainer.data.prepare import prepare, prepared
from trainer.errors import UserError
from trainer.results import Profile
from trainer.untrusted import one_line

log = logging.getLogger(__name__)
LEAST_SECONDS = 3.0
"""A champion that trains in less is not profiled: that would take about as long."""


def look_up(runtime: Runtime) -> Cards | None:
    """The cards of a campaign's champion; None where they cannot be had.

    Raises:
        Stopped: the run was asked to stop meanwhile.
    """
    source = runtime.campaign.source(runtime.champion.commit)
    try:
        spec = contract.read(source, runtime.preset.max_seq_len)
    except contract.ContractBroken:  # it may be of a version with another contract
        return None
    profile = _profile(runtime, source)
    return Cards(
        vocab_size=spec.vocab_size,
        seq_len=spec.seq_len,
        sources=_sources(runtime, spec),
        machine=machine(runtime.champion.of("candidate")[-1].fingerprint),
        profile={**profile, "rates": spaced(profile.get("rates", ()))},
    )


def _sources(runtime: Runtime, spec: contract.Spec) -> Sequence[SourceCard]:
    """Of what the champion was trained on. It is there; if it was deleted, the next training makes
    it again, and says so."""
    where = runtime.settings.data, spec.vocab_size, runtime.preset.val_bytes
    try:
        if prepared(*where):
            corpus = prepare(where[0], vocab_size=where[1], val_bytes=where[2])
            return source_cards(corpus, spec.seq_len)
    except (UserError, OSError, ValueError) as error:
        log.warning("the prompt says nothing of the data: %s", one_line(error))
    return ()


def machine(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """The machine of a training by its fingerprint, and the memory of this one."""
    told = {name: one_line(value) for name, value in fingerprint.items()}
    has = {"avx512_bf16", "amx_bf16"} & set(told.get("instructions", "").split())
    found = {
        "processor": f"{told.get('processor') or 'not known'}, {told.get('cores', '?')} cores, "
        f"{told.get('threads', '?')} threads of torch",
        "memory": f"{psutil.virtual_memory().total / 2**30:.3g} GB",
    }
    if told.get("device_name"):
        found["accelerator"] = told["device_name"]
    words = "native, so `session.precision()` computes products in it"
    if told.get("device") == "cuda":
        found["bfloat16"] = f"from compute capability 8.0 on (A100, RTX 30 and later) {words}"
    elif told.get("device") == "cpu":
        without = "not native (that takes AVX512-BF16 or AMX), so all products are in float32"
        found["bfloat16"] = words if has else without
    return found


def _profile(runtime: Runtime, source: str) -> Mapping[str, Any]:
    """What the journal has of the champion's profile, which is taken if it was not; else {}."""
    commit = runtime.champion.commit
    if runtime.campaign.state.profile.get("commit") != commit:
        if runtime.champion.of("candidate")[-1].train_seconds < LEAST_SECONDS:
            return {"status": "none"}
        try:
            found = runtime.measure(runtime.work("profile", source, seed=runtime.settings.seed))
        except (UserError, OSError) as error:
            found = Profile("failed", str(error))
        runtime.stop_if_asked()
        if found.status != "ok":
            why = one_line(f"{found.status} ({found.reason})")
            runtime.display.message(f"no profile of the champion, prompts go without it: {why}")
        runtime.campaign.record(events.Profiled(commit=commit, found=found.to_json()))
    taken: Mapping[str, Any] = runtime.campaign.state.profile["found"]
    return taken
