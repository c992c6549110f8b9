import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Stream;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import org.apache.kafka.common.utils.internals.Exit;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.metadata.storage.Formatter;
import org.apache.kafka.server.common.Feature;
import org.apache.kafka.server.common.MetadataVersion;

/**
 * Prints which broker settings the official release accepts.
 *
 *     java -cp 'LIBS/*' tools/java/CheckSettings.java [start] < settings.jsonl
 *
 * Each line of standard input is a JSON object: all properties of one broker. Each line of standard output is a JSON
 * string, the reason of a refusal, or null. The checks are those of KafkaConfig; with "start" a server with these
 * settings is also started on a formatted directory and stopped, which takes a second each.
 */
public class CheckSettings {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        boolean start = args.length > 0 && args[0].equals("start");
        PrintStream out = System.out;
        System.setOut(System.err); // what the official classes print stays out of the answers
        Exit.setExitProcedure(CheckSettings::noExit);
        Exit.setHaltProcedure(CheckSettings::noExit);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            Properties properties = new Properties();
            properties.putAll(JSON.readValue(line, Map.class));
            out.println(JSON.writeValueAsString(refusal(properties, start)));
            out.flush();
        }
        Runtime.getRuntime().halt(0); // threads of a server that did not start may still run
    }

    private static void noExit(int status, String message) {
        throw new IllegalStateException("the server ends the process: " + message);
    }

    private static String refusal(Properties properties, boolean start) throws Exception {
        try {
            KafkaConfig config = KafkaConfig.fromProps(properties, false);
            if (start) {
                startAndStop(properties);
            }
            return null;
        } catch (Throwable refused) {
            Throwable cause = refused;
            while (cause.getCause() != null && cause.getCause() != cause) cause = cause.getCause();
            String message = cause.getMessage() == null ? cause.toString() : cause.getMessage();
            return cause.getClass().getSimpleName() + ": " + message;
        }
    }

    private static void startAndStop(Properties given) throws Exception {
        Path directory = Files.createTempDirectory("check-settings");
        try {
            int port = freePort();
            Properties properties = new Properties();
            properties.putAll(given);
            properties.setProperty("log.dirs", directory.toString());
            properties.setProperty("listeners", "PLAINTEXT://localhost:" + freePort() + ",CONTROLLER://localhost:" + port);
            properties.setProperty("controller.quorum.voters", given.getProperty("node.id") + "@localhost:" + port);
            KafkaConfig config = KafkaConfig.fromProps(properties, false);
            Formatter formatter = new Formatter();
            formatter.setPrintStream(new PrintStream(PrintStream.nullOutputStream())).setNodeId(config.nodeId()).setClusterId("AAAAAAAAAAAAAAAAAAAAAQ");
            formatter.setControllerListenerName("CONTROLLER").addDirectory(directory.toString());
            formatter.setMetadataLogDirectory(directory.toString()).setUnstableFeatureVersionsEnabled(false);
            formatter.setSupportedFeatures(Feature.PRODUCTION_FEATURES).setReleaseVersion(MetadataVersion.latestProduction());
            formatter.run();
            KafkaRaftServer server = new KafkaRaftServer(config, Time.SYSTEM);
            try {
                server.startup();
            } finally {
                server.shutdown();
            }
        } finally {
            try (Stream<Path> files = Files.walk(directory)) {
                files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
            }
        }
    }

    private static int freePort() throws Exception {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }
}
