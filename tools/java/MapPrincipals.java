import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;
import org.apache.kafka.common.security.ssl.SslPrincipalMapper;

/**
 * Prints how Java prints distinguished names, and what Kafka's mapping rules make of them.
 *
 *     java -cp 'LIBS/*' tools/java/MapPrincipals.java < questions
 *
 * A line of standard input is "name", a tab and a DER-encoded name in hex, or "rule", a tab, rules, a tab and a name.
 * A line of standard output is the answer with characters outside ASCII as \\uXXXX, or "!" and the class of an exception.
 */
public class MapPrincipals {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] question = line.split("\t", -1);
            try {
                out.println(escape(question[0].equals("name")
                    ? new X500Principal(HexFormat.of().parseHex(question[1])).getName()
                    : SslPrincipalMapper.fromRules(question[1]).getName(question[2])));
            } catch (Exception e) {
                out.println("!" + e.getClass().getSimpleName());
            }
        }
    }

    private static String escape(String text) {
        StringBuilder escaped = new StringBuilder();
        for (char c : text.toCharArray()) {
            escaped.append(c < 32 || c > 126 ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        }
        return escaped.toString();
    }
}
