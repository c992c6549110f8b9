"""Code that consumer, share and streams groups share."""
