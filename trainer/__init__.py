"""Measures training files; knows nothing of the agent.

    train.py        the file that edits change: model, optimizer, data mixture, schedule, loop
    session         what a training file may use: clock, data, seed, device, log
    measure         where a measurement is asked for: measure, check, audit
    contract        what the text of a training file must have
    presets         settings by hardware, budgets, the ladder of vocabularies
    fingerprint     what a number belongs to: hardware, software, data, measuring code
    untrusted       text and numbers from code that nobody vouches for, made safe
    roles           what the fork server's children may be
    data/           corpora, splits, tokenizers, token files; data/sources/ has a file a corpus
    sandbox/        confinement, the fork server, limits, whole process trees
    training/       one training: the parent's side and the child's side
    scoring/        the trusted scorer, the confined process that answers it, the audits

Imports run one way: measure -> scoring -> training -> sandbox, data -> session, contract ->
presets. A parent never imports what runs in a child, nor torch; the fork server does (``roles``).
"""
