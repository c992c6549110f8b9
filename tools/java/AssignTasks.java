import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.coordinator.group.api.streams.assignor.TopologyDescriber;
import org.apache.kafka.coordinator.group.streams.assignor.AssignmentConfigsImpl;
import org.apache.kafka.coordinator.group.streams.assignor.GroupSpecImpl;
import org.apache.kafka.coordinator.group.streams.assignor.MemberMetadataAndStateImpl;
import org.apache.kafka.coordinator.group.streams.assignor.StickyTaskAssignor;

/**
 * Prints what the official assignor of streams groups assigns.
 *
 *     java -cp 'LIBS/*' tools/java/AssignTasks.java < groups.jsonl
 *
 * Each line of standard input is a JSON object: "standby" (replicas), "subtopologies" (by id "tasks" and "stateful") and
 * "members", by member id an object with "process", "active", "standby" and "warmup" (partitions by subtopology id) and
 * "offsets" (by subtopology id and partition). Each line of standard output has the active and the standby tasks by
 * member id, or a string, the reason of a failure.
 */
public class AssignTasks {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            System.out.println(JSON.writeValueAsString(assign(JSON.readTree(line))));
        }
    }

    private static Object assign(JsonNode group) {
        TreeMap<String, JsonNode> subtopologies = new TreeMap<>();
        group.get("subtopologies").fields().forEachRemaining(each -> subtopologies.put(each.getKey(), each.getValue()));
        TopologyDescriber topology = new TopologyDescriber() {
            @Override
            public List<String> subtopologies() {
                return List.copyOf(subtopologies.keySet());
            }

            @Override
            public int maxNumInputPartitions(String subtopology) {
                return subtopologies.get(subtopology).get("tasks").asInt();
            }

            @Override
            public boolean isStateful(String subtopology) {
                return subtopologies.get(subtopology).get("stateful").asBoolean();
            }
        };
        Map<String, MemberMetadataAndStateImpl> members = new HashMap<>();
        group.get("members").fields().forEachRemaining(each -> members.put(each.getKey(), member(each.getValue())));
        AssignmentConfigsImpl configs = new AssignmentConfigsImpl(group.get("standby").asInt(), List.of());
        try {
            Map<String, List<Map<String, Set<Integer>>>> given = new TreeMap<>();
            new StickyTaskAssignor().assign(new GroupSpecImpl(members, configs), topology).members().forEach((id, tasks) ->
                given.put(id, List.of(sorted(tasks.activeTasks()), sorted(tasks.standbyTasks()))));
            return given;
        } catch (RuntimeException failure) {
            return failure.getMessage();
        }
    }

    private static MemberMetadataAndStateImpl member(JsonNode member) {
        Map<String, Map<Integer, Long>> offsets = new HashMap<>();
        member.get("offsets").fields().forEachRemaining(each -> {
            Map<Integer, Long> partitions = new HashMap<>();
            each.getValue().fields().forEachRemaining(one -> partitions.put(Integer.valueOf(one.getKey()), one.getValue().asLong()));
            offsets.put(each.getKey(), partitions);
        });
        return new MemberMetadataAndStateImpl(
            Optional.empty(), Optional.empty(), member.get("process").asText(), Map.of(),
            tasks(member.get("active")), tasks(member.get("standby")), tasks(member.get("warmup")), offsets, Map.of()
        );
    }

    private static Map<String, Set<Integer>> tasks(JsonNode tasks) {
        Map<String, Set<Integer>> found = new HashMap<>();
        tasks.fields().forEachRemaining(each -> {
            Set<Integer> partitions = new HashSet<>();
            each.getValue().forEach(partition -> partitions.add(partition.asInt()));
            found.put(each.getKey(), partitions);
        });
        return found;
    }

    private static Map<String, Set<Integer>> sorted(Map<String, Set<Integer>> tasks) {
        Map<String, Set<Integer>> found = new TreeMap<>();
        tasks.forEach((subtopology, partitions) -> found.put(subtopology, new TreeSet<>(partitions)));
        return found;
    }
}
