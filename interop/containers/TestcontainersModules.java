import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;
import org.testcontainers.kafka.ConfluentKafkaContainer;
import org.testcontainers.kafka.KafkaContainer;
import org.testcontainers.utility.DockerImageName;

/** The three Kafka classes of Testcontainers on the image args[0]; the first with a fault that a request disturbs. */
public class TestcontainersModules {
    public static void main(String[] args) throws Exception {
        DockerImageName image = DockerImageName.parse(args[0]);
        try (KafkaContainer kafka = new KafkaContainer(image.asCompatibleSubstituteFor("apache/kafka"))
                .withEnv("KWIRE_CONTROL", "0.0.0.0:9644").withEnv("KWIRE_CONTROL_TOKEN", "secret")) {
            kafka.addExposedPort(9644);
            kafka.start();
            String faults = "http://" + kafka.getHost() + ":" + kafka.getMappedPort(9644) + "/v1/faults";
            HttpRequest arm = authorized(faults).header("Content-Type", "application/json").POST(BodyPublishers.ofString(
                "{\"api\": \"Produce\", \"error\": \"NOT_LEADER_OR_FOLLOWER\", \"times\": 2}")).build();
            HttpClient client = HttpClient.newHttpClient();
            int status = client.send(arm, BodyHandlers.ofString()).statusCode();
            System.out.println("apache/kafka " + produce(kafka.getBootstrapServers()) + " armed " + status);
            System.out.println(client.send(authorized(faults).build(), BodyHandlers.ofString()).body());
        }
        DockerImageName confluent = image.asCompatibleSubstituteFor("confluentinc/cp-kafka");
        try (ConfluentKafkaContainer kafka = new ConfluentKafkaContainer(confluent)) {
            kafka.start();
            System.out.println("confluentinc/cp-kafka " + produce(kafka.getBootstrapServers()));
        }
        try (var kafka = new org.testcontainers.containers.KafkaContainer(confluent)) {
            kafka.start();
            System.out.println("with ZooKeeper " + produce(kafka.getBootstrapServers()));
        }
    }

    private static HttpRequest.Builder authorized(String url) {
        return HttpRequest.newBuilder(URI.create(url)).header("Authorization", "Bearer secret");
    }

    /** The offset of the first record of a new topic. */
    private static long produce(String bootstrap) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            return producer.send(new ProducerRecord<>("orders", "1")).get().offset();
        }
    }
}
