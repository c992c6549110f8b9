"""What kwire costs beside Apache Kafka: the same loads, the same machine, one run. `python -m bench --help`."""
