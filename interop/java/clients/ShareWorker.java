import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member of a share group that prints what `interop/clients/share_worker.py` prints, and has its arguments. */
public final class ShareWorker {
    private final KafkaShareConsumer<byte[], byte[]> consumer;
    private final Random dice;

    private ShareWorker(String bootstrap, String topic, String group, long seed) {
        dice = new Random(seed);
        consumer = new KafkaShareConsumer<>(
            Map.of("bootstrap.servers", bootstrap, "group.id", group, "share.acknowledgement.mode", "explicit"),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(topic));
    }

    public static void main(String[] args) throws InterruptedException {
        ShareWorker worker = new ShareWorker(args[0], args[1], args[2], Long.parseLong(args[3]));
        say("ready");
        while (true) worker.some();
    }

    private void some() throws InterruptedException {
        List<ConsumerRecord<byte[], byte[]>> records = new java.util.ArrayList<>();
        consumer.poll(Duration.ofMillis(500)).forEach(records::add);
        if (records.isEmpty()) return;
        for (ConsumerRecord<byte[], byte[]> one : records)
            say("got", one.partition(), one.offset(), one.deliveryCount().orElse((short) 0),
                new String(one.value(), StandardCharsets.UTF_8));
        Thread.sleep(dice.nextInt(50));
        Map<ConsumerRecord<byte[], byte[]>, AcknowledgeType> types = new LinkedHashMap<>();
        for (ConsumerRecord<byte[], byte[]> one : records) {
            AcknowledgeType type = dice.nextInt(10) < 8 ? AcknowledgeType.ACCEPT : AcknowledgeType.RELEASE;
            types.put(one, type);
            say("ack", one.partition(), one.offset(), type.name());
            consumer.acknowledge(one, type);
        }
        Map<Integer, String> refused = new LinkedHashMap<>();
        for (Map.Entry<TopicIdPartition, Optional<KafkaException>> each :
            consumer.commitSync(Duration.ofSeconds(20)).entrySet())
            each.getValue().ifPresent(
                error -> refused.put(each.getKey().partition(), error.getClass().getSimpleName()));
        types.forEach((one, type) -> {
            String error = refused.get(one.partition());
            if (error == null) say("done", one.partition(), one.offset(), type.name());
            else say("failed", one.partition(), one.offset(), error);
        });
    }

    private static void say(String word, Object... values) {
        StringBuilder line = new StringBuilder(word).append(' ').append(System.nanoTime());
        for (Object value : values) line.append(' ').append(value);
        System.out.println(line);
    }
}
