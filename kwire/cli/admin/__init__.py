"""The admin requests of the commands, as plain functions over ``client.Cluster``: values in, values out.

Responsible for: the request for each operation, its batches, its retries after transient errors. Must not depend on:
how anything is printed. A function for one item raises the item's KafkaError; a function for many items returns the
KafkaError of each item beside the other results.
"""
