"""The official broker as an oracle: the same requests go to Apache Kafka and to the broker under test, answers are compared.

A *story* is a sequence of requests on fresh names. It runs against each broker by itself and leaves a transcript; what may
differ between two brokers (ids, times, ports) is named in `normal.py`, everything else must be equal, field by field.
"""
