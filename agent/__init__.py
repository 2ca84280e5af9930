"""The research loop: an LLM edits trainer/train.py; edits that are significantly better are kept.

    cli             python -m agent: what an error becomes
    commands/       the commands, by what they are for: running, looking, watching, ...
    loop            the method in one short file: read this first
    judge           noise, keep rule, reward: pure functions
    prior           which kind of edit to try next; no I/O
    learner         the rule by which the prior learns, on arrays
    program         program.md, the research program
    objective       what a training costs by the program, in bits per byte; pure
    front_matter    its settings: where they stand, what they say
    settings        the settings of a run: types, bounds, help, how long they hold
    logs            run.log, what a run did
    steps/          start, take, propose, evaluate, verify, replay, harvest, clean, doctor, ...
    proposers/      where edits come from: llm, local, deck, tuner, memory, hybrid
    models/         clients for language models
    thoughts        take a model's reasoning out of its reply
    executors/      where measurements run: here, in workers, on the nodes of a cluster
    edits/          turn a reply into a checked edit
    campaign/       journal, records, state, store, recovery: what a campaign remembers
    git/            the repository, the campaign's worktree, commit messages, merges
    report/         output for people: terminal, page, status, log, plots, trackers

Imports run one way: cli -> commands -> loop -> steps -> proposers, report -> campaign ->
program, logs -> front_matter, objective -> settings -> edits, models, git, prior ->
judge, executors -> trainer. Nothing here imports torch.
"""
