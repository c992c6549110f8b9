import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Copies a topic in transactions until it is killed: PROGRAM BOOTSTRAP FROM TO GROUP TRANSACTIONAL_ID.
 *
 * <p>Each value goes over as it is; one transaction in five is aborted and its records read again. Ends with 3 when
 * another copy with the same transactional id has taken over.
 */
public final class TransactionalCopy {
    private final String to;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final KafkaProducer<byte[], byte[]> producer;
    private final Random dice = new Random(5);

    private TransactionalCopy(String bootstrap, String from, String to, String group, String transactionalId) {
        this.to = to;
        Map<String, Object> reading = new HashMap<>();
        reading.put("bootstrap.servers", bootstrap);
        reading.put("group.id", group);
        reading.put("isolation.level", "read_committed");
        reading.put("enable.auto.commit", "false");
        reading.put("auto.offset.reset", "earliest");
        reading.put("max.poll.records", "25");
        // One that was killed is missed soon.
        reading.put("session.timeout.ms", "6000");
        reading.put("heartbeat.interval.ms", "500");
        consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        producer = new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap, "transactional.id", transactionalId),
            new ByteArraySerializer(), new ByteArraySerializer());
        consumer.subscribe(List.of(from));
    }

    public static void main(String[] args) {
        TransactionalCopy copy = new TransactionalCopy(args[0], args[1], args[2], args[3], args[4]);
        copy.producer.initTransactions();
        System.out.println("ready");
        try {
            while (true) copy.some();
        } catch (ProducerFencedException | AuthorizationException e) {
            System.out.println("fenced");
            System.exit(3);
        }
    }

    private void some() {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
        if (records.isEmpty()) return;
        try {
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : records) {
                producer.send(new ProducerRecord<>(to, record.key(), record.value()));
                offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            if (dice.nextInt(5) == 0) {
                producer.flush();
                producer.abortTransaction();
                readAgain();
            } else {
                producer.commitTransaction();
                ConsumerRecord<byte[], byte[]> last = records.iterator().next();
                System.out.println("copied " + records.count() + " from " + new String(last.value(), StandardCharsets.UTF_8));
            }
        } catch (ProducerFencedException | AuthorizationException e) {
            throw e;
        } catch (KafkaException e) {
            System.out.println("aborts after " + e);
            producer.abortTransaction();
            readAgain();
        }
    }

    private void readAgain() {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata at = committed.get(partition);
            if (at == null) consumer.seekToBeginning(List.of(partition));
            else consumer.seek(partition, at);
        }
    }
}
