"""Leadership: the pure protocol, its driver, peers and parking. Knows nothing of secrets."""
