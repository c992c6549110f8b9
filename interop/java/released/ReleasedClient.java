import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.FeatureMetadata;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What a client of any release since 2.8 does with a broker of any: PROGRAM BOOTSTRAP PREFIX [consumer] [share].
 *
 * Each step prints a line with what it saw, or the name of the exception: two brokers of one release give the same
 * lines. "consumer": the client knows the group protocol of KIP-848; "share": share groups.
 */
public final class ReleasedClient {
    interface Step {
        Object run() throws Exception;
    }

    final String bootstrap;
    final String topic;
    final String prefix;

    ReleasedClient(String bootstrap, String prefix) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.topic = prefix + "-orders";
    }

    public static void main(String[] args) throws Exception {
        ReleasedClient client = new ReleasedClient(args[0], args[1]);
        List<String> known = Arrays.asList(args).subList(2, args.length);
        show("topic", client::makeTopic);
        show("configs", client::configs);
        show("codecs", client::codecs);
        show("group", () -> client.group("g", Map.of()));
        show("described", () -> client.described("g"));
        show("cooperative", () -> client.group("c", Map.of("partition.assignment.strategy",
            "org.apache.kafka.clients.consumer.CooperativeStickyAssignor")));
        show("transactions", client::transactions);
        if (known.contains("consumer")) {
            show("consumer protocol", () -> client.group("n", Map.of("group.protocol", "consumer")));
        }
        if (known.contains("share")) {
            show("share group", () -> Class.forName("ReleasedShare").getMethod("read", String.class, String.class)
                .invoke(null, args[0], args[1]));
        }
        show("admin", client::admin);
        show("features", client::features);
        show("deleted", client::delete);
    }

    static void show(String name, Step step) {
        Object seen;
        try {
            seen = step.run();
        } catch (Throwable thrown) {
            seen = named(thrown);
        }
        System.out.println(name + ": " + seen);
    }

    static String named(Throwable thrown) {
        Throwable cause = thrown;
        while ((cause instanceof ExecutionException || cause instanceof java.lang.reflect.InvocationTargetException)
            && cause.getCause() != null) cause = cause.getCause();
        // Of what is no answer of a broker, also what it says.
        String name = cause.getClass().getSimpleName();
        return cause instanceof ApiException ? name : cause.toString();
    }

    Properties with(Map<String, String> settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.putAll(settings);
        return properties;
    }

    Admin admin(Map<String, String> settings) {
        return Admin.create(with(settings));
    }

    KafkaProducer<String, String> producer(Map<String, String> settings) {
        return new KafkaProducer<>(with(settings), new StringSerializer(), new StringSerializer());
    }

    KafkaConsumer<String, String> consumer(Map<String, String> settings) {
        Properties properties = with(Map.of("auto.offset.reset", "earliest", "isolation.level", "read_committed"));
        properties.putAll(settings);
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    Object makeTopic() throws Exception {
        try (Admin admin = admin(Map.of())) {
            NewTopic wish = new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "86400000"));
            admin.createTopics(List.of(wish)).all().get();
            try {
                admin.createTopics(List.of(wish)).all().get();
                return "created twice";
            } catch (ExecutionException refused) {
                return named(refused) + ", listed " + admin.listTopics().names().get().contains(topic);
            }
        }
    }

    Object configs() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin(Map.of())) {
            TreeMap<String, String> seen = new TreeMap<>();
            for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
                seen.put(entry.name(), entry.value() + " (" + entry.source() + ")");
            }
            return seen;
        }
    }

    Object codecs() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> producer = producer(Map.of(
                    "compression.type", codec, "enable.idempotence", "true", "acks", "all"))) {
                producer.send(new ProducerRecord<>(topic, 0, codec, codec)).get();
            }
        }
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> consumer = consumer(Map.of())) {
            consumer.assign(List.of(partition));
            List<String> values = take(consumer, 5);
            long first = consumer.offsetsForTimes(Map.of(partition, 1L)).get(partition).offset();
            return values + " from " + first + " to " + consumer.endOffsets(List.of(partition)).get(partition);
        }
    }

    static List<String> take(KafkaConsumer<String, String> consumer, int count) {
        List<String> values = new ArrayList<>();
        long deadline = System.currentTimeMillis() + 60_000;
        while (values.size() < count && System.currentTimeMillis() < deadline) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) values.add(record.value());
        }
        return values;
    }

    Object group(String name, Map<String, String> settings) throws Exception {
        Map<String, String> all = new TreeMap<>(settings);
        all.put("group.id", prefix + "-" + name);
        try (KafkaConsumer<String, String> consumer = consumer(all)) {
            consumer.subscribe(List.of(topic));
            List<String> values = take(consumer, 5);
            consumer.commitSync();
            return values + ", assigned " + consumer.assignment().size() + ", committed " + committed(name);
        }
    }

    Object committed(String name) throws Exception {
        try (Admin admin = admin(Map.of())) {
            TreeMap<String, Long> seen = new TreeMap<>();
            Map<TopicPartition, OffsetAndMetadata> offsets =
                admin.listConsumerGroupOffsets(prefix + "-" + name).partitionsToOffsetAndMetadata().get();
            offsets.forEach((partition, offset) -> seen.put(partition.toString(), offset.offset()));
            return seen;
        }
    }

    Object described(String name) throws Exception {
        String group = prefix + "-" + name;
        try (Admin admin = admin(Map.of())) {
            ConsumerGroupDescription seen = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            boolean isListed = admin.listConsumerGroups().all().get().stream().anyMatch(one -> one.groupId().equals(group));
            return seen.state() + ", members " + seen.members().size() + ", assignor '" + seen.partitionAssignor()
                + "', listed " + isListed;
        }
    }

    Object transactions() throws Exception {
        String copied = topic + "-copied";
        try (Admin admin = admin(Map.of())) {
            admin.createTopics(List.of(new NewTopic(copied, 1, (short) 1))).all().get();
        }
        try (KafkaProducer<String, String> producer = producer(Map.of("transactional.id", prefix + "-t"));
                KafkaConsumer<String, String> reader = consumer(Map.of("group.id", prefix + "-e", "enable.auto.commit", "false"))) {
            producer.initTransactions();
            reader.subscribe(List.of(topic));
            List<String> values = take(reader, 5);
            producer.beginTransaction();
            for (String value : values) producer.send(new ProducerRecord<>(copied, value));
            producer.sendOffsetsToTransaction(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(5)), reader.groupMetadata());
            producer.commitTransaction();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(copied, "aborted")).get();
            producer.abortTransaction();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(copied, "last"));
            producer.commitTransaction();
        }
        try (KafkaConsumer<String, String> consumer = consumer(Map.of())) {
            consumer.assign(List.of(new TopicPartition(copied, 0)));
            return take(consumer, 6) + ", committed " + committed("e");
        }
    }

    Object admin() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        TopicPartition partition = new TopicPartition(topic, 0);
        List<Object> seen = new ArrayList<>();
        try (Admin admin = admin(Map.of())) {
            seen.add(admin.describeCluster().nodes().get().size());
            AlterConfigOp small = new AlterConfigOp(new ConfigEntry("segment.bytes", "1000"), AlterConfigOp.OpType.SET);
            try {
                admin.incrementalAlterConfigs(Map.of(resource, List.of(small))).all().get();
                seen.add("small segments");
            } catch (ExecutionException refused) {
                seen.add(named(refused));
            }
            seen.add(admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all().get().get(partition).offset());
            seen.add(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(2))).all().get());
            seen.add(admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).all().get().get(partition).offset());
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
            admin.deleteConsumerGroups(List.of(prefix + "-g")).all().get();
            try {
                admin.deleteConsumerGroups(List.of(prefix + "-g")).all().get();
            } catch (ExecutionException refused) {
                seen.add(named(refused));
            }
        }
        return seen;
    }

    Object features() throws Exception {
        try (Admin admin = admin(Map.of())) {
            FeatureMetadata seen = admin.describeFeatures().featureMetadata().get();
            return new TreeSet<>(seen.finalizedFeatures().keySet()) + " of " + new TreeSet<>(seen.supportedFeatures().keySet());
        }
    }

    Object delete() throws Exception {
        try (Admin admin = admin(Map.of())) {
            admin.deleteTopics(List.of(topic, topic + "-copied")).all().get();
            return "topics";
        }
    }
}
