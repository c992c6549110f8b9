"""The scripts for topics and their partitions."""
