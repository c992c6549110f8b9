// A JUnit 5 test that starts a broker in a process of its own and controls it over HTTP.
//
//   pip install 'kwire[control]'
//
// On the test class path: org.junit.jupiter:junit-jupiter and org.apache.kafka:kafka-clients.
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class OrdersTest {
    static Process kwire;
    static String servers;
    static String control;

    @BeforeAll
    static void start() throws Exception {
        String command = System.getenv().getOrDefault("KWIRE", "kwire");
        kwire = new ProcessBuilder(command, "serve", "--memory", "--topic", "orders", "--port", "0", "--control", "0")
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        BufferedReader lines = kwire.inputReader();
        servers = lines.readLine().replace("ready PLAINTEXT://", "");
        control = lines.readLine().replace("control ", "");
    }

    @AfterAll
    static void stop() throws Exception {
        kwire.destroy();
        kwire.waitFor();
    }

    @BeforeEach
    void reset() throws Exception {
        assertEquals(204, ask("POST", "/v1/reset", "{}").statusCode());
    }

    @Test
    void anOrderSurvivesTwoLeaderChanges() throws Exception {
        ask("POST", "/v1/faults", """
                {"name": "moved", "api": "Produce", "topic": "orders", "error": "NOT_LEADER_OR_FOLLOWER", "times": 2}""");
        Map<String, Object> settings = Map.of("bootstrap.servers", servers);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>("orders", "one")).get();
        }
        assertTrue(ask("DELETE", "/v1/faults/moved", "{}").body().contains("\"fired\":2"));
        assertEquals(200, ask("POST", "/v1/wait", "{\"topic\": \"orders\", \"records\": 1}").statusCode());
    }

    static HttpResponse<String> ask(String method, String path, String body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(control + path))
                .header("Content-Type", "application/json")
                .method(method, HttpRequest.BodyPublishers.ofString(body)).build();
        return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    }
}
