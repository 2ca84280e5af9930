"""What a campaign finds from a plain start: real campaigns beside luck, chance and plain TPE.

    python -m benchmarks.search --json                  what is recorded (seconds)
    python -m benchmarks.search --full                  all campaigns that are not recorded yet
    python -m benchmarks.search --full --arms 16        the prior beside its draw replaced
    python -m benchmarks.search --full --only luck      one arm

Each campaign begins with ``examples/plain.py`` at the cpu preset, and no model is asked. As many
run at once as there are cores, each on one core of its own, so that PyTorch has one thread.
Whatever was interrupted goes on with the same command: a campaign from its journal, in a folder of
the cache.

A campaign claims a gain on the text that it was judged by. What is verified are heats of the start
and of what the campaign had found, on test text and seeds that no trial saw.
"""
