"""Listeners, connections, start and stop. Uses sockets and trio; must not depend on what a request means."""
