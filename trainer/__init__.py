"""Measures training files; does not depend on the agent.

    train.py        the file that edits change: model, optimizer, data mixture, schedule, loop
    session         what a training file may use: clock, data, seed, device, log
    measure         the entry points: measure, heat, check, audit
    jobs            from what they are asked for to a training
    results         what they return
    contract        checks of the text of a training file
    source          the text of a training file: line ends, byte order mark
    console         output to streams of any encoding, closed ones included
    presets         settings by hardware, budgets, the ladder of allowed vocabulary sizes
    fingerprint     the conditions of a measurement: hardware, software, data, measuring code
    errors          what the user can mend
    untrusted       makes text and numbers from untrusted code safe
    roles           the kinds of children that the fork server starts
    data/           corpora, splits, tokenizers, token files; data/sources/ has one file per corpus
    sandbox/        confinement, the fork server, limits, whole process trees
    training/       one training, or a heat of several that take turns; parent's and child's side
    scoring/        the trusted scorer, the confined process that answers it, the audits

Imports go in one direction: measure -> jobs -> scoring -> training -> sandbox, data -> session,
contract -> presets. A parent never imports torch or code of a child; the fork server imports both
(``roles``).
"""
