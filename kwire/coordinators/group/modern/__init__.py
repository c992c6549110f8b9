"""What consumer, share and streams groups have in common: see each module's head."""
