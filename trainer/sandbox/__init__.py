"""Processes that run what nobody vouches for: started, confined, watched and killed.

``client`` asks the fork ``server`` for children over the ``wire``. A child that runs candidate code
starts in ``candidate``, which confines it (``confine``, ``seccomp``) to what is ``readable``. The
parent watches its ``tree`` of processes, the kernel its ``cgroup``. ``escapes`` tries the ways out.
"""
