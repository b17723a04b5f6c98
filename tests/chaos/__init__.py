"""Faults on the real stack under a recorded workload, judged by a linearizability checker."""
