"""The mount `sys/`: mounts, policies, capabilities and what the user interface asks."""
