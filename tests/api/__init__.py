"""Unmodified clients and a real OpenBao server judge the HTTP API, on one node and on a cluster."""
