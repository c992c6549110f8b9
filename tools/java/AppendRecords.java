import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.requests.ApiError;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogOffsetsListener;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.RecordValidationException;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Appends what producers send to the official log, one log for each topic, at given times.
 *
 *     java -cp 'LIBS/*' tools/java/AppendRecords.java < appends.jsonl
 *
 * The first line of standard input is a JSON object: the configs of each topic by its name. Each further line has
 * topic, now_ms and sent (hex of a records field); for each a line is printed with code, errors, message and stored
 * (hex of the batch in the log, or null), as a broker answers a Produce request of version 9.
 */
@SuppressWarnings("unchecked")
public class AppendRecords {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final short PRODUCE_VERSION = 9;
    private static final short TRANSACTION_VERSION = 0;

    /** A clock that is set before each append. */
    private static class SetClock implements Time {
        long nowMs;

        public long milliseconds() { return nowMs; }
        public long nanoseconds() { return nowMs * 1_000_000; }
        public void sleep(long ms) { nowMs += ms; }
        public void waitObject(Object object, Supplier<Boolean> condition, long deadlineMs) { throw new UnsupportedOperationException(); }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Map<String, Map<String, String>> topics = JSON.readValue(lines.readLine(), Map.class);
        SetClock clock = new SetClock();
        Path directory = Files.createTempDirectory("append-records");
        Map<String, UnifiedLog> logs = new LinkedHashMap<>();
        try {
            for (String line; (line = lines.readLine()) != null; ) {
                Map<String, Object> append = JSON.readValue(line, Map.class);
                clock.nowMs = ((Number) append.get("now_ms")).longValue();
                String topic = (String) append.get("topic");
                if (!logs.containsKey(topic)) logs.put(topic, open(directory, topic, topics.get(topic), clock));
                byte[] sent = HexFormat.of().parseHex((String) append.get("sent"));
                System.out.println(JSON.writeValueAsString(append(logs.get(topic), sent)));
            }
        } finally {
            try (Stream<Path> files = Files.walk(directory)) {
                files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
            }
        }
    }

    private static UnifiedLog open(Path directory, String topic, Map<String, String> configs, Time clock) throws Exception {
        File folder = directory.resolve(topic + "-0").toFile();
        if (!folder.mkdirs()) throw new IllegalStateException("cannot create " + folder);
        KafkaScheduler scheduler = new KafkaScheduler(1); // not started: nothing runs in the background
        return UnifiedLog.create(
            folder, new LogConfig(configs), 0, 0, scheduler, new BrokerTopicStats(), clock, 300_000,
            new ProducerStateManagerConfig(86_400_000, false), 600_000, new LogDirFailureChannel(1), true, Optional.empty());
    }

    private static Map<String, Object> append(UnifiedLog log, byte[] sent) throws Exception {
        Map<String, Object> answer = new LinkedHashMap<>();
        List<List<Object>> errors = new ArrayList<>();
        long before = log.logEndOffset();
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(sent));
        try {
            Iterator<MutableRecordBatch> batches = records.batches().iterator();
            if (batches.hasNext()) batches.next().isTransactional();
        } catch (Throwable refused) { // a broker reads the first batch for this flag first; this refusal has a message
            ApiError error = ApiError.fromThrowable(refused);
            fill(answer, error.error().code(), errors, error.message());
            answer.put("stored", null);
            return answer;
        }
        try {
            ProduceRequest.validateRecords(PRODUCE_VERSION, records);
            log.appendAsLeader(records, 0, AppendOrigin.CLIENT, RequestLocal.noCaching(), VerificationGuard.SENTINEL, TRANSACTION_VERSION);
            fill(answer, Errors.NONE.code(), errors, null);
        } catch (RecordValidationException refused) {
            refused.recordErrors().forEach(error -> errors.add(List.of(error.batchIndex, error.message)));
            fill(answer, Errors.forException(refused.invalidException()).code(), errors, refused.invalidException().getMessage());
        } catch (Throwable refused) {
            fill(answer, Errors.forException(refused).code(), errors, null);
        }
        answer.put("stored", log.logEndOffset() == before ? null : stored(log, before));
        return answer;
    }

    private static void fill(Map<String, Object> answer, short code, List<List<Object>> errors, String message) {
        answer.put("code", code);
        answer.put("errors", errors);
        answer.put("message", message);
    }

    private static String stored(UnifiedLog log, long offset) throws Exception {
        FileRecords records = (FileRecords) log.read(offset, Integer.MAX_VALUE, FetchIsolation.LOG_END, true).records;
        ByteBuffer buffer = ByteBuffer.allocate(records.sizeInBytes());
        records.readInto(buffer, 0);
        return HexFormat.of().formatHex(buffer.array());
    }
}
