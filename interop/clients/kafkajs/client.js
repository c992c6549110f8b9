// kafkajs: PROGRAM BOOTSTRAP SCENARIO PREFIX; default settings unless the scenario is about a setting.
const assert = require('node:assert/strict')
const fs = require('node:fs')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel, AssignerProtocol } = require('kafkajs')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const [bootstrap, scenario, prefix] = process.argv.slice(2)
const { SASL_MECHANISM, SASL_USER, SASL_PASSWORD } = process.env
const sasl = SASL_MECHANISM === 'OAUTHBEARER'
  ? { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: SASL_PASSWORD }) }
  : SASL_MECHANISM && { mechanism: SASL_MECHANISM.toLowerCase(), username: SASL_USER, password: SASL_PASSWORD }
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR, ...(sasl && { sasl }), ...secured() })

// CLIENT_SECURITY: JSON with the protocol and paths of PEM files.
function secured() {
  const { ca, certificate } = JSON.parse(process.env.CLIENT_SECURITY || '{}')
  if (!ca) return {}
  const own = certificate ? { key: fs.readFileSync(certificate), cert: fs.readFileSync(certificate) } : {}
  return { ssl: { ca: [fs.readFileSync(ca)], ...own } }
}

const numbered = count => Array.from({ length: count }, (_, n) => ({ key: `k${n}`, value: `v${n}` }))
const values = records => records.map(record => (record.value === null ? null : record.value.toString()))

async function withAdmin(body) {
  const admin = kafka.admin()
  await admin.connect()
  try { return await body(admin) } finally { await admin.disconnect() }
}

async function makeTopic(topic, numPartitions = 1) {
  await withAdmin(admin => admin.createTopics({ topics: [{ topic, numPartitions }], waitForLeaders: true }))
  return topic
}

async function send(topic, messages, settings = {}, how = {}) {
  const producer = kafka.producer(settings)
  await producer.connect()
  await producer.send({ topic, messages, ...how })
  await producer.disconnect()
}

function until(condition, what, seconds = 60) {
  const deadline = Date.now() + seconds * 1000
  return new Promise((resolve, reject) => {
    const look = () => condition() ? resolve() : Date.now() > deadline ? reject(new Error(`not in ${seconds} s: ${what}`)) : setTimeout(look, 50)
    look()
  })
}

async function read(topic, count, settings = {}) {
  const consumer = kafka.consumer({ groupId: `${topic}-readers`, ...settings })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const records = []
  await consumer.run({ eachMessage: async ({ partition, message }) => { records.push({ partition, ...message }) } })
  await until(() => records.length >= count, `${count} records; got ${records.length}`)
  await consumer.disconnect()
  assert.equal(records.length, count)
  return records
}

const scenarios = {
  async 'round-trip'() {
    const topic = await makeTopic(prefix, 3)
    await send(topic, numbered(1000))
    assert.deepEqual(values(await read(topic, 1000)).sort(), values(numbered(1000)).sort())
  },
  async 'auto-create'() {
    await send(prefix, numbered(10))
    assert.equal((await read(prefix, 10)).length, 10)
  },
  async codecs() {
    const topic = await makeTopic(prefix)
    for (const compression of [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.Snappy]) {
      await send(topic, numbered(100), {}, { compression })
    }
    assert.equal((await read(topic, 300)).length, 300)
  },
  async acks() {
    const topic = await makeTopic(prefix)
    for (const acks of [0, 1, -1]) await send(topic, numbered(10), {}, { acks })
    await read(topic, 30)
  },
  async shapes() {
    const topic = await makeTopic(prefix)
    const sent = [
      { key: 'key', value: 'value' }, { key: null, value: 'no key' }, { key: 'no value', value: null }, { key: '', value: '' },
      { key: 'h', value: 'v', headers: { a: '1', several: ['x', 'y'] } }, { key: 'big', value: 'm'.repeat(900000) },
    ]
    await send(topic, sent)
    const seen = (await read(topic, sent.length)).map(r => [r.key && r.key.toString(), r.value && r.value.toString()])
    assert.deepEqual(seen, sent.map(r => [r.key, r.value]))
  },
  async idempotent() {
    const topic = await makeTopic(prefix, 2)
    await send(topic, numbered(500), { idempotent: true, maxInFlightRequests: 1 })
    assert.equal((await read(topic, 500)).length, 500)
  },
  async group() {
    const topic = await makeTopic(prefix, 4)
    const owned = [0, 0]
    const seen = []
    const members = []
    for (const n of [0, 1]) {
      const member = kafka.consumer({ groupId: prefix, heartbeatInterval: 500 })
      member.on(member.events.GROUP_JOIN, event => { owned[n] = (event.payload.memberAssignment[topic] || []).length })
      await member.connect()
      await member.subscribe({ topics: [topic], fromBeginning: true })
      await member.run({ eachMessage: async ({ message }) => { seen.push(message.value.toString()) } })
      members.push(member)
      await until(() => owned[0] === (n ? 2 : 4) && owned[1] === (n ? 2 : 0), `members own ${owned}`)
    }
    await send(topic, numbered(100))
    await until(() => seen.length === 100, 'all records are read once')
    await members[0].disconnect()
    await until(() => owned[1] === 4, 'the one that stays takes over')
    await members[1].disconnect()
    assert.deepEqual(seen.sort(), values(numbered(100)).sort())
  },
  async 'commit-and-seek'() {
    const topic = await makeTopic(prefix)
    await send(topic, numbered(50))
    const consumer = kafka.consumer({ groupId: prefix })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const seen = []
    await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => { seen.push(Number(message.offset)) } })
    consumer.seek({ topic, partition: 0, offset: '45' })
    await until(() => seen.includes(49), 'the end')
    await consumer.commitOffsets([{ topic, partition: 0, offset: '17', metadata: 'half way' }])
    await consumer.disconnect()
    assert.deepEqual(seen.slice(-5), [45, 46, 47, 48, 49])
    const [{ partitions }] = await withAdmin(admin => admin.fetchOffsets({ groupId: prefix, topics: [topic] }))
    assert.deepEqual(partitions, [{ partition: 0, offset: '17', metadata: 'half way' }])
  },
  async pause() {
    const topic = await makeTopic(prefix)
    const consumer = kafka.consumer({ groupId: prefix })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const seen = []
    await consumer.run({ eachMessage: async ({ message }) => { seen.push(message) } })
    await send(topic, numbered(1))
    await until(() => seen.length === 1, 'the first record')
    consumer.pause([{ topic }])
    await send(topic, numbered(1))
    await new Promise(resolve => setTimeout(resolve, 1000))
    assert.equal(seen.length, 1)
    consumer.resume([{ topic }])
    await until(() => seen.length === 2, 'the second after resume')
    await consumer.disconnect()
  },
  async admin() {
    await withAdmin(async admin => {
      assert.equal(await admin.createTopics({ topics: [{ topic: prefix, numPartitions: 2 }] }), true)
      assert.equal(await admin.createTopics({ topics: [{ topic: prefix, numPartitions: 2 }] }), false)
      assert.ok((await admin.listTopics()).includes(prefix))
      await admin.createPartitions({ topicPartitions: [{ topic: prefix, count: 5 }] })
      const described = await admin.fetchTopicMetadata({ topics: [prefix] })
      assert.equal(described.topics[0].partitions.length, 5)
      const resource = { type: 2, name: prefix }
      await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: '2000000' }] }] })
      let value
      for (let n = 0; n < 50 && value !== '2000000'; n++) {
        const { resources } = await admin.describeConfigs({ resources: [{ ...resource, configNames: ['retention.ms'] }], includeSynonyms: true })
        value = resources[0].configEntries[0].configValue
      }
      assert.equal(value, '2000000')
      const cluster = await admin.describeCluster()
      assert.equal(cluster.brokers.length, 1)
      await send(prefix, numbered(10))
      await read(prefix, 10)
      const { groups } = await admin.listGroups()
      assert.ok(groups.some(group => group.groupId === `${prefix}-readers`))
      const offsets = await admin.fetchTopicOffsets(prefix)
      assert.equal(offsets.reduce((sum, entry) => sum + Number(entry.high), 0), 10)
      await admin.deleteGroups([`${prefix}-readers`])
      await admin.deleteTopicRecords({ topic: prefix, partitions: [{ partition: 0, offset: '-1' }] })
      await admin.deleteTopics({ topics: [prefix] })
      assert.ok(!(await admin.listTopics()).includes(prefix))
    })
  },
  async transactions() {
    const topic = await makeTopic(prefix)
    const producer = kafka.producer({ transactionalId: prefix, maxInFlightRequests: 1, idempotent: true })
    await producer.connect()
    for (let n = 0; n < 6; n++) {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: [{ value: `tx-${n}` }] })
      await transaction.sendOffsets({ consumerGroupId: prefix, topics: [{ topic, partitions: [{ partition: 0, offset: `${n}` }] }] })
      await (n % 2 ? transaction.abort() : transaction.commit())
    }
    await producer.disconnect()
    assert.deepEqual(values(await read(topic, 3, { readUncommitted: false })), ['tx-0', 'tx-2', 'tx-4'])
    const [{ partitions }] = await withAdmin(admin => admin.fetchOffsets({ groupId: prefix, topics: [topic] }))
    assert.equal(partitions[0].offset, '4')
  },
}

scenarios[scenario]().then(
  () => { console.log('ok'); process.exit(0) },
  error => { console.error(error); process.exit(1) },
)
