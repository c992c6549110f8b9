import io.smallrye.mutiny.Uni;
import io.smallrye.reactive.messaging.kafka.KafkaRecord;
import io.smallrye.reactive.messaging.kafka.KafkaRecordBatch;
import io.smallrye.reactive.messaging.kafka.transactions.KafkaTransactions;
import io.smallrye.reactive.messaging.kafka.Record;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.inject.se.SeContainerInitializer;
import jakarta.inject.Inject;
import org.eclipse.microprofile.reactive.messaging.Channel;
import org.eclipse.microprofile.reactive.messaging.Incoming;
import org.eclipse.microprofile.reactive.messaging.Outgoing;

/** Copies a topic through channels: at least once with a throttled commit, or exactly once with a transaction a batch. */
public class SmallRyeCopy {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], name = args[1], source = args[2], sink = args[3];
        boolean exactly = args[4].equals("exactly-once");
        incoming("bootstrap.servers", bootstrap);
        incoming("connector", "smallrye-kafka");
        incoming("topic", source);
        incoming("group.id", name);
        incoming("auto.offset.reset", "earliest");
        incoming("session.timeout.ms", "6000");
        incoming("heartbeat.interval.ms", "500");
        incoming("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        incoming("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        if (exactly) {
            incoming("batch", "true");
            incoming("commit-strategy", "ignore");
            incoming("failure-strategy", "ignore");
            outgoing("transactional.id", name + "-copy");
            outgoing("acks", "all");
        }
        outgoing("bootstrap.servers", bootstrap);
        outgoing("connector", "smallrye-kafka");
        outgoing("topic", sink);
        outgoing("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        outgoing("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        var container = SeContainerInitializer.newInstance().addBeanClasses(exactly ? ExactlyOnce.class : AtLeastOnce.class)
            .initialize();
        Runtime.getRuntime().addShutdownHook(new Thread(container::close));
        Thread.currentThread().join();
    }

    static void incoming(String key, String value) {
        System.setProperty("mp.messaging.incoming.in." + key, value);
    }

    static void outgoing(String key, String value) {
        System.setProperty("mp.messaging.outgoing.out." + key, value);
    }

    @ApplicationScoped
    public static class AtLeastOnce {
        @Incoming("in")
        @Outgoing("out")
        public Record<String, String> copy(Record<String, String> record) {
            return record;
        }
    }

    @ApplicationScoped
    public static class ExactlyOnce {
        @Inject
        @Channel("out")
        KafkaTransactions<String> transactions;

        @Incoming("in")
        public Uni<Void> copy(KafkaRecordBatch<String, String> batch) {
            return transactions.withTransactionAndAck(batch, emitter -> {
                for (KafkaRecord<String, String> record : batch) {
                    emitter.send(KafkaRecord.of(record.getKey(), record.getPayload()));
                }
                return Uni.createFrom().voidItem();
            });
        }
    }
}
