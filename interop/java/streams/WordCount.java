import java.io.PrintStream;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.ArrayList;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * The word count of every Kafka Streams tutorial, with a repartition topic and a store that has a changelog.
 *
 * run BOOTSTRAP APPLICATION INPUT OUTPUT GUARANTEE STATE_DIR [SETTING=VALUE ...]
 *                                                               until SIGTERM; each change of a count is a record
 * feed BOOTSTRAP TOPIC FIRST COUNT PER_SECOND                   line n of a text that the caller can compute, too
 * read BOOTSTRAP TOPIC TOTAL PATIENCE_S                         read_committed: "word count" lines, until the last counts
 *                                                               make the total and the end is reached, or no new ones
 *                                                               have come for so long
 */
public final class WordCount {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "run" -> run(args[1], args[2], args[3], args[4], args[5], args[6], Arrays.asList(args).subList(7, args.length));
            case "feed" -> feed(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]), Integer.parseInt(args[5]));
            case "read" -> read(args[1], args[2], Long.parseLong(args[3]), Integer.parseInt(args[4]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    static void run(String bootstrap, String application, String input, String output, String guarantee, String stateDir,
            List<String> more) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, stateDir);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        // The group of a process that was killed goes on without it after that.
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6000);
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 500);
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, 500);
        // The changelog is rolled and cleaned while the application runs.
        settings.put(StreamsConfig.topicPrefix("segment.ms"), "1000");
        settings.put(StreamsConfig.topicPrefix("min.cleanable.dirty.ratio"), "0.01");
        for (String setting : more) settings.put(setting.split("=", 2)[0], setting.split("=", 2)[1]);

        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(input, Consumed.with(Serdes.String(), Serdes.String()))
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
                .count(Materialized.as("counts"))
                .toStream()
                .to(output, Produced.with(Serdes.String(), Serdes.Long()));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        PrintStream out = System.out;
        streams.setStateListener((now, before) -> out.println("state " + now));
        streams.setUncaughtExceptionHandler(failure -> {
            out.println("uncaught " + failure);
            failure.printStackTrace(out);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            boolean inTime = streams.close(Duration.ofSeconds(30));
            out.println(inTime ? "closed" : "not closed in time");
            closed.countDown();
        }));
        streams.start();
        closed.await();
    }

    static String line(int n) {
        return "w" + n % 7 + " v" + n * 5 % 11 + " u" + n / 3 % 13 + " w" + n * 3 % 7;
    }

    static void feed(String bootstrap, String topic, int first, int count, int perSecond) throws Exception {
        Properties settings = new Properties();
        settings.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(ProducerConfig.LINGER_MS_CONFIG, 5);
        // Just after a restart Apache Kafka may refuse a producer's first batch (not the leader yet) and take its second,
        // after which the first is out of sequence for good.
        settings.put(ProducerConfig.MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION, 1);
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            long started = System.nanoTime();
            for (int n = first; n < first + count; n++) {
                sent.add(producer.send(new ProducerRecord<>(topic, n % 2, null, line(n))));
                long dueMs = (n - first) * 1000L / perSecond - (System.nanoTime() - started) / 1_000_000;
                if (dueMs > 0) Thread.sleep(dueMs);
            }
            for (Future<RecordMetadata> one : sent) one.get();
        }
        System.out.println("fed " + count);
    }

    static void read(String bootstrap, String topic, long total, int patienceS) {
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        try (KafkaConsumer<String, Long> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(partition -> new TopicPartition(topic, partition.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<String, Long> last = new HashMap<>();
            StringBuilder seen = new StringBuilder();
            long lastCame = System.nanoTime();
            while (System.nanoTime() - lastCame < patienceS * 1_000_000_000L) {
                for (ConsumerRecord<String, Long> record : consumer.poll(Duration.ofMillis(200))) {
                    lastCame = System.nanoTime();
                    last.put(record.key(), record.value());
                    seen.append(record.key()).append(' ').append(record.value()).append('\n');
                }
                long counted = last.values().stream().mapToLong(Long::longValue).sum();
                if (counted >= total && atTheEnd(consumer, partitions)) break;
            }
            System.out.print(seen);
        }
    }

    static boolean atTheEnd(KafkaConsumer<String, Long> consumer, List<TopicPartition> partitions) {
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        return partitions.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
    }
}
