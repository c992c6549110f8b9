import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;

/**
 * Encodes messages with the official classes: golden bytes for our tests.
 *
 *     java -cp 'LIBS/*' tools/java/EncodeMessages.java < questions > answers
 *
 * A question is a line {"class": ..., "version": ..., "values": {...}}; values in Kafka's JSON form, or null for a message
 * with nothing set. The answer is a line {"hex": ..., "values": {...}}, the values as the official converter prints them.
 */
public class EncodeMessages {
    public static void main(String[] args) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode question = mapper.readTree(line);
            Class<?> messageClass = Class.forName(question.get("class").asText());
            Class<?> converter = Class.forName(messageClass.getName() + "JsonConverter");
            short version = (short) question.get("version").asInt();
            JsonNode values = question.get("values");
            Object message = values.isNull()
                ? messageClass.getDeclaredConstructor().newInstance()
                : converter.getMethod("read", JsonNode.class, short.class).invoke(null, values, version);
            ByteBufferAccessor encoded = MessageUtil.toByteBufferAccessor((ApiMessage) message, version);
            ByteBuffer buffer = encoded.buffer();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            ObjectNode answer = mapper.createObjectNode();
            answer.put("hex", HexFormat.of().formatHex(bytes));
            answer.set("values", (JsonNode) converter.getMethod("write", messageClass, short.class).invoke(null, message, version));
            out.println(mapper.writeValueAsString(answer));
        }
        out.flush();
    }
}
