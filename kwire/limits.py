"""Every bound in one place, with asserts on how the bounds relate.

Responsible for: the bounds on what a hostile or faulty peer can use. Settings that a user may change (Kafka's own, such
as ``socket.request.max.bytes``) are in ``kwire.metadata.configs.definitions``.
"""

from __future__ import annotations

# Size of one read between frames, and the largest first buffer of a partly received frame. Then the buffer doubles: it
# grows with the bytes received, never with the size that the frame claims.
READ_CHUNK_BYTES = 64 * 1024
READ_CHUNK_BYTES_MIN = 4 * 1024
READ_CHUNK_BYTES_MAX = 1024 * 1024
# Buffers of READ_CHUNK_BYTES_MAX that a broker keeps for the requests of all clients.
READ_BUFFERS_KEPT_MAX = 4

# A reader in the middle of a large request wakes after this many more bytes, for fewer and larger reads.
RECV_WAKE_BYTES_MAX = 256 * 1024

# Busy poll: if the only active client sent its request within this time of the last reply, its socket is polled without
# yielding, for BUSY_POLL_US each time, at most BUSY_POLLS_MAX times in a row before other sockets are polled.
BUSY_POLL_IF_WITHIN_US = 200
BUSY_POLL_US = 60
BUSY_POLLS_MAX = 16

# The proxy holds a frame that it changes or shows to hooks up to this size; others pass through in pieces. How many
# topic ids it knows the names of, and how many nodes it listens for.
PROXY_FRAME_BYTES_MAX = 512 * 1024 * 1024
# Buffers for responses that are searched for addresses, and the largest that fits.
PROXY_BUFFERS_MAX = 8
PROXY_BUFFER_BYTES = 4 * 1024 * 1024
PROXY_TOPICS_MAX = 100_000
PROXY_NODES_MAX = 1000

# Time for which one connection may use the event loop, and bytes that it may read and answer, before others run.
TURN_MS = 2.0
TURN_BYTES_MAX = 4 * 1024 * 1024

# A large change of the metadata is applied in steps of so many records, and broker parts follow it in parts of so many
# partitions; others run in between. A record takes about 20 us, and opening a partition up to 100 us.
METADATA_STEP_RECORDS = 64
METADATA_STEP_PARTITIONS = 64
# So many partitions are looked at in one step, when the controller searches those of a broker.
METADATA_STEP_VISITS = 4096

# A connection that used a full turn within this time yields to waiting connections before its next request.
TURN_DEBT_MS = 50.0

# How long a thread may keep the interpreter while the event loop wants it.
SWITCH_INTERVAL_S = 0.0005

# Work that blocks the event loop for longer is counted and logged, at most this often for each API or task.
LOOP_HELD_MS = 50.0
LOOP_HELD_LOG_EVERY_S = 10.0
LOOP_HELD_WARNING_MS = 500.0  # a warning from this time on, below it an info line

# A larger request is decoded in a thread; Produce only if it also has more topics or partitions than this, because
# its decoding time does not grow with the bytes of its records. A response whose handler used a full turn is encoded in
# a thread.
DECODE_INLINE_BYTES_MAX = 64 * 1024
DECODE_INLINE_PARTITIONS_MAX = 500

# Encoded responses that are kept to be sent again (all of one broker, with their requests), and the largest request
# whose response is kept.
CACHED_RESPONSES_BYTES_MAX = 16 * 1024 * 1024
CACHED_REQUEST_BYTES_MAX = 64 * 1024

# ACLs that one request may create or delete, as in Apache Kafka.
ACLS_OF_REQUEST_MAX = 10_000

# Decisions of the authorizer that are kept until an ACL changes, and the longest name of a resource in one.
KNOWN_DECISIONS_MAX = 20_000
KNOWN_DECISION_NAME_MAX = 300

# An equal refusal is in the audit log once in this time, with a count of those between; how many are counted.
AUDIT_REPEAT_MS = 10_000
AUDIT_KNOWN_MAX = 1000

# One sendfile call sends at most this much, so that a large slice does not block the event loop.
SENDFILE_BYTES_MAX = 1024 * 1024

# A smaller slice of a file is read and sent together with the bytes around it: one system call instead of three.
SENDFILE_BYTES_MIN = 64 * 1024

# Parts of replies that have so many bytes together are joined: a copy costs less than a call with several parts.
SEND_JOINED_BYTES_MAX = 16 * 1024

# Parts in one sendmsg: IOV_MAX of Linux and macOS.
SENDMSG_PARTS_MAX = 1024

# TLS: the largest record, how much one call encrypts or decrypts at most (some 100 microseconds), and how much a
# connection may encrypt before other tasks run.
TLS_RECORD_BYTES = 16 * 1024
TLS_PIECE_BYTES = 128 * 1024
TLS_TURN_BYTES_MAX = 1024 * 1024

# A TLS handshake must end this soon after the connection was accepted. Kafka ends it with connections.max.idle.ms only.
TLS_HANDSHAKE_MS_MAX = 10_000.0

# Failed handshakes that are logged in each window of time; the others of the window are counted in one line.
HANDSHAKE_FAILURES_LOGGED = 20
HANDSHAKE_FAILURES_WINDOW_MS = 10_000.0

# Connections accepted before other tasks run; and how long accepting pauses when descriptors or memory run out.
ACCEPTS_PER_TURN = 64
ACCEPT_PAUSE_MS = 1000

# An I/O error of one file is logged at most this often.
STORAGE_FAILURE_LOGGED_MS = 60_000

# At shutdown, pending replies may take this long to be sent.
SHUTDOWN_GRACE_S = 5.0
# A second signal after this time stops the broker at once; an earlier one is a duplicate of the first.
SECOND_SIGNAL_AFTER_S = 0.3

# Shares of the descriptor limit for open log files and for connections. The rest is for slices that are being sent,
# directories, and the process itself.
FILES_SHARE_OF_DESCRIPTORS = 0.4
CONNECTIONS_SHARE_OF_DESCRIPTORS = 0.5

# Largest decompressed size of one record batch. Kafka has no such limit, because it streams. This is 256 times the
# default max.message.bytes, far more than real records decompress to.
OPENED_BYTES_MAX = 256 * 1024 * 1024

# Largest decompressed size of a batch that is decompressed because of its topic's settings: OPENED_FACTOR times
# max.message.bytes, and at least OPENED_BYTES_MIN. A producer limits its requests before compression, so only a
# decompression bomb exceeds this.
OPENED_FACTOR = 16
OPENED_BYTES_MIN = 1024 * 1024

# A batch of more bytes or records is validated in a thread when its topic's settings concern single records, in at most
# OPENING_THREADS_MAX threads at a time. Each may hold one decompressed batch.
OPENED_INLINE_BYTES_MAX = 32 * 1024
OPENED_INLINE_RECORDS_MAX = 500
OPENING_THREADS_MAX = 2

# The records of the first batches of each connection are checked: CHECKED_BATCHES batches, of at most
# CHECKED_RECORDS_MAX records and CHECKED_BYTES_MAX decompressed bytes each. One check takes about 1 ms.
CHECKED_BATCHES = 16
CHECKED_RECORDS_MAX = 1000
CHECKED_BYTES_MAX = 2 * 1024 * 1024

# Client instances (KIP-714) that are remembered, as in Apache Kafka.
CLIENT_INSTANCES_MAX = 16_384

# Most metrics of one push that get a line in the log. The Java producer has about 100, and 12 for each partition.
LOGGED_METRICS_MAX = 2000

# Metrics of clients whose last values are kept to be shown, about 30 MB.
CLIENT_METRICS_KEPT_MAX = 100_000

# Most lines in the report of lost records of a log directory.
LOSSES_KEPT_MAX = 1000

# Limits of Apache Kafka.
TOPIC_NAME_LENGTH_MAX = 249
FETCH_SESSIONS_MAX = 1000
PARTITIONS_PER_REQUEST_MAX = 10_000

assert SENDFILE_BYTES_MIN <= SENDFILE_BYTES_MAX <= TURN_BYTES_MAX
assert READ_CHUNK_BYTES_MIN <= READ_CHUNK_BYTES <= READ_CHUNK_BYTES_MAX <= TURN_BYTES_MAX
assert FILES_SHARE_OF_DESCRIPTORS + CONNECTIONS_SHARE_OF_DESCRIPTORS < 1
assert BUSY_POLL_US <= BUSY_POLL_IF_WITHIN_US
assert TLS_RECORD_BYTES <= TLS_PIECE_BYTES <= TLS_TURN_BYTES_MAX <= TURN_BYTES_MAX
assert 0 < TURN_MS < LOOP_HELD_MS
