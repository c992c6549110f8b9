import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.RecordBatch;

/**
 * Builds record batches with the official record builders: tests/wire/official_batches.txt.
 *
 *     java -cp 'LIBS/*' tools/java/BuildBatches.java
 *
 * The records are those of RECORDS in tests/wire/test_records.py.
 */
public class BuildBatches {
    private static final long NOW_MS = 1_700_000_000_000L;
    private static final long APPENDED_MS = 1_795_415_751_025L;
    private static final Header[] NO_HEADERS = new Header[0];
    private static final Header[] HEADERS = {
        new RecordHeader("h", bytes("x")),
        new RecordHeader("", null),
        new RecordHeader("h", bytes("")),
        new RecordHeader("äö€", new byte[] {0, (byte) 0xff}),
    };

    public static void main(String[] args) {
        plain("none", Compression.NONE);
        for (int level : new int[] {-1, 1, 9}) plain("gzip:" + level, Compression.gzip().level(level).build());
        plain("snappy", Compression.snappy().build());
        for (int level : new int[] {9, 1, 17}) plain("lz4:" + level, Compression.lz4().level(level).build());
        for (int level : new int[] {3, -131072, 22}) plain("zstd:" + level, Compression.zstd().level(level).build());
        print("transactional", batch(Compression.NONE, TimestampType.CREATE_TIME, 1000, RecordBatch.NO_TIMESTAMP, 4000, (short) 7, Integer.MAX_VALUE - 1, true, 3));
        print("idempotent", batch(Compression.lz4().build(), TimestampType.CREATE_TIME, 0, RecordBatch.NO_TIMESTAMP, 4000, (short) 7, 5, false, 3));
        EndTransactionMarker commit = new EndTransactionMarker(ControlRecordType.COMMIT, 12);
        print("commit", MemoryRecords.withEndTransactionMarker(55, NOW_MS, 9, 4000, (short) 7, commit).buffer());
        print("append", batch(Compression.NONE, TimestampType.LOG_APPEND_TIME, 7, APPENDED_MS, -1, (short) -1, -1, false, -1));
        ByteBuffer empty = ByteBuffer.allocate(DefaultRecordBatch.RECORD_BATCH_OVERHEAD);
        DefaultRecordBatch.writeEmptyHeader(empty, RecordBatch.CURRENT_MAGIC_VALUE, 4000, (short) 7, 15, 100, 105, 3, TimestampType.CREATE_TIME, NOW_MS, false, false);
        print("empty", empty.flip());
    }

    private static void plain(String name, Compression compression) {
        print(name, batch(compression, TimestampType.CREATE_TIME, 0, RecordBatch.NO_TIMESTAMP, -1, (short) -1, -1, false, -1));
    }

    private static ByteBuffer batch(
            Compression compression, TimestampType timestamps, long baseOffset, long appendedMs,
            long producerId, short producerEpoch, int sequence, boolean transactional, int leaderEpoch) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(
            ByteBuffer.allocate(4096), RecordBatch.CURRENT_MAGIC_VALUE, compression, timestamps, baseOffset, appendedMs,
            producerId, producerEpoch, sequence, transactional, leaderEpoch);
        builder.append(NOW_MS, bytes("k1"), bytes("v1"), NO_HEADERS);
        builder.append(NOW_MS + 5, null, bytes("only value"), NO_HEADERS);
        builder.append(NOW_MS - 1000, bytes("only key"), null, NO_HEADERS);
        builder.append(NOW_MS, (byte[]) null, null, NO_HEADERS);
        builder.append(NOW_MS + 100_000, bytes(""), bytes(""), HEADERS);
        builder.append(NOW_MS, bytes("z".repeat(300)), bytes("z".repeat(300)), NO_HEADERS);
        return builder.build().buffer();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void print(String name, ByteBuffer batch) {
        byte[] content = new byte[batch.remaining()];
        batch.duplicate().get(content);
        System.out.println(name + " " + HexFormat.of().formatHex(content));
    }
}
