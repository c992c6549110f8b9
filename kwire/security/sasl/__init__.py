"""SASL: the mechanisms by which a client authenticates, and the states of an authentication."""
