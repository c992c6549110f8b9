"""The decisions of a controller of several brokers: pure functions over the metadata image.

Responsible for: registrations and their refusals (``registration``), broker sessions and heartbeats (``sessions``,
``heartbeat``), the one builder of partition changes (``partition_changes``) and what uses it: brokers that come and go
(``leadership``), AlterPartition (``alter_partition``), reassignments and elections, log directories. Must not depend
on: the metadata log, requests, clocks (``now_ms`` is an argument).

One broker that is its own controller is the case n = 1 of the same code.
"""
