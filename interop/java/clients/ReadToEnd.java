import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints what a topic holds, however long that takes: BOOTSTRAP TOPIC ISOLATION keys|values.
 *
 * <p>The end is where a reader of that isolation level was told that it is when the program began.
 */
public final class ReadToEnd {
    public static void main(String[] args) {
        Map<String, Object> settings = Map.of("bootstrap.servers", args[0], "isolation.level", args[2]);
        boolean keys = args[3].equals("keys");
        StringBuilder seen = new StringBuilder();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(args[1]).stream()
                .map(partition -> new TopicPartition(args[1], partition.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    byte[] part = keys ? record.key() : record.value();
                    seen.append(part == null ? "null" : new String(part, StandardCharsets.UTF_8)).append('\n');
                }
            }
        }
        System.out.print(seen);
    }
}
