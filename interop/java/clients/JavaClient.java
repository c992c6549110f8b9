import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client: PROGRAM BOOTSTRAP SCENARIO PREFIX; default settings unless the scenario is about a setting. */
public final class JavaClient {
    final String bootstrap;
    final String prefix;
    final Properties security = new Properties(); // of the file that a fourth argument names

    JavaClient(String bootstrap, String prefix) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
    }

    public static void main(String[] args) throws Exception {
        JavaClient client = new JavaClient(args[0], args[2]);
        if (args.length > 3) {
            try (java.io.InputStream file = java.nio.file.Files.newInputStream(java.nio.file.Path.of(args[3]))) {
                client.security.load(file);
            }
        }
        switch (args[1]) {
            case "round-trip" -> client.roundTrip();
            case "codecs" -> client.codecs();
            case "acks" -> client.acks();
            case "shapes" -> client.shapes();
            case "group" -> client.group(Map.of());
            case "cooperative" -> client.group(Map.of("partition.assignment.strategy",
                "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
            case "new-group-protocol" -> client.newGroupProtocol();
            case "share-group" -> client.shareGroup();
            case "static" -> client.staticMember();
            case "commit-and-seek" -> client.commitAndSeek();
            case "seek-by-time" -> client.seekByTime();
            case "pause" -> client.pause();
            case "admin" -> client.admin();
            case "admin-transactions-and-quotas" -> client.adminOfTransactionsAndQuotas();
            case "transactions" -> client.transactions();
            case "exactly-once" -> client.exactlyOnce();
            default -> throw new IllegalArgumentException(args[1]);
        }
        System.out.println("ok");
    }

    static void same(Object seen, Object expected) {
        if (!seen.equals(expected)) throw new AssertionError("seen " + seen + ", expected " + expected);
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    Properties with(Map<String, String> settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.putAll(security);
        properties.putAll(settings);
        return properties;
    }

    KafkaProducer<byte[], byte[]> producer(Map<String, String> settings) {
        return new KafkaProducer<>(with(settings), new ByteArraySerializer(), new ByteArraySerializer());
    }

    KafkaConsumer<byte[], byte[]> consumer(Map<String, String> settings) {
        Properties properties = with(Map.of("auto.offset.reset", "earliest"));
        properties.putAll(settings);
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    String makeTopic(String name, int partitions) throws Exception {
        try (Admin admin = Admin.create(with(Map.of()))) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
        }
        return name;
    }

    void send(String topic, int count, String stem, Map<String, String> settings) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            List<java.util.concurrent.Future<?>> sent = new ArrayList<>();
            for (int n = 0; n < count; n++) sent.add(producer.send(new ProducerRecord<>(topic, bytes("k" + n), bytes(stem + n))));
            for (java.util.concurrent.Future<?> future : sent) future.get();
        }
    }

    static void until(String what, BooleanSupplier condition) {
        long deadline = System.currentTimeMillis() + 60_000;
        while (!condition.getAsBoolean()) {
            if (System.currentTimeMillis() > deadline) throw new AssertionError("not in 60 s: " + what);
        }
    }

    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        until(count + " records", () -> {
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            return records.size() >= count;
        });
        same(records.size(), count);
        return records;
    }

    List<ConsumerRecord<byte[], byte[]>> read(String topic, int count, Map<String, String> settings) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(settings)) {
            if (settings.containsKey("group.id")) {
                consumer.subscribe(List.of(topic));
            } else {
                List<TopicPartition> all = new ArrayList<>();
                consumer.partitionsFor(topic).forEach(info -> all.add(new TopicPartition(topic, info.partition())));
                consumer.assign(all);
                consumer.seekToBeginning(all);
            }
            return take(consumer, count);
        }
    }

    static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(record -> text(record.value())).toList();
    }

    void roundTrip() throws Exception {
        String topic = makeTopic(prefix, 3);
        send(topic, 1000, "v", Map.of());
        Set<String> expected = new HashSet<>();
        for (int n = 0; n < 1000; n++) expected.add("v" + n);
        same(new HashSet<>(values(read(topic, 1000, Map.of()))), expected);
    }

    void codecs() throws Exception {
        String topic = makeTopic(prefix, 1);
        List<String> expected = new ArrayList<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            send(topic, 100, codec, Map.of("compression.type", codec));
            for (int n = 0; n < 100; n++) expected.add(codec + n);
        }
        same(values(read(topic, 500, Map.of())), expected);
    }

    void acks() throws Exception {
        String topic = makeTopic(prefix, 1);
        for (String acks : List.of("0", "1", "all")) {
            send(topic, 10, acks, Map.of("acks", acks, "enable.idempotence", "false"));
        }
        send(topic, 10, "idempotent", Map.of("enable.idempotence", "true"));
        read(topic, 40, Map.of());
    }

    void shapes() throws Exception {
        String topic = makeTopic(prefix, 1);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (String[] pair : new String[][] {{"key", "value"}, {null, "no key"}, {"no value", null}, {"", ""}, {null, null}}) {
            sent.add(new ProducerRecord<>(topic, bytes(pair[0]), bytes(pair[1])));
        }
        ProducerRecord<byte[], byte[]> withHeaders = new ProducerRecord<>(topic, bytes("h"), new byte[1_000_000]);
        withHeaders.headers().add("a", bytes("1")).add("a", null).add("empty", new byte[0]);
        sent.add(withHeaders);
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (ProducerRecord<byte[], byte[]> record : sent) producer.send(record).get();
        }
        List<ConsumerRecord<byte[], byte[]>> seen = read(topic, sent.size(), Map.of());
        for (int n = 0; n < sent.size(); n++) {
            if (!Arrays.equals(seen.get(n).key(), sent.get(n).key())) throw new AssertionError("key " + n);
            if (!Arrays.equals(seen.get(n).value(), sent.get(n).value())) throw new AssertionError("value " + n);
            List<Header> headers = new ArrayList<>();
            sent.get(n).headers().forEach(headers::add);
            List<Header> got = new ArrayList<>();
            seen.get(n).headers().forEach(got::add);
            same(got, headers);
        }
    }

    void group(Map<String, String> settings) throws Exception {
        String topic = makeTopic(prefix, 4);
        Properties all = new Properties();
        all.putAll(settings);
        all.put("group.id", prefix);
        Map<String, String> member = new java.util.HashMap<>();
        all.forEach((key, value) -> member.put((String) key, (String) value));
        KafkaConsumer<byte[], byte[]> first = consumer(member);
        first.subscribe(List.of(topic));
        until("one member owns all", () -> poll(first) == 4);
        KafkaConsumer<byte[], byte[]> second = consumer(member);
        second.subscribe(List.of(topic));
        until("two members share", () -> poll(first) == 2 & poll(second) == 2);
        Set<TopicPartition> union = new HashSet<>(first.assignment());
        union.addAll(second.assignment());
        same(union.size(), 4);
        first.close();
        until("the one that stays takes over", () -> poll(second) == 4);
        send(topic, 50, "v", Map.of());
        take(second, 50);
        second.close();
        send(topic, 1, "late", Map.of());
        same(values(read(topic, 1, member)), List.of("late0"));
    }

    void newGroupProtocol() throws Exception {
        group(Map.of("group.protocol", "consumer"));
        try (Admin admin = Admin.create(with(Map.of()))) {
            same(admin.describeConsumerGroups(List.of(prefix)).all().get().get(prefix).type(), GroupType.CONSUMER);
        }
    }

    static int poll(KafkaConsumer<byte[], byte[]> consumer) {
        consumer.poll(Duration.ofMillis(100));
        return consumer.assignment().size();
    }

    KafkaShareConsumer<byte[], byte[]> shareConsumer(String topic, Map<String, String> settings) {
        Properties properties = with(Map.of("group.id", prefix));
        properties.putAll(settings);
        KafkaShareConsumer<byte[], byte[]> consumer =
            new KafkaShareConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    /** What is accepted or rejected does not come again; what is released does, with a higher delivery count. */
    void shareGroup() throws Exception {
        String topic = makeTopic(prefix, 2);
        try (Admin admin = Admin.create(with(Map.of()))) {
            ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, prefix);
            AlterConfigOp earliest =
                new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(group, List.of(earliest))).all().get();
            send(topic, 100, "v", Map.of());
            Set<String> done = new TreeSet<>();
            Set<String> again = new TreeSet<>();
            Map<String, String> explicit = Map.of("share.acknowledgement.mode", "explicit");
            try (KafkaShareConsumer<byte[], byte[]> first = shareConsumer(topic, explicit);
                 KafkaShareConsumer<byte[], byte[]> second = shareConsumer(topic, explicit)) {
                until("100 records are accepted or rejected", () -> {
                    settle(first, done, again);
                    settle(second, done, again);
                    return done.size() == 100;
                });
                same(admin.describeShareGroups(List.of(prefix)).all().get().get(prefix).members().size(), 2);
            }
            same(again.size(), 50);
            send(topic, 10, "w", Map.of());
            Set<String> seen = new TreeSet<>();
            try (KafkaShareConsumer<byte[], byte[]> implicit = shareConsumer(topic, Map.of())) {
                until("10 more records", () -> {
                    implicit.poll(Duration.ofMillis(200)).forEach(record -> seen.add(text(record.value())));
                    return seen.size() >= 10;
                });
                implicit.commitSync();
            }
            same(seen.stream().allMatch(value -> value.startsWith("w")), true);
            // The start offset is stored with the next change; the lag counts what is not delivered.
            admin.listShareGroupOffsets(Map.of(prefix, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(prefix).get()
                .values().forEach(offset -> same(offset.lag().orElseThrow(), 0L));
            admin.deleteShareGroups(List.of(prefix)).all().get();
        }
    }

    /** Releases each record with an even number once, rejects those that end in 9, and accepts the others. */
    static void settle(KafkaShareConsumer<byte[], byte[]> consumer, Set<String> done, Set<String> again) {
        consumer.poll(Duration.ofMillis(200)).forEach(record -> {
            String value = text(record.value());
            boolean isSecond = record.deliveryCount().orElseThrow() == 2;
            same(again.contains(value), isSecond);
            if (Integer.parseInt(value.substring(1)) % 2 == 0 && again.add(value)) {
                consumer.acknowledge(record, AcknowledgeType.RELEASE);
                return;
            }
            consumer.acknowledge(record, value.endsWith("9") ? AcknowledgeType.REJECT : AcknowledgeType.ACCEPT);
            if (!done.add(value)) throw new AssertionError(value + " came again");
        });
        consumer.commitSync().values().forEach(error -> same(error.isPresent(), false));
    }

    void staticMember() throws Exception {
        String topic = makeTopic(prefix, 2);
        for (int round = 0; round < 2; round++) {
            try (KafkaConsumer<byte[], byte[]> member = consumer(Map.of("group.id", prefix, "group.instance.id", "one"))) {
                member.subscribe(List.of(topic));
                until("a static member owns both", () -> poll(member) == 2);
            }
        }
    }

    void commitAndSeek() throws Exception {
        String topic = makeTopic(prefix, 1);
        send(topic, 50, "v", Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", prefix, "enable.auto.commit", "false"))) {
            consumer.assign(List.of(partition));
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(17, "half way")));
            OffsetAndMetadata committed = consumer.committed(Set.of(partition)).get(partition);
            same(committed.offset(), 17L);
            same(committed.metadata(), "half way");
            consumer.seek(partition, 45);
            same(values(take(consumer, 5)), List.of("v45", "v46", "v47", "v48", "v49"));
            same(consumer.endOffsets(List.of(partition)).get(partition), 50L);
        }
    }

    void seekByTime() throws Exception {
        String topic = makeTopic(prefix, 1);
        long base = System.currentTimeMillis() - 100_000_000L; // yesterday: the default retention keeps it
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("compression.type", "zstd", "linger.ms", "50"))) {
            for (int n = 0; n < 100; n++) producer.send(new ProducerRecord<>(topic, 0, base + n * 1000L, null, bytes("v" + n)));
        }
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            same(consumer.offsetsForTimes(Map.of(partition, base + 41_500)).get(partition).offset(), 42L);
            if (consumer.offsetsForTimes(Map.of(partition, base + 1_000_000)).get(partition) != null) throw new AssertionError("late");
        }
        try (Admin admin = Admin.create(with(Map.of()))) {
            same(admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).all().get().get(partition).offset(), 99L);
        }
    }

    void pause() throws Exception {
        String topic = makeTopic(prefix, 2);
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (int n = 0; n < 2; n++) producer.send(new ProducerRecord<>(topic, n, null, bytes("p" + n))).get();
        }
        List<TopicPartition> both = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(both);
            consumer.pause(both.subList(1, 2));
            same(values(take(consumer, 1)), List.of("p0"));
            consumer.resume(both.subList(1, 2));
            same(values(take(consumer, 1)), List.of("p1"));
        }
    }

    void admin() throws Exception {
        try (Admin admin = Admin.create(with(Map.of()))) {
            NewTopic wanted = new NewTopic(prefix, 2, (short) 1).configs(Map.of("retention.ms", "1000000"));
            admin.createTopics(List.of(wanted)).all().get();
            try {
                admin.createTopics(List.of(wanted)).all().get();
                throw new AssertionError("created twice");
            } catch (ExecutionException e) {
                same(e.getCause().getClass(), TopicExistsException.class);
            }
            admin.createPartitions(Map.of(prefix, NewPartitions.increaseTo(5))).all().get();
            same(admin.describeTopics(List.of(prefix)).allTopicNames().get().get(prefix).partitions().size(), 5);
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, prefix);
            AlterConfigOp change = new AlterConfigOp(new ConfigEntry("retention.ms", "2000000"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
            until("the new value is described", () -> {
                try {
                    return admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value().equals("2000000");
                } catch (InterruptedException | ExecutionException e) {
                    throw new IllegalStateException(e);
                }
            });
            TopicPartition partition = new TopicPartition(prefix, 0);
            admin.alterConsumerGroupOffsets(prefix, Map.of(partition, new OffsetAndMetadata(1))).all().get();
            same(admin.listConsumerGroupOffsets(prefix).partitionsToOffsetAndMetadata().get().get(partition).offset(), 1L);
            same(admin.describeConsumerGroups(List.of(prefix)).all().get().get(prefix).groupId(), prefix);
            if (admin.listGroups().all().get().stream().noneMatch(group -> group.groupId().equals(prefix))) {
                throw new AssertionError("not listed");
            }
            admin.deleteConsumerGroups(List.of(prefix)).all().get();
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(-1))).all().get();
            same(admin.describeCluster().nodes().get().size(), 1);
            admin.describeFeatures().featureMetadata().get();
            admin.describeMetadataQuorum().quorumInfo().get();
            admin.describeLogDirs(List.of(1)).allDescriptions().get();
            admin.describeProducers(List.of(partition)).all().get();
            admin.describeUserScramCredentials().all().get();
            admin.listConfigResources().all().get();
            admin.listPartitionReassignments().reassignments().get();
            admin.deleteTopics(List.of(prefix)).all().get();
            if (admin.listTopics().names().get().contains(prefix)) throw new AssertionError("still there");
        }
    }

    void adminOfTransactionsAndQuotas() throws Exception {
        try (Admin admin = Admin.create(with(Map.of()))) {
            admin.listTransactions().all().get();
            admin.describeClientQuotas(org.apache.kafka.common.quota.ClientQuotaFilter.all()).entities().get();
        }
    }

    void transactions() throws Exception {
        String topic = makeTopic(prefix, 1);
        KafkaProducer<byte[], byte[]> zombie;
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("transactional.id", prefix))) {
            producer.initTransactions();
            for (int n = 0; n < 6; n++) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(topic, bytes("tx-" + n))).get();
                if (n % 2 == 0) producer.commitTransaction();
                else producer.abortTransaction();
            }
            zombie = producer(Map.of("transactional.id", prefix));
            zombie.initTransactions();
            producer.beginTransaction();
            try {
                producer.send(new ProducerRecord<>(topic, bytes("zombie"))).get();
                producer.commitTransaction();
                throw new AssertionError("a zombie was not fenced");
            } catch (ProducerFencedException | ExecutionException e) {
                // as it should be
            }
        }
        zombie.close();
        same(values(read(topic, 3, Map.of("isolation.level", "read_committed"))), List.of("tx-0", "tx-2", "tx-4"));
    }

    /** Reads from one topic and writes to another in transactions; each third one is aborted and done again. */
    void exactlyOnce() throws Exception {
        String from = makeTopic(prefix + "-from", 2);
        String to = makeTopic(prefix + "-to", 2);
        send(from, 300, "v", Map.of());
        int round = 0;
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("transactional.id", prefix));
             KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", prefix, "enable.auto.commit", "false",
                 "isolation.level", "read_committed", "max.poll.records", "20"))) {
            producer.initTransactions();
            consumer.subscribe(List.of(from));
            int done = 0;
            while (done < 300) {
                List<ConsumerRecord<byte[], byte[]>> batch = new ArrayList<>();
                consumer.poll(Duration.ofMillis(200)).forEach(batch::add);
                if (batch.isEmpty()) continue;
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new java.util.HashMap<>();
                Map<TopicPartition, Long> first = new java.util.HashMap<>();
                for (ConsumerRecord<byte[], byte[]> record : batch) {
                    producer.send(new ProducerRecord<>(to, record.key(), record.value()));
                    TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                    offsets.put(partition, new OffsetAndMetadata(record.offset() + 1));
                    first.putIfAbsent(partition, record.offset());
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (++round % 3 == 0) {
                    producer.abortTransaction();
                    first.forEach(consumer::seek);
                } else {
                    producer.commitTransaction();
                    done += batch.size();
                }
            }
        }
        Collection<String> seen = values(read(to, 300, Map.of("isolation.level", "read_committed")));
        same(new TreeSet<>(seen).size(), 300);
        same(Collections.max(seen.stream().map(value -> Collections.frequency(seen, value)).toList()), 1);
    }
}
