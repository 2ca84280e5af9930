"""Where measurements run: in this process, in workers beside it, on the nodes of a cluster."""
