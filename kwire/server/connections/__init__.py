"""Connections: requests in, replies out, the login, and what all connections of a broker share."""
