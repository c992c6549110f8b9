"""Connections to other nodes of the cluster: brokers and controllers."""
