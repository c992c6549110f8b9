"""Clusters of processes on this machine: their nodes, settings, security and state."""
