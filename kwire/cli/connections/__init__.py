"""Connections to a cluster: options, client settings, requests."""
