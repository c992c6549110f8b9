"""The requests of clients: the request log, counters, recordings and their replay."""
