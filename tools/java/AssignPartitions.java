import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.ConsumerGroupPartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

/**
 * Prints what the official assignors of consumer groups assign.
 *
 *     java -cp 'LIBS/*' tools/java/AssignPartitions.java < groups.jsonl
 *
 * Each line of standard input is a JSON object: "assignor", "homogeneous", "topics" (partition counts by topic id) and
 * "members", by member id an object with "topics", "target" (partitions by topic id), "instance" and "rack". Each line
 * of standard output has the partitions by member id and topic id, or a string, the reason of a failure.
 */
public class AssignPartitions {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            System.out.println(JSON.writeValueAsString(assign(JSON.readTree(line))));
        }
    }

    private static Object assign(JsonNode group) {
        Map<Uuid, Integer> counts = new HashMap<>();
        group.get("topics").fields().forEachRemaining(each -> counts.put(Uuid.fromString(each.getKey()), each.getValue().asInt()));
        Map<String, MemberSubscriptionAndAssignmentImpl> members = new HashMap<>();
        Map<Uuid, Map<Integer, String>> owners = new HashMap<>();
        group.get("members").fields().forEachRemaining(each -> members.put(each.getKey(), member(each.getKey(), each.getValue(), owners)));
        SubscribedTopicDescriber topics = new SubscribedTopicDescriber() {
            @Override
            public int numPartitions(Uuid topicId) {
                return counts.getOrDefault(topicId, -1);
            }

            @Override
            public Set<String> racksForPartition(Uuid topicId, int partition) {
                return Set.of();
            }
        };
        SubscriptionType type = group.get("homogeneous").asBoolean() ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        ConsumerGroupPartitionAssignor assignor = group.get("assignor").asText().equals("range") ? new RangeAssignor() : new UniformAssignor();
        try {
            Map<String, Map<String, Set<Integer>>> given = new TreeMap<>();
            assignor.assign(new GroupSpecImpl(Collections.unmodifiableMap(members), type, owners), topics).members().forEach((id, assignment) -> {
                Map<String, Set<Integer>> partitions = new TreeMap<>();
                assignment.partitions().forEach((topicId, held) -> partitions.put(topicId.toString(), new TreeSet<>(held)));
                given.put(id, partitions);
            });
            return given;
        } catch (RuntimeException failure) {
            return failure.getMessage();
        }
    }

    private static MemberSubscriptionAndAssignmentImpl member(String id, JsonNode member, Map<Uuid, Map<Integer, String>> owners) {
        Set<Uuid> topics = new HashSet<>();
        member.get("topics").forEach(each -> topics.add(Uuid.fromString(each.asText())));
        Map<Uuid, Set<Integer>> target = new HashMap<>();
        member.get("target").fields().forEachRemaining(each -> {
            Set<Integer> held = new HashSet<>(JSON.convertValue(each.getValue(), JSON.getTypeFactory().constructCollectionType(java.util.List.class, Integer.class)));
            Uuid topicId = Uuid.fromString(each.getKey());
            target.put(topicId, held);
            held.forEach(partition -> owners.computeIfAbsent(topicId, ignored -> new HashMap<>()).put(partition, id));
        });
        return new MemberSubscriptionAndAssignmentImpl(
            Optional.ofNullable(member.get("rack").textValue()),
            Optional.ofNullable(member.get("instance").textValue()),
            topics,
            new Assignment(target)
        );
    }
}
