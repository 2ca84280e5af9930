"""How many verdicts a campaign reaches in an hour, and what it loses of the device's time.

    python -m benchmarks.throughput --json                 a short look at each part (4 minutes)
    python -m benchmarks.throughput --full                 all of it; goes on where it stopped
    python -m benchmarks.throughput --full --parts widths  only some parts

widths   simulated on the recorded landscape: 1 to 6 candidates beside one champion, with the
         campaigns' own judge: verdicts for the same device time, false keeps, power (``widths``)
growth   what a trial costs a campaign beside its trainings, after 100 to 20,000 trials: the real
         journal, git, state and prior, with trainings that take no time (``growth``)

What is not simulated needs a quiet machine: on one, nothing else may run meanwhile. Each reading is
a line of results/throughput.jsonl as soon as it is there; results/throughput.json sums them up.
"""
