"""Random sequences of requests, sent to kwire and to Apache Kafka, whose answers are compared.

`operations` is the form of a sequence, `world`, `groups`, `transactions`, `data`, `admin` and `mutations` make one from
a seed, `session` runs it against one broker, `comparison` runs it against both and compares, `shrinking` makes a
failing one short, `command` is the command line.
"""
