"""Brokers in other processes, over their HTTP interface."""
