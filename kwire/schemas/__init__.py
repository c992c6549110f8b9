"""Keys and values that were written with a schema registry: Avro, Protobuf and JSON Schema as JSON text.

``framing`` finds the id of the schema in a key or value, ``registry`` gets the schema, ``avro``, ``protobuf`` and
``json_schema`` decode, ``decoder`` combines them. They run in a process of their own (``worker``), which ``process``
starts at the first use: neither a slow registry nor bytes that take long or much memory to decode disturb the process
that asks.
"""
