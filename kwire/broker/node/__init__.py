"""This broker as a node of a KRaft cluster with other controllers: metadata, registration, heartbeats, forwarding."""
