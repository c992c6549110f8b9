import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.lang.reflect.RecordComponent;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.LogCleanerManager;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Cleans logs with the official Cleaner, one round for each.
 *
 *     java -cp 'LIBS/*' tools/java/CleanLogs.java < logs.jsonl
 *
 * Each line of standard input is a JSON object: configs (of the topic), now_ms, cleaned_offset (up to where the log was
 * cleaned before, or null) and before (hex of each file by its name). For each a line is printed: official (first dirty
 * offset, first uncleanable offset, clean bytes, cleanable bytes, and the offset up to which the round cleaned) and
 * after (hex of each file).
 */
@SuppressWarnings("unchecked")
public class CleanLogs {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** A clock with a constant time. */
    private record FixedClock(long nowMs) implements Time {
        public long milliseconds() { return nowMs; }
        public long nanoseconds() { return nowMs * 1_000_000; }
        public void sleep(long ms) { }
        public void waitObject(Object object, Supplier<Boolean> condition, long deadlineMs) { throw new UnsupportedOperationException(); }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            Path directory = Files.createTempDirectory("clean-logs");
            try {
                System.out.println(JSON.writeValueAsString(clean(directory.resolve("kv-0"), JSON.readValue(line, Map.class))));
            } finally {
                try (Stream<Path> files = Files.walk(directory)) {
                    files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
                }
            }
        }
    }

    private static Map<String, Object> clean(Path folder, Map<String, Object> given) throws Exception {
        Files.createDirectories(folder);
        for (Map.Entry<String, String> file : ((Map<String, String>) given.get("before")).entrySet()) {
            Files.write(folder.resolve(file.getKey()), HexFormat.of().parseHex(file.getValue()));
        }
        long nowMs = ((Number) given.get("now_ms")).longValue();
        Time clock = new FixedClock(nowMs);
        UnifiedLog log = UnifiedLog.create(
            folder.toFile(), new LogConfig((Map<String, String>) given.get("configs")), 0, 0, new KafkaScheduler(1),
            new BrokerTopicStats(), clock, 300_000, new ProducerStateManagerConfig(86_400_000, false), 600_000,
            new LogDirFailureChannel(1), true, Optional.empty());
        log.updateHighWatermark(log.logEndOffset());
        Optional<Long> cleaned = Optional.ofNullable((Number) given.get("cleaned_offset")).map(Number::longValue);
        LogToClean cleanable = cleanable(log, cleaned, nowMs);
        Throttler throttler = new Throttler(Double.MAX_VALUE, 300, "throttled", "entries", clock);
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(1 << 20), 1 << 20, 1 << 20, 0.9, throttler, clock, partition -> { });
        long end = cleaner.clean(cleanable).getKey();
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("official", cleanable.firstDirtyOffset() + " " + cleanable.firstUncleanableOffset() + " "
            + cleanable.cleanBytes() + " " + cleanable.cleanableBytes() + " " + end);
        log.close();
        answer.put("after", contents(folder));
        return answer;
    }

    /** What the cleaner's manager would hand to a cleaner. Its calculation is not public. */
    private static LogToClean cleanable(UnifiedLog log, Optional<Long> cleaned, long nowMs) throws Exception {
        Method calculate = LogCleanerManager.class.getDeclaredMethod("cleanableOffsets", UnifiedLog.class, Optional.class, long.class);
        calculate.setAccessible(true);
        Object offsets = calculate.invoke(null, log, cleaned, nowMs);
        Map<String, Object> parts = new LinkedHashMap<>();
        for (RecordComponent part : offsets.getClass().getRecordComponents()) {
            part.getAccessor().setAccessible(true);
            parts.put(part.getName(), part.getAccessor().invoke(offsets));
        }
        return new LogToClean(log, (long) parts.get("firstDirtyOffset"), (long) parts.get("firstUncleanableDirtyOffset"), false);
    }

    private static Map<String, String> contents(Path folder) throws Exception {
        Map<String, String> contents = new TreeMap<>();
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.toList()) {
                String name = file.getFileName().toString();
                byte[] bytes = Files.readAllBytes(file);
                int size = name.endsWith(".index") ? used(bytes, 8) : name.endsWith(".timeindex") ? used(bytes, 12) : bytes.length;
                contents.put(name, HexFormat.of().formatHex(bytes, 0, size));
            }
        }
        return contents;
    }

    /** The indexes of the active segment keep the size that was allocated for them. */
    private static int used(byte[] index, int entrySize) {
        int size = index.length - index.length % entrySize;
        while (size > 0) {
            for (int position = size - entrySize; position < size; position++) {
                if (index[position] != 0) return size;
            }
            size -= entrySize;
        }
        return 0;
    }
}
