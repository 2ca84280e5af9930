"""The research loop: an LLM edits trainer/train.py, what is better beyond luck is kept.

    cli             commands
    loop            the method, on one screen: read this first
    judge           noise, keep rule, reward: pure functions
    prior           which kind of edit to try next: pure
    program         program.md, the research program
    settings        what a run was asked for
    steps/          the verbs: start, propose, evaluate, replay, doctor; runtime is what they share
    proposers/      where edits come from: llm, local, deck, tuner, hybrid
    models/         ways to reach a language model
    edits/          from a reply to a checked edit
    campaign/       journal, records, state, store: what a campaign remembers
    git/            the repository, the campaign's worktree, commit messages
    report/         what people see: terminal, status, log, html, plots

Imports run one way: cli -> loop -> steps -> proposers, report -> campaign -> settings -> edits,
models, git, judge, prior, program -> trainer. Nothing here imports torch.
"""
