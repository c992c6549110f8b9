import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A producer and a consumer of a group with default settings, as in clients/ride_through.py: PROGRAM BOOTSTRAP TOPIC GROUP.
 *
 * <p>Sends numbers until standard input ends, reads until every acknowledged number has come (at most 90 s more), and
 * prints one line of JSON. RIDE_SETTINGS names a file of more settings.
 */
public final class RideThrough {
    private static final long READ_ON_NS = 90_000_000_000L;

    private final Set<Integer> acknowledged = ConcurrentHashMap.newKeySet();
    private final ConcurrentLinkedQueue<String> errors = new ConcurrentLinkedQueue<>();
    private volatile boolean ending;
    private volatile long sentAllNs;
    private int sent;

    public static void main(String[] args) throws Exception {
        new RideThrough().run(args[0], args[1], args[2]);
    }

    private void run(String bootstrap, String topic, String group) throws Exception {
        List<Integer> read = new ArrayList<>();
        Thread sender = new Thread(() -> send(bootstrap, topic));
        Thread reader = new Thread(() -> read(bootstrap, topic, group, read));
        sender.start();
        reader.start();
        while (System.in.read() >= 0) {}
        ending = true;
        sender.join();
        sentAllNs = System.nanoTime();
        reader.join();
        Set<Integer> once = new TreeSet<>(read);
        List<Integer> missing = acknowledged.stream().filter(number -> !once.contains(number)).sorted().limit(20).toList();
        List<String> first = errors.stream().limit(5)
            .map(text -> '"' + text.replace("\\", "/").replace('"', '\'').replace('\n', ' ') + '"').toList();
        System.out.printf(
            "{\"sent\": %d, \"acknowledged\": %d, \"read\": %d, \"read_twice\": %d, \"missing\": %s, \"errors\": %s}%n",
            sent, acknowledged.size(), read.size(), read.size() - once.size(), missing, first);
    }

    private static Map<String, Object> settings(String bootstrap) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        String path = System.getenv("RIDE_SETTINGS");
        if (path != null) {
            Properties more = new Properties();
            try (InputStream file = Files.newInputStream(Path.of(path))) {
                more.load(file);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            more.forEach((key, value) -> settings.put(key.toString(), value));
        }
        return settings;
    }

    private void send(String bootstrap, String topic) {
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings(bootstrap), new StringSerializer(), new StringSerializer())) {
            while (!ending) {
                int number = sent++;
                producer.send(new ProducerRecord<>(topic, Integer.toString(number)), (metadata, error) -> {
                    if (error == null) acknowledged.add(number);
                    else errors.add(error.toString());
                });
                Thread.sleep(10);
            }
        } catch (Exception error) {
            errors.add(error.toString());
        }
    }

    private void read(String bootstrap, String topic, String group, List<Integer> read) {
        Set<Integer> missing = new TreeSet<>();
        Map<String, Object> settings = settings(bootstrap);
        settings.put("group.id", group);
        settings.put("auto.offset.reset", "earliest");
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (true) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200)))
                    read.add(Integer.valueOf(record.value()));
                if (sentAllNs == 0) continue;
                missing.addAll(acknowledged);
                missing.removeAll(new TreeSet<>(read));
                if (missing.isEmpty() || System.nanoTime() > sentAllNs + READ_ON_NS) return;
                missing.clear();
            }
        } catch (Exception error) {
            errors.add(error.toString());
        }
    }
}
