"""The official broker as an oracle: Apache Kafka and the broker under test are asked the same, answers are compared.

A *story* is a sequence of requests on fresh names. It runs against each broker by itself and leaves a transcript; what
may differ between two brokers (ids, times, ports) is named in `normal.py`, everything else must be equal, field by
field.
"""
