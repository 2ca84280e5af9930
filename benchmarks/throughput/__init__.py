"""How many verdicts a campaign reaches in an hour, and what it loses of the device's time.

    python -m benchmarks.throughput --json                 a short look at each part (8 minutes)
    python -m benchmarks.throughput --full                 all of it; goes on where it stopped
    python -m benchmarks.throughput --full --parts widths  only some parts

widths   simulated on the recorded landscape: 1 to 6 candidates beside one champion, with the
         campaigns' own judge: verdicts for the same device time, false keeps, power
real     three times the same 32 trials with 1 and with 4 candidates a heat, which take turns, by
         trainings of 5 s (an hour and a half)
hidden   a real campaign beside a model that answers after 20 s, with 20 s a training: how busy the
         device is between first and last heat, and what a heat takes outside training and scoring
         (an hour)
nodes    one and two Ray nodes with a processor each: verdicts an hour with trainings that wait, and
         with trainings that compute (half an hour)
workers  a device of 64 and of 512 slots, whose trainings only wait, and the real campaign: results
         and verdicts a second
growth   what a trial costs a campaign beside its trainings, after 100 to 20,000 trials: the real
         journal, git, state and prior, with trainings that take no time (half an hour)

Nothing else may run beside ``real``, ``hidden``, ``nodes`` and ``workers``; ``growth`` counts
processor time and ``widths`` counts trainings. Each reading is a line of results/throughput.jsonl
as soon as it is there; ``--full`` prints what the parts come to.
"""
