import java.time.Duration;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import reactor.core.publisher.Flux;
import reactor.kafka.receiver.KafkaReceiver;
import reactor.kafka.receiver.ReceiverOptions;
import reactor.kafka.sender.KafkaSender;
import reactor.kafka.sender.SenderOptions;
import reactor.kafka.sender.SenderRecord;
import reactor.util.retry.Retry;

/** Copies a topic, exactly once with a transaction for each poll, or at least once with commits after the send. */
public class ReactorCopy {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], name = args[1], source = args[2], sink = args[3];
        boolean exactly = args[4].equals("exactly-once");
        var receiving = ReceiverOptions.<String, String>create(Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
            ConsumerConfig.GROUP_ID_CONFIG, name,
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
            ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6000,
            ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 500,
            ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class,
            ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class))
            .commitInterval(Duration.ofMillis(300))
            .subscription(java.util.List.of(source));
        Map<String, Object> sending = new java.util.HashMap<>(Map.of(
            ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
            ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, StringSerializer.class,
            ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, StringSerializer.class));
        if (exactly) sending.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, name + "-copy");
        Flux<?> work = Flux.defer(() -> {
            var sender = KafkaSender.create(SenderOptions.<String, String>create(sending));
            var copied = exactly ? exactlyOnce(receiving, sender, sink) : atLeastOnce(receiving, sender, sink);
            return copied.doFinally(signal -> sender.close());
        });
        System.out.println("running");
        work.retryWhen(Retry.fixedDelay(100, Duration.ofMillis(500))
                .doBeforeRetry(signal -> signal.failure().printStackTrace()))
            .blockLast();
    }

    static Flux<?> exactlyOnce(ReceiverOptions<String, String> receiving, KafkaSender<String, String> sender, String sink) {
        return KafkaReceiver.create(receiving).receiveExactlyOnce(sender.transactionManager())
            .concatMap(batch -> sender.send(batch.map(record ->
                    SenderRecord.create(new ProducerRecord<>(sink, record.key(), record.value()), record.offset())))
                .concatWith(sender.transactionManager().commit())
                .onErrorResume(error -> sender.transactionManager().abort().then(reactor.core.publisher.Mono.error(error))));
    }

    static Flux<?> atLeastOnce(ReceiverOptions<String, String> receiving, KafkaSender<String, String> sender, String sink) {
        return sender.send(KafkaReceiver.create(receiving).receive().map(record ->
                SenderRecord.create(new ProducerRecord<>(sink, record.key(), record.value()), record.receiverOffset())))
            .doOnNext(result -> result.correlationMetadata().acknowledge());
    }
}
