"""Starts, confines, watches and kills the processes that run untrusted code.

``client`` asks the fork ``server`` for children over the ``wire``. A child that runs candidate code
starts in ``candidate``, which confines it (``confine``, ``seccomp``) to what is ``readable``. The
parent watches its process ``tree``, and the kernel its ``cgroup``. ``escapes`` tries to get out.
"""
