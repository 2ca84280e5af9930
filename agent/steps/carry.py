"""Carry a trial over to a champion that came while it was under way.

Its edit is merged into the new champion, checked, and judged anew against that one: so each keep is
one against the champion of its time, and at most one comes of a heat. What does not merge, changes
nothing any more or does not pass its checks is lost, and may be drawn again.
"""

from __future__ import annotations

from agent.campaign.records import Trial
from agent.campaign.repeats import TriedWith, lost_in, refuse_repeat
from agent.edits.blocks import Edit
from agent.edits.changes import hunks
from agent.edits.checks import Rejected, check, refuse_tried
from agent.git.merge import merge
from agent.steps.faults import suspect_machine
from agent.steps.runtime import Runtime
from agent.steps.verdict import conclude
from trainer.presets import find_preset


def is_stale(runtime: Runtime, trial: Trial) -> bool:
    """Whether a trial's candidate was made of another champion than the present one."""
    return not trial.is_null and trial.parent not in ("", runtime.champion.commit)


def carry_over(runtime: Runtime) -> None:
    """Bring the open trial's candidate to the champion, or end the trial, which says why."""
    campaign, trial, champion = runtime.campaign, runtime.open_trial, runtime.champion
    now = campaign.source(champion.commit)
    before, own = campaign.source(trial.parent), campaign.source(trial.candidate)
    source, conflicts = merge(now, before, own)
    try:
        if conflicts:
            raise Rejected(f"trial {champion.trial} has changed it, too: {'; '.join(conflicts)}")
        if source.rstrip() == now.rstrip():
            raise Rejected(f"trial {champion.trial} has changed the same")
        changes, state = hunks(now, source), campaign.state
        digest = check(
            now,
            source,
            max_seq_len=find_preset(runtime.settings.preset).max_seq_len,
            tried=TriedWith(state, trial.objective, but=trial.trial),
        )
        refuse_repeat(changes, lost_in(state, trial.objective))
        smoke = runtime.measure(runtime.work("check", source, seed=runtime.settings.seed))
        runtime.stop_if_asked()
        if not smoke.ok:
            suspect_machine(runtime, now)
            raise Rejected(f"two trial steps failed: {smoke.reason}")
        runtime.in_vain["steps"] = 0
        # A trial beside it may have come to the same meanwhile.
        refuse_tried(digest, TriedWith(campaign.state, trial.objective, but=trial.trial))
    except Rejected as why:
        first = str(why).splitlines()[0][:200]
        words = f"rejected, as it could not be carried over to the new champion: {first}"
        return conclude(runtime, "rejected", words, status="")
    campaign.commit_candidate(
        champion.commit,
        source,
        Edit(trial.credited, trial.hypothesis, trial.title, (), sign=trial.sign),
        digest,
        changes,
        same_size=smoke.params == champion.of("candidate")[-1].params,
        number=trial.trial,
        carried=True,
    )
    lost = f", its {len(trial.heats)} heats do not count any more" if trial.heats else ""
    runtime.display.message(
        f"trial {trial.trial} is carried over to the champion of trial {champion.trial}{lost}"
    )
