"""Every bound in one place, with asserts on how the bounds relate.

Responsible for: the bounds on what a hostile or faulty peer can use. Settings that a user may change (Kafka's own, such
as ``socket.request.max.bytes``) are in ``kwire.metadata.configs``.
"""

from __future__ import annotations

# What one read takes between frames; and what a frame that began gets at once when much of it has come. From there on
# its buffer doubles: it grows with the bytes that came, never with the bytes claimed.
READ_CHUNK_BYTES = 64 * 1024
READ_CHUNK_BYTES_MIN = 4 * 1024
READ_CHUNK_BYTES_MAX = 1024 * 1024

# A reader in the middle of a large request is woken when this much more has come: fewer, larger reads.
RECV_WAKE_BYTES_MAX = 256 * 1024

# Busy poll: if the only active client sent its request within this time of the last reply, its socket is polled without
# yielding, for so long each time, and so often in a row before other sockets are polled.
BUSY_POLL_IF_WITHIN_US = 200
BUSY_POLL_US = 60
BUSY_POLLS_MAX = 16

# Time for which one connection may use the event loop, and bytes that it may read and answer, before others run.
TURN_MS = 2.0
TURN_BYTES_MAX = 4 * 1024 * 1024

# A connection that used up a turn this recently waits for its next one while others do, also for a new request.
TURN_DEBT_MS = 50.0

# How long a thread may keep the interpreter while the event loop wants it.
SWITCH_INTERVAL_S = 0.0005

# Work that keeps all others waiting for longer is counted and logged, at most so often for each API or task.
LOOP_HELD_MS = 50.0
LOOP_HELD_LOG_EVERY_S = 10.0
LOOP_HELD_WARNING_MS = 500.0  # a warning from here on, below it is information

# A request of more bytes is decoded in a thread, except where decoding does not grow with the bytes (Produce). A
# response whose handler used up a turn is encoded in a thread.
DECODE_INLINE_BYTES_MAX = 64 * 1024

# Encoded responses that are kept to be sent again (all of one broker, with their requests), and the largest request
# whose response is kept.
CACHED_RESPONSES_BYTES_MAX = 16 * 1024 * 1024
CACHED_REQUEST_BYTES_MAX = 64 * 1024

# One sendfile call moves at most this much, so that one reader of a large slice does not hold the loop.
SENDFILE_BYTES_MAX = 1024 * 1024

# A slice of a file below this is read and sent together with what surrounds it: one call instead of three.
SENDFILE_BYTES_MIN = 64 * 1024

# Parts in one sendmsg: IOV_MAX of Linux and macOS.
SENDMSG_PARTS_MAX = 1024

# Connections accepted before other tasks run; and how long accepting pauses when descriptors or memory run out.
ACCEPTS_PER_TURN = 64
ACCEPT_PAUSE_MS = 1000

# An I/O error of one file is logged at most this often.
STORAGE_TROUBLE_EVERY_MS = 60_000

# At the stop, replies that are being made may take this long to be sent.
SHUTDOWN_GRACE_S = 5.0
# A second signal means "at once" from here on; before, it is an echo of the first.
SECOND_SIGNAL_AFTER_S = 0.3

# Of all descriptors, what the files of logs may keep open, and what connections may take. The rest is for slices in
# flight, directories, and the process itself.
FILES_SHARE_OF_DESCRIPTORS = 0.4
CONNECTIONS_SHARE_OF_DESCRIPTORS = 0.5

# What one record batch may hold when it is opened. Kafka has no such bound (it streams); this is 256 times its largest
# batch by default, far from what real records compress to.
OPENED_BYTES_MAX = 256 * 1024 * 1024

# What a batch may hold that is opened because of its topic's settings: so many times max.message.bytes, and at least
# this. A producer limits its requests before it compresses, so only a decompression bomb holds more.
OPENED_FACTOR = 16
OPENED_BYTES_MIN = 1024 * 1024

# A batch that holds more bytes or records is validated in a thread when its topic's settings concern single records: so
# many threads at a time, each of which may hold the opened batch.
OPENED_INLINE_BYTES_MAX = 32 * 1024
OPENED_INLINE_RECORDS_MAX = 500
OPENING_THREADS_MAX = 2

# The records of the first batches of each connection are checked: so many batches, so many records of each, and
# batches that open to so many bytes. A check of all that takes about a millisecond of the loop.
CHECKED_BATCHES = 16
CHECKED_RECORDS_MAX = 1000
CHECKED_BYTES_MAX = 2 * 1024 * 1024

# Lines that the report of lost records in a log directory keeps.
LOSSES_KEPT_MAX = 1000

# Kafka's own: NetworkClient and Selector allow a string, an array or a group's metadata up to these.
TOPIC_NAME_LENGTH_MAX = 249
FETCH_SESSIONS_MAX = 1000
PARTITIONS_PER_REQUEST_MAX = 10_000

assert SENDFILE_BYTES_MIN <= SENDFILE_BYTES_MAX <= TURN_BYTES_MAX
assert READ_CHUNK_BYTES_MIN <= READ_CHUNK_BYTES <= READ_CHUNK_BYTES_MAX <= TURN_BYTES_MAX
assert FILES_SHARE_OF_DESCRIPTORS + CONNECTIONS_SHARE_OF_DESCRIPTORS < 1
assert BUSY_POLL_US <= BUSY_POLL_IF_WITHIN_US
assert 0 < TURN_MS < LOOP_HELD_MS
