"""Real clients, the official tools and the official broker, run against a real kwire process.

`python -m interop` runs everything and prints a table; `--target apache` runs the same cases against Apache Kafka
itself, which shows that no case expects more than Kafka does.
"""
