"""``kwire cluster``: several nodes on this machine."""
