// @platformatic/kafka: PROGRAM BOOTSTRAP SCENARIO PREFIX; default settings unless the scenario is about a setting.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import * as kafka from '@platformatic/kafka'

const [bootstrap, scenario, prefix] = process.argv.slice(2)
const { SASL_MECHANISM, SASL_USER, SASL_PASSWORD } = process.env
const sasl = SASL_MECHANISM === 'OAUTHBEARER'
  ? { mechanism: SASL_MECHANISM, token: SASL_PASSWORD }
  : SASL_MECHANISM && { mechanism: SASL_MECHANISM, username: SASL_USER, password: SASL_PASSWORD }
const base = { clientId: 'interop', bootstrapBrokers: bootstrap.split(','), ...(sasl && { sasl }), ...secured() }

// CLIENT_SECURITY: JSON with the protocol and paths of PEM files.
function secured() {
  const { ca, certificate } = JSON.parse(process.env.CLIENT_SECURITY || '{}')
  if (!ca) return {}
  const own = certificate ? { key: fs.readFileSync(certificate), cert: fs.readFileSync(certificate) } : {}
  return { tls: { ca: [fs.readFileSync(ca)], ...own } }
}

const numbers = count => Array.from({ length: count }, (_, n) => n)
const numbered = (topic, count) => numbers(count).map(n => ({ topic, key: `k${n}`, value: `v${n}` }))
const valuesOf = records => records.map(record => record.value)
const later = () => new Promise(resolve => setTimeout(resolve, 50))

async function until(condition, what) {
  const deadline = Date.now() + 60_000
  while (!await condition()) {
    assert(Date.now() < deadline, `not in 60 s: ${what}`)
    await later()
  }
}

// Closes a client at the end, with its streams (an Admin has none).
async function using(client, body) {
  try { return await body(client) } finally { await (client instanceof kafka.Admin ? client.close() : client.close(true)) }
}

const withAdmin = body => using(new kafka.Admin(base), body)
const producer = settings => new kafka.Producer({ ...base, serializers: kafka.stringSerializers, ...settings })
const consumer = settings => new kafka.Consumer({ ...base, groupId: `${prefix}-readers`, deserializers: kafka.stringDeserializers, ...settings })
const send = (messages, settings = {}, how = {}) => using(producer(settings), made => made.send({ messages, ...how }))

async function makeTopic(partitions = 1, name = prefix) {
  await withAdmin(async admin => {
    await admin.createTopics({ topics: [name], partitions, replicas: 1 })
    await until(() => admin.metadata({ topics: [name], forceUpdate: true }).then(() => true, () => false), 'the topic')
  })
  return name
}

// The first records of a stream, which stays open.
async function take(stream, count) {
  const records = []
  for await (const record of stream.iterator({ destroyOnReturn: false })) {
    records.push(record)
    if (records.length === count) return records
  }
}

async function read(topic, count, settings = {}, how = {}) {
  return using(consumer(settings), async made => take(await made.consume({ topics: [topic], mode: 'earliest', ...how }), count))
}

const described = async () => (await withAdmin(admin => admin.describeGroups({ groups: [prefix] }))).get(prefix)

const scenarios = {
  async 'round-trip'() {
    const topic = await makeTopic(3)
    await send(numbered(topic, 1000))
    assert.deepEqual(valuesOf(await read(topic, 1000)).sort(), valuesOf(numbered(topic, 1000)).sort())
  },

  async 'auto-create'() {
    await send(numbered(prefix, 5), { autocreateTopics: true })
    assert.equal((await read(prefix, 5)).length, 5)
  },

  async codecs() {
    const topic = await makeTopic()
    const codecs = Object.values(kafka.CompressionAlgorithms)
    for (const compression of codecs) await send(numbered(topic, 200), { compression })
    assert.equal((await read(topic, 200 * codecs.length)).length, 200 * codecs.length)
  },

  async acks() {
    const topic = await makeTopic()
    for (const acks of Object.values(kafka.ProduceAcks)) await send(numbered(topic, 10), { acks })
    await read(topic, 30)
  },

  async shapes() {
    const topic = await makeTopic()
    const sent = [
      { key: 'key', value: 'value', timestamp: 1_700_000_000_000n },
      { value: 'no key' },
      { key: 'no value' },
      { key: '', value: '' },
      { value: 'm'.repeat(900_000) },
      { value: 'v', headers: { a: '1', b: '2', empty: '' } }
    ]
    await send(sent.map(record => ({ topic, ...record })))
    const records = await read(topic, sent.length)
    assert.equal(records[0].timestamp, 1_700_000_000_000n)
    for (const [n, { key, value, headers }] of records.entries()) {
      assert.equal(key || '', sent[n].key || '')
      assert.equal(value || '', sent[n].value || '')
      assert.deepEqual(Object.fromEntries(headers), sent[n].headers || {})
    }
  },

  async idempotent() {
    const topic = await makeTopic()
    await using(producer({ idempotent: true }), async made => {
      for (const message of numbered(topic, 50)) await made.send({ messages: [message] })
    })
    assert.deepEqual(valuesOf(await read(topic, 50)), valuesOf(numbered(topic, 50)))
  },

  group: () => group({ groupProtocol: 'classic', heartbeatInterval: 500 }),
  'new-group-protocol': () => group({ groupProtocol: 'consumer' }),

  async static() {
    const topic = await makeTopic(2)
    await send(numbered(topic, 10))
    await using(consumer({ groupId: prefix, groupInstanceId: 'one' }), async made => {
      await take(await made.consume({ topics: [topic], mode: 'earliest' }), 10)
      const [member] = (await described()).members.values()
      assert.equal(member.groupInstanceId, 'one')
    })
  },

  async 'commit-and-seek'() {
    const topic = await makeTopic()
    await send(numbered(topic, 50))
    await using(consumer({ groupId: prefix, autocommit: false }), async made => {
      const stream = await made.consume({ topics: [topic], mode: 'earliest' })
      const records = await take(stream, 17)
      await records[16].commit()
      const committed = await made.listCommittedOffsets({ topics: [{ topic, partitions: [0] }] })
      assert.equal(committed.get(topic)[0], 17n)
      assert.equal((await made.listOffsets({ topics: [topic] })).get(topic)[0], 50n)
      assert.equal((await made.getLag({ topics: [topic] })).get(topic)[0], 33n)
    })
    const resumed = await read(topic, 33, { groupId: prefix }, { mode: 'committed' })
    assert.equal(resumed[0].value, 'v17')
    const offsets = [{ topic, partition: 0, offset: 45n }]
    assert.deepEqual(valuesOf(await read(topic, 5, {}, { mode: 'manual', offsets })), ['v45', 'v46', 'v47', 'v48', 'v49'])
  },

  async 'seek-by-time'() {
    const topic = await makeTopic()
    await send(numbers(10).map(n => ({ topic, value: `v${n}`, timestamp: 1_700_000_000_000n + BigInt(n) * 1000n })))
    await using(consumer({}), async made => {
      const found = await made.listOffsetsWithTimestamps({ topics: [topic], timestamp: 1_700_000_004_500n })
      assert.deepEqual(found.get(topic).get(0), { offset: 5n, timestamp: 1_700_000_005_000n })
      for (const [timestamp, offset] of [[-1n, 10n], [-2n, 0n], [-3n, 9n]]) {
        assert.equal((await made.listOffsets({ topics: [topic], timestamp })).get(topic)[0], offset)
      }
    })
  },

  async admin() {
    await withAdmin(async admin => {
      const configs = [{ name: 'retention.ms', value: '1000000' }]
      const [created] = await admin.createTopics({ topics: [prefix], partitions: 2, replicas: 1, configs })
      assert.equal(created.partitions, 2)
      assert.equal(created.configuration['retention.ms'], '1000000')
      await assert.rejects(admin.createTopics({ topics: [prefix], partitions: 1, replicas: 1 }))
      await admin.createPartitions({ topics: [{ name: prefix, count: 5 }] })
      await until(async () => (await admin.metadata({ topics: [prefix], forceUpdate: true })).topics.get(prefix).partitionsCount === 5, 'partitions')
      assert((await admin.listTopics()).includes(prefix))
      const topic = { resourceType: kafka.ConfigResourceTypes.TOPIC, resourceName: prefix }
      const value = async () => {
        const [{ configs }] = await admin.describeConfigs({ resources: [{ ...topic, configurationKeys: ['retention.ms'] }], includeSynonyms: true, includeDocumentation: true })
        return configs[0].value
      }
      await admin.alterConfigs({ resources: [{ ...topic, configs: [{ name: 'retention.ms', value: '2000000' }] }] })
      await until(async () => await value() === '2000000', 'the altered config')
      const { DELETE } = kafka.IncrementalAlterConfigOperationTypes
      await admin.incrementalAlterConfigs({ resources: [{ ...topic, configs: [{ name: 'retention.ms', configOperation: DELETE }] }] })
      await until(async () => await value() === '604800000', 'the default')
      await send(numbers(10).map(n => ({ topic: prefix, partition: 0, value: `v${n}` })))
      const [deleted] = await admin.deleteRecords({ topics: [{ name: prefix, partitions: [{ partition: 0, offset: 4n }] }] })
      assert.equal(deleted.partitions[0].lowWatermark, 4n)
      const [listed] = await admin.listOffsets({ topics: [{ name: prefix, partitions: [{ partitionIndex: 0, timestamp: -2n }] }] })
      assert.equal(listed.partitions[0].offset, 4n)
      await offsets(admin)
      await admin.deleteTopics({ topics: [prefix] })
      await assert.rejects(admin.deleteTopics({ topics: [prefix] }))
    })
  },

  async 'admin-cluster'() {
    const topic = await makeTopic(2)
    await send(numbered(topic, 20))
    await withAdmin(async admin => {
      const metadata = await admin.metadata({})
      assert.equal(metadata.brokers.size, 1)
      assert.equal(metadata.controllerId, 1)
      const [{ results }] = await admin.describeLogDirs({ topics: [{ name: topic, partitions: [0, 1] }] })
      assert(results[0].topics[0].partitions.some(partition => partition.partitionSize > 0n))
      const [coordinator] = await admin.findCoordinator({ keyType: kafka.FindCoordinatorKeyTypes.TRANSACTION, keys: [prefix] })
      assert.equal(coordinator.nodeId, 1)
      const entities = [{ entityType: 'user', entityName: prefix }]
      await admin.alterClientQuotas({ entries: [{ entities, ops: [{ key: 'producer_byte_rate', value: 1e9, remove: false }] }] })
      const components = [{ entityType: 'user', matchType: kafka.ClientQuotaMatchTypes.EXACT, match: prefix }]
      await until(async () => (await admin.describeClientQuotas({ components, strict: true })).length === 1, 'the quota')
      await admin.alterClientQuotas({ entries: [{ entities, ops: [{ key: 'producer_byte_rate', remove: true }] }] })
    })
  },

  // The broker has an authorizer.
  async acls() {
    await withAdmin(async admin => {
      const target = { resourceType: kafka.ResourceTypes.TOPIC, resourceName: prefix, resourcePatternType: kafka.ResourcePatternTypes.PREFIXED }
      const bob = { principal: 'User:bob', host: '*' }
      const read = { ...target, ...bob, operation: kafka.AclOperations.READ, permissionType: kafka.AclPermissionTypes.ALLOW }
      const write = { ...read, operation: kafka.AclOperations.WRITE, permissionType: kafka.AclPermissionTypes.DENY }
      await admin.createAcls({ creations: [read, write] })
      const any = { operation: kafka.AclOperations.ANY, permissionType: kafka.AclPermissionTypes.ANY, principal: null, host: null }
      const filter = { ...target, ...any }
      await until(async () => (await admin.describeAcls({ filter }))[0]?.acls.length === 2, 'the ACLs')
      assert.equal((await admin.deleteAcls({ filters: [filter] })).length, 2)
      await until(async () => (await admin.describeAcls({ filter })).length === 0, 'no ACLs')
    })
  },

  async transactions() {
    const topic = await makeTopic()
    await using(producer({ transactionalId: prefix, idempotent: true }), async made => {
      // One of them is aborted: of several in one answer to Fetch, the library remembers the last of each producer.
      for (const n of numbers(3)) {
        const transaction = await made.beginTransaction()
        await transaction.send({ messages: [{ topic, value: `tx-${n}` }] })
        await (n % 2 === 0 ? transaction.commit() : transaction.abort())
      }
    })
    const { READ_COMMITTED, READ_UNCOMMITTED } = kafka.FetchIsolationLevels
    const committed = await read(topic, 2, { isolationLevel: READ_COMMITTED })
    assert.deepEqual(valuesOf(committed), ['tx-0', 'tx-2'])
    assert.equal((await read(topic, 3, { isolationLevel: READ_UNCOMMITTED })).length, 3)
  },

  // Copies a topic to another, records and offset in one transaction; the first try is aborted.
  async 'exactly-once'() {
    const topic = await makeTopic()
    const into = await makeTopic(1, `${prefix}-into`)
    await send(numbered(topic, 20))
    await using(consumer({ groupId: prefix, autocommit: false }), async source => {
      const records = await take(await source.consume({ topics: [topic], mode: 'earliest' }), 20)
      await using(producer({ transactionalId: prefix, idempotent: true }), async made => {
        for (const commit of [false, true]) {
          const transaction = await made.beginTransaction()
          await transaction.addConsumer(source)
          await transaction.send({ messages: records.map(({ value }) => ({ topic: into, value })) })
          await transaction.addOffset(records[19])
          await (commit ? transaction.commit() : transaction.abort())
        }
      })
    })
    const copied = await read(into, 20, { isolationLevel: kafka.FetchIsolationLevels.READ_COMMITTED })
    assert.deepEqual(valuesOf(copied), valuesOf(numbered(topic, 20)))
    const [group] = await withAdmin(admin => admin.listConsumerGroupOffsets({ groups: [prefix], requireStable: true }))
    assert.equal(group.topics[0].partitions[0].committedOffset, 20n)
  }
}

async function offsets(admin) {
  const partitionOffsets = [{ partition: 0, offset: 3n }, { partition: 1, offset: 4n }]
  await admin.alterConsumerGroupOffsets({ groupId: prefix, topics: [{ name: prefix, partitionOffsets }] })
  assert((await admin.listGroups()).has(prefix))
  const listed = async () => {
    const [group] = await admin.listConsumerGroupOffsets({ groups: [prefix] })
    return group.topics[0].partitions.map(partition => partition.committedOffset)
  }
  assert.deepEqual(await listed(), [3n, 4n])
  await admin.deleteConsumerGroupOffsets({ groupId: prefix, topics: [{ name: prefix, partitionIndexes: [1] }] })
  assert.deepEqual(await listed(), [3n])
  await admin.deleteGroups({ groups: [prefix] })
  await assert.rejects(admin.deleteGroups({ groups: [prefix] }))
}

// The first member has all partitions, then half of them, and the second has all once the first leaves.
async function group(settings) {
  const topic = await makeTopic(4)
  await send(numbered(topic, 100))
  const [first, second] = [0, 1].map(() => consumer({ groupId: prefix, ...settings }))
  const owned = member => (member.assignments ?? []).reduce((sum, { partitions }) => sum + partitions.length, 0)
  const stream = await first.consume({ topics: [topic], mode: 'earliest' })
  await take(stream, 100)
  stream.resume()
  assert.equal(owned(first), 4)
  const other = await second.consume({ topics: [topic], mode: 'committed' })
  other.resume()
  await until(() => owned(first) === 2 && owned(second) === 2, 'two partitions each')
  await first.close(true)
  await until(() => owned(second) === 4, 'all partitions at the second')
  await send(numbered(topic, 20))
  await second.close(true)
}

const limit = setTimeout(() => { console.error('the scenario did not end in 90 s'); process.exit(1) }, 90_000)
await scenarios[scenario]()
clearTimeout(limit)
console.log('ok')
