"""Storage backends: what they promise, and Consul, SQLite and memory."""
