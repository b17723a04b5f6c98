"""Measurements of a running stack: failover, throughput, comparison. Standard library only."""
