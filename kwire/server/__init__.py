"""The edge: listeners, connections, start and stop. Knows sockets and trio, and nothing of topics."""
