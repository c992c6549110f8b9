"""Files, connections, a network and a cluster in memory."""
