import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** Counts the records of each key, in a local cluster with checkpoints; each start continues from the last one. */
public class FlinkCount {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], name = args[1], source = args[2], sink = args[3];
        Path checkpoints = Path.of(args[4], "checkpoints");
        var guarantee = DeliveryGuarantee.valueOf(args[5]);
        var naming = TransactionNamingStrategy.valueOf(args[6]);

        var settings = new Configuration();
        settings.setString("execution.checkpointing.interval", "500 ms");
        settings.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
        settings.setString("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
        settings.setString("execution.checkpointing.dir", checkpoints.toUri().toString());
        settings.setString("restart-strategy.type", "fixed-delay");
        settings.setString("restart-strategy.fixed-delay.attempts", "100");
        settings.setString("restart-strategy.fixed-delay.delay", "500 ms");
        settings.setString("taskmanager.memory.network.max", "64 mb");
        settings.setString("taskmanager.memory.managed.size", "32 mb");
        Path last = newest(checkpoints);
        if (last != null) settings.setString("execution.state-recovery.path", last.toUri().toString());

        var environment = StreamExecutionEnvironment.createLocalEnvironment(2, settings);
        var from = KafkaSource.<Tuple2<String, String>>builder()
            .setBootstrapServers(bootstrap)
            .setGroupId(name)
            .setTopics(source)
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setProperty("partition.discovery.interval.ms", "1000")
            .setDeserializer(new Pairs())
            .build();
        var to = KafkaSink.<Tuple2<String, Long>>builder()
            .setBootstrapServers(bootstrap)
            .setDeliveryGuarantee(guarantee)
            .setTransactionalIdPrefix(name)
            .setTransactionNamingStrategy(naming)
            .setProperty("transaction.timeout.ms", "600000")
            .setRecordSerializer(KafkaRecordSerializationSchema.<Tuple2<String, Long>>builder()
                .setTopic(sink)
                .setKeySerializationSchema(new Key())
                .setValueSerializationSchema(new Value())
                .build())
            .build();
        environment.fromSource(from, WatermarkStrategy.noWatermarks(), "source").uid("source")
            .keyBy(pair -> pair.f0)
            .map(new Count()).uid("count")
            .sinkTo(to).uid("sink");
        System.out.println(last == null ? "starts" : "continues");
        environment.execute(name);
    }

    /** The newest complete checkpoint, or null. */
    static Path newest(Path checkpoints) throws Exception {
        if (!Files.exists(checkpoints)) return null;
        try (var files = Files.walk(checkpoints)) {
            return files.filter(file -> file.endsWith("_metadata"))
                .max(Comparator.comparingLong(file -> file.toFile().lastModified()))
                .map(Path::getParent).orElse(null);
        }
    }

    static class Pairs implements KafkaRecordDeserializationSchema<Tuple2<String, String>> {
        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Tuple2<String, String>> out) {
            out.collect(Tuple2.of(text(record.key()), text(record.value())));
        }

        private static String text(byte[] raw) {
            return new String(raw, StandardCharsets.UTF_8);
        }

        @Override
        public TypeInformation<Tuple2<String, String>> getProducedType() {
            return Types.TUPLE(Types.STRING, Types.STRING);
        }
    }

    static class Key implements SerializationSchema<Tuple2<String, Long>> {
        @Override
        public byte[] serialize(Tuple2<String, Long> pair) {
            return pair.f0.getBytes(StandardCharsets.UTF_8);
        }
    }

    static class Value implements SerializationSchema<Tuple2<String, Long>> {
        @Override
        public byte[] serialize(Tuple2<String, Long> pair) {
            return pair.f1.toString().getBytes(StandardCharsets.UTF_8);
        }
    }

    static class Count extends RichMapFunction<Tuple2<String, String>, Tuple2<String, Long>> {
        private transient ValueState<Long> count;

        @Override
        public void open(OpenContext context) {
            count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
        }

        @Override
        public Tuple2<String, Long> map(Tuple2<String, String> pair) throws Exception {
            long next = count.value() == null ? 1 : count.value() + 1;
            count.update(next);
            return Tuple2.of(pair.f0, next);
        }
    }
}
