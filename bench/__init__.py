"""The cost of kwire beside Apache Kafka: the same loads, the same machine, one run. `python -m bench --help`."""
