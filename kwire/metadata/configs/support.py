"""How kwire treats each broker config: honoured, accepted without effect, or not served.

Responsible for: one entry for each config, with the reason. Tests assert that every config has exactly one entry and
that each honoured config is read somewhere. The caller acts on it: a flag that is not served is an error, a line in a
file a warning, a dynamic change is refused. Must not depend on: files, values.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import NamedTuple

from kwire.metadata.configs.definitions import KWIRE_PREFIX, broker_keys, split_listener_prefix


class Kind(Enum):
    """How kwire treats a value."""

    HONOURED = "honoured"
    MEANINGLESS = "taken, and means nothing here"
    NOT_SERVED = "not served"


class ConfigSupport(NamedTuple):
    """How kwire treats a config, and the reason where it has no effect."""

    kind: Kind
    why: str


def support_of(name: str) -> ConfigSupport:
    """Return how kwire treats a broker config. Raises KeyError for a name that Kafka does not know."""
    base = split_listener_prefix(name)[1]
    if base not in broker_keys():
        raise KeyError(name)
    return _supports()[base]


_HONOURED = """
add.partitions.to.txn.retry.backoff.max.ms add.partitions.to.txn.retry.backoff.ms
advertised.listeners authorizer.class.name auto.create.topics.enable auto.leader.rebalance.enable broker.id
broker.heartbeat.interval.ms broker.rack broker.session.timeout.ms controlled.shutdown.enable
controller.quorum.request.timeout.ms initial.broker.registration.timeout.ms inter.broker.listener.name
leader.imbalance.check.interval.seconds request.timeout.ms security.inter.broker.protocol
unclean.leader.election.enable unclean.leader.election.interval.ms
compression.gzip.level compression.lz4.level
compression.type compression.zstd.level connections.max.idle.ms controller.listener.names
controller.quorum.bootstrap.servers controller.quorum.voters controller.quota.window.num
controller.quota.window.size.seconds default.replication.factor delete.topic.enable
errors.deadletterqueue.auto.create.topics.enable errors.deadletterqueue.topic.name.prefix
fetch.max.bytes group.consumer.assignment.interval.ms group.consumer.assignors group.consumer.heartbeat.interval.ms
group.consumer.max.assignment.interval.ms group.consumer.max.heartbeat.interval.ms
group.consumer.max.session.timeout.ms group.consumer.max.size group.consumer.migration.policy
group.consumer.min.assignment.interval.ms group.consumer.min.heartbeat.interval.ms
group.consumer.min.session.timeout.ms group.consumer.regex.refresh.interval.ms group.consumer.session.timeout.ms
group.coordinator.rebalance.protocols group.initial.rebalance.delay.ms group.max.session.timeout.ms group.max.size
group.min.session.timeout.ms listener.security.protocol.map listeners log.cleanup.policy log.dir log.dirs
follower.replication.throttled.rate leader.replication.throttled.rate replication.quota.window.num
replication.quota.window.size.seconds
num.replica.fetchers replica.fetch.backoff.ms replica.fetch.max.bytes replica.fetch.min.bytes
replica.fetch.response.max.bytes replica.fetch.wait.max.ms replica.high.watermark.checkpoint.interval.ms
cordoned.log.dirs replica.lag.time.max.ms replica.selector.class replica.socket.timeout.ms
log.dir.failure.timeout.ms
log.flush.interval.messages log.flush.interval.ms log.flush.offset.checkpoint.interval.ms
log.flush.scheduler.interval.ms log.index.interval.bytes log.index.size.max.bytes
log.message.timestamp.after.max.ms log.message.timestamp.before.max.ms log.message.timestamp.type log.preallocate
log.retention.bytes log.retention.check.interval.ms log.retention.hours log.retention.minutes log.retention.ms
log.roll.hours log.roll.jitter.hours log.roll.jitter.ms log.roll.ms log.segment.bytes log.segment.delete.delay.ms
log.cleaner.backoff.ms log.cleaner.dedupe.buffer.size log.cleaner.delete.retention.ms log.cleaner.enable
log.cleaner.io.buffer.load.factor log.cleaner.io.buffer.size log.cleaner.io.max.bytes.per.second
log.cleaner.max.compaction.lag.ms log.cleaner.min.cleanable.ratio log.cleaner.min.compaction.lag.ms
log.cleaner.threads
max.connection.creation.rate max.connections max.connections.per.ip max.connections.per.ip.overrides
max.decompressed.message.bytes
max.incremental.fetch.session.cache.slots max.request.partition.size.limit message.max.bytes metadata.log.dir
metadata.log.max.record.bytes.between.snapshots metadata.log.max.snapshot.interval.ms metadata.log.segment.bytes
metadata.log.segment.ms min.insync.replicas node.id num.partitions offset.metadata.max.bytes
offsets.commit.timeout.ms offsets.retention.check.interval.ms offsets.retention.minutes offsets.topic.compression.codec
offsets.topic.num.partitions offsets.topic.replication.factor offsets.topic.segment.bytes
process.roles quota.window.num quota.window.size.seconds producer.id.expiration.check.interval.ms
producer.id.expiration.ms queued.max.request.bytes request.timeout.ms socket.listen.backlog.size
socket.receive.buffer.bytes
socket.request.max.bytes socket.send.buffer.bytes transaction.abort.timed.out.transaction.cleanup.interval.ms
transaction.max.timeout.ms transaction.partition.verification.enable
transaction.remove.expired.transaction.cleanup.interval.ms transaction.state.log.min.isr
transaction.state.log.num.partitions transaction.state.log.replication.factor transaction.state.log.segment.bytes
transactional.id.expiration.ms telemetry.max.bytes
ssl.allow.dn.changes ssl.allow.san.changes ssl.cipher.suites ssl.client.auth ssl.enabled.protocols
ssl.endpoint.identification.algorithm ssl.key.password
ssl.keystore.certificate.chain ssl.keystore.key ssl.keystore.location ssl.keystore.password ssl.keystore.type
ssl.principal.mapping.rules ssl.protocol ssl.truststore.certificates ssl.truststore.location ssl.truststore.password
ssl.truststore.type
group.share.assignment.interval.ms group.share.assignors group.share.delivery.count.limit
group.share.heartbeat.interval.ms group.share.initialize.retry.interval.ms group.share.max.assignment.interval.ms
group.share.max.delivery.count.limit group.share.max.heartbeat.interval.ms group.share.max.partition.max.record.locks
group.share.max.record.lock.duration.ms group.share.max.session.timeout.ms group.share.max.share.sessions
group.share.max.size group.share.min.assignment.interval.ms group.share.min.delivery.count.limit
group.share.min.heartbeat.interval.ms group.share.min.partition.max.record.locks
group.share.min.record.lock.duration.ms group.share.min.session.timeout.ms group.share.partition.max.record.locks
group.share.record.lock.duration.ms group.share.session.timeout.ms
group.streams.acceptable.recovery.lag group.streams.assignment.interval.ms group.streams.assignors
group.streams.heartbeat.interval.ms group.streams.initial.rebalance.delay.ms group.streams.max.assignment.interval.ms
group.streams.max.heartbeat.interval.ms group.streams.max.session.timeout.ms group.streams.max.size
group.streams.max.standby.replicas group.streams.max.warmup.replicas group.streams.min.assignment.interval.ms
group.streams.min.heartbeat.interval.ms group.streams.min.session.timeout.ms group.streams.min.task.offset.interval.ms
group.streams.num.standby.replicas group.streams.rack.aware.assignment.tags
group.streams.session.timeout.ms group.streams.task.offset.interval.ms
share.coordinator.cold.partition.snapshot.interval.ms share.coordinator.snapshot.update.records.per.snapshot
share.coordinator.state.topic.compression.codec share.coordinator.state.topic.prune.interval.ms
share.coordinator.state.topic.min.isr share.coordinator.state.topic.num.partitions
share.coordinator.state.topic.replication.factor share.coordinator.state.topic.segment.bytes
share.coordinator.write.timeout.ms
connection.failed.authentication.delay.ms connections.max.reauth.ms sasl.enabled.mechanisms sasl.jaas.config
sasl.mechanism.controller.protocol sasl.mechanism.inter.broker.protocol sasl.server.callback.handler.class
sasl.server.max.receive.size
sasl.oauthbearer.allow.unverified.audience sasl.oauthbearer.allow.unverified.issuer
sasl.oauthbearer.clock.skew.seconds sasl.oauthbearer.expected.audience sasl.oauthbearer.expected.issuer
sasl.oauthbearer.jwks.endpoint.refresh.ms sasl.oauthbearer.jwks.endpoint.url sasl.oauthbearer.jwt.validator.class
sasl.oauthbearer.scope.claim.name sasl.oauthbearer.sub.claim.name
config.providers delegation.token.expiry.check.interval.ms delegation.token.expiry.time.ms
delegation.token.max.lifetime.ms delegation.token.secret.key
"""

_MEANINGLESS = {
    "one process with one event loop has no pools of threads": """
background.threads group.consumer.assignor.offload.enable group.coordinator.background.threads
group.coordinator.threads group.share.assignor.offload.enable group.streams.assignor.offload.enable num.io.threads
num.network.threads num.recovery.threads.per.data.dir num.replica.alter.log.dirs.threads
share.coordinator.threads
""",
    "Kafka 4.4 gives no member of a streams group a warm-up task": "group.streams.num.warmup.replicas",
    "there is no other broker to copy from, talk to, or wait for": """
alter.log.dirs.replication.quota.window.num alter.log.dirs.replication.quota.window.size.seconds
controller.socket.timeout.ms replica.alter.log.dirs.io.max.bytes.per.second
replica.socket.receive.buffer.bytes
socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms
""",
    "the only voter elects itself, and no other node fetches its log": """
controller.performance.always.log.threshold.ms controller.performance.sample.period.ms
controller.quorum.append.linger.ms controller.quorum.auto.join.enable controller.quorum.election.backoff.max.ms
controller.quorum.election.timeout.ms controller.quorum.fetch.max.bytes controller.quorum.fetch.snapshot.max.bytes
controller.quorum.fetch.timeout.ms controller.quorum.retry.backoff.ms
metadata.max.idle.interval.ms
""",
    "coordinators answer at once and write without a buffer": """
group.coordinator.append.linger.ms
group.coordinator.cached.buffer.max.bytes offsets.load.buffer.size
share.coordinator.append.linger.ms share.coordinator.cached.buffer.max.bytes share.coordinator.load.buffer.size
transaction.state.log.load.buffer.size
""",
    "waiting requests are not kept in purgatories that need purging": """
delete.records.purgatory.purge.interval.requests fetch.purgatory.purge.interval.requests
producer.purgatory.purge.interval.requests queued.max.requests share.fetch.purgatory.purge.interval.requests
""",
    "housekeeping here has no such step": """
internal.metadata.delete.delay.millis internal.metadata.log.segment.bytes
internal.metadata.max.batch.size.in.bytes
log.flush.start.offset.checkpoint.interval.ms log.initial.task.delay.ms metadata.max.retention.bytes
metadata.max.retention.ms server.max.startup.time.ms
""",
    "it counts for tiered topics alone, and there are none": "log.local.retention.bytes log.local.retention.ms",
    "OpenSSL has one way to use keys and to check certificates": "ssl.keymanager.algorithm ssl.trustmanager.algorithm",
    "no listener opens before the authorizer has all ACLs": "early.start.listeners",
    "metrics of the JVM": """
kafka.metrics.polling.interval.secs kafka.metrics.reporters metric.reporters metrics.num.samples
metrics.recording.level metrics.sample.window.ms
""",
}

_NOT_SERVED = {
    "Java classes cannot be loaded": """
alter.config.policy.class.name client.quota.callback.class
create.topic.policy.class.name group.share.dlq.manager.class.name group.share.persister.class.name
group.streams.topology.description.plugin.class principal.builder.class security.providers
""",
    "tiered storage is not served": """
follower.fetch.last.tiered.offset.enable log.remote.copy.lag.bytes log.remote.copy.lag.ms remote.fetch.max.wait.ms
remote.list.offsets.request.timeout.ms remote.log.index.file.cache.total.size.bytes
remote.log.index.file.cache.ttl.ms remote.log.manager.copier.thread.pool.size
remote.log.manager.copy.max.bytes.per.second remote.log.manager.copy.quota.window.num
remote.log.manager.copy.quota.window.size.seconds remote.log.manager.expiration.thread.pool.size
remote.log.manager.fetch.max.bytes.per.second remote.log.manager.fetch.quota.window.num
remote.log.manager.fetch.quota.window.size.seconds remote.log.manager.follower.thread.pool.size
remote.log.manager.task.interval.ms remote.log.manager.task.retry.backoff.max.ms
remote.log.manager.task.retry.backoff.ms remote.log.manager.task.retry.jitter
remote.log.manager.thread.pool.size remote.log.metadata.custom.metadata.max.bytes
remote.log.metadata.manager.class.name remote.log.metadata.manager.class.path
remote.log.metadata.manager.impl.prefix remote.log.metadata.manager.listener.name
remote.log.reader.max.pending.tasks remote.log.reader.threads remote.log.storage.manager.class.name
remote.log.storage.manager.class.path remote.log.storage.manager.impl.prefix remote.log.storage.system.enable
""",
    "GSSAPI (Kerberos) is not served": """
sasl.kerberos.kinit.cmd sasl.kerberos.min.time.before.relogin sasl.kerberos.principal.to.local.rules
sasl.kerberos.service.name sasl.kerberos.ticket.renew.jitter sasl.kerberos.ticket.renew.window.factor
""",
    "the broker logs in nowhere, as there is no other broker": """
sasl.client.callback.handler.class sasl.login.callback.handler.class sasl.login.class sasl.login.connect.timeout.ms
sasl.login.read.timeout.ms sasl.login.refresh.buffer.seconds sasl.login.refresh.min.period.seconds
sasl.login.refresh.window.factor sasl.login.refresh.window.jitter sasl.login.retry.backoff.max.ms
sasl.login.retry.backoff.ms sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss
sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds
sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file sasl.oauthbearer.assertion.private.key.file
sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.template.file
sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.credentials.client.secret
sasl.oauthbearer.jwt.retriever.class sasl.oauthbearer.scope sasl.oauthbearer.token.endpoint.url
""",
    "a key set that cannot be read is asked for again at the next login, ten seconds later at the earliest": """
sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms sasl.oauthbearer.jwks.endpoint.retry.backoff.ms
""",
    "Java's security providers cannot be loaded": """
ssl.engine.factory.class ssl.provider ssl.secure.random.implementation
""",
    "two-phase commit of transactions is not served": "transaction.two.phase.commit.enable",
    "what is not stable in Kafka is not served": "unstable.api.versions.enable unstable.feature.versions.enable",
}


@cache
def _supports() -> dict[str, ConfigSupport]:
    own = [name for name in broker_keys() if name.startswith(KWIRE_PREFIX)]
    found = {name: ConfigSupport(Kind.HONOURED, "") for name in [*_HONOURED.split(), *own]}
    for kind, groups in ((Kind.MEANINGLESS, _MEANINGLESS), (Kind.NOT_SERVED, _NOT_SERVED)):
        for why, names in groups.items():
            found.update((name, ConfigSupport(kind, why)) for name in names.split())
    return found


def all_config_support() -> dict[str, ConfigSupport]:
    """Return the entry of every config, for documentation and the test that none is missing."""
    return dict(_supports())
