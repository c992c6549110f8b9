"""Proof: real clients, the official tools and the official broker, run against a real kwire process.

`python -m interop` runs everything and prints a table; `--target apache` runs the same cases against Apache Kafka
itself, which is how we know that a case asks for nothing that Kafka does not do.
"""
