"""What the commands ask of a cluster, as plain functions over ``client.Cluster``: values in, values out.

Owns: which request answers which question, in batches that a broker likes, retried while the reason to fail passes.
May not know: how anything is printed. A refusal of one item is a KafkaError, raised when one item was asked for and
returned beside the others when many were.
"""
