import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;

/** The share group of ``ReleasedClient``, for clients that have share groups. */
public final class ReleasedShare {
    public static Object read(String bootstrap, String prefix) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, prefix + "-s");
        AlterConfigOp earliest =
            new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
        String configured = "configured";
        try (Admin admin = Admin.create(properties)) {
            admin.incrementalAlterConfigs(Map.of(group, List.of(earliest))).all().get();
        } catch (Exception refused) {
            configured = ReleasedClient.named(refused);
        }
        properties.put("group.id", prefix + "-s");
        List<String> values = new ArrayList<>();
        try (KafkaShareConsumer<String, String> consumer =
                new KafkaShareConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(prefix + "-orders"));
            long deadline = System.currentTimeMillis() + 60_000;
            while (values.size() < 5 && System.currentTimeMillis() < deadline) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) values.add(record.value());
            }
            consumer.commitSync();
        } catch (Exception refused) {
            return configured + ", " + ReleasedClient.named(refused);
        }
        Collections.sort(values);
        return configured + ", " + values;
    }
}
