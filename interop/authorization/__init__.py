"""The authorization matrix: principals with different ACLs ask every API at every version; answers are compared.

    python -m interop authorization [--principals NAME ...] [--apis NAME ...] [--every N]

Apache Kafka with its StandardAuthorizer and the broker under test get the same users, ACLs and topics. Each principal
has names of its own, so that what one is allowed to change does not change the answers to another.
"""
