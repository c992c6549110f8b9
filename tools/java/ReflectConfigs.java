import com.fasterxml.jackson.databind.ObjectMapper;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import kafka.server.KafkaConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.server.config.ConfigSynonym;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.QuotaConfig;
import org.apache.kafka.server.config.ServerTopicConfigSynonyms;
import org.apache.kafka.storage.internals.log.LogConfig;

/**
 * Prints every config of brokers, topics and groups in the official jars, as JSON for tools/write_configs.py.
 *
 *     java -cp 'LIBS/*' tools/java/ReflectConfigs.java < texts.json
 *
 * Standard input is a JSON list of texts. Each line of standard output is a JSON object: one config, with the answer
 * of the official parser and validator for each text: [value as text, null] or [null, message of the refusal].
 */
public class ReflectConfigs {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static Method PARSE_VALUE;

    public static void main(String[] args) throws Exception {
        PARSE_VALUE = ConfigDef.class.getDeclaredMethod("parseValue", ConfigDef.ConfigKey.class, Object.class, boolean.class);
        PARSE_VALUE.setAccessible(true);
        List<String> texts = JSON.readValue(System.in, JSON.getTypeFactory().constructCollectionType(List.class, String.class));
        ConfigDef broker = KafkaConfig.configDef();
        ConfigDef onlyDynamic = QuotaConfig.brokerQuotaConfigs();
        print("broker", broker, broker.names(), texts);
        Set<String> others = new TreeSet<>(onlyDynamic.names());
        others.removeAll(broker.names());
        print("broker-dynamic-only", onlyDynamic, others, texts);
        ConfigDef topic = LogConfig.configDefCopy();
        print("topic", topic, topic.names(), texts);
        print("group", GroupConfig.CONFIG_DEF, GroupConfig.CONFIG_DEF.names(), texts);
    }

    private static void print(String scope, ConfigDef definition, Set<String> names, List<String> texts) throws Exception {
        for (String name : new TreeSet<>(names)) {
            ConfigDef.ConfigKey key = definition.configKeys().get(name);
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("scope", scope);
            row.put("name", name);
            row.put("type", key.type.name());
            row.put("required", !key.hasDefault());
            row.put("default", key.hasDefault() ? ConfigDef.convertToString(key.defaultValue, key.type) : null);
            row.put("importance", key.importance.name());
            row.put("internal", key.internalConfig);
            row.put("validator", describe(key.validator));
            row.put("synonyms", scope.equals("topic") ? topicSynonyms(name) : scope.equals("group") ? groupSynonyms(name) : brokerSynonyms(name));
            row.put("dynamic", scope.startsWith("broker") ? dynamic(name) : "-");
            List<List<String>> answers = new ArrayList<>();
            for (String text : texts) answers.add(answer(definition, key, text));
            row.put("answers", answers);
            System.out.println(JSON.writeValueAsString(row));
        }
    }

    /** The class of a validator and its fields; a composite validator lists its parts. */
    private static Object describe(Object validator) throws Exception {
        if (validator == null) return null;
        Map<String, Object> described = new LinkedHashMap<>();
        Class<?> type = validator.getClass();
        described.put("class", type.isHidden() ? type.getName().split("\\$\\$Lambda")[0] : type.getName());
        if (type.isHidden() || !type.getName().startsWith("org.apache.kafka.common.config.ConfigDef$")) return described;
        for (Field field : type.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers())) continue;
            field.setAccessible(true);
            described.put(field.getName(), plain(field.get(validator)));
        }
        return described;
    }

    private static Object plain(Object value) throws Exception {
        if (value instanceof List<?> || value instanceof Set<?>) {
            List<Object> items = new ArrayList<>();
            for (Object item : (Iterable<?>) value) items.add(plain(item));
            return items;
        }
        if (value instanceof ConfigDef.Validator) return describe(value);
        if (value == null || value instanceof Number || value instanceof Boolean || value instanceof String) return value;
        return value.getClass().getName().split("\\$\\$Lambda")[0];
    }

    private static List<String> brokerSynonyms(String name) {
        List<String> found = new ArrayList<>(DynamicBrokerConfig.brokerConfigSynonyms(name, false));
        found.remove(name);
        return found;
    }

    private static List<String> groupSynonyms(String name) {
        return GroupConfig.brokerSynonym(name).map(List::of).orElse(List.of());
    }

    /** The broker configs that give a topic config its default, with the factor between their units. */
    private static List<String> topicSynonyms(String name) {
        List<String> found = new ArrayList<>();
        for (ConfigSynonym synonym : ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS.getOrDefault(name, List.of())) {
            String factor = synonym.converter().apply("1");
            found.add(synonym.name() + (factor.equals("1") ? "" : "(x" + factor + ")"));
        }
        return found;
    }

    private static String dynamic(String name) {
        return DynamicBrokerConfig.dynamicConfigUpdateModes().getOrDefault(name, "read-only");
    }

    /** The result of ConfigDef for one text, as in a broker: it parses, drops repetitions in a list, and validates. */
    private static List<String> answer(ConfigDef definition, ConfigDef.ConfigKey key, String text) throws Exception {
        List<String> answer = new ArrayList<>();
        try {
            Object value = PARSE_VALUE.invoke(definition, key, text, true);
            answer.add(ConfigDef.convertToString(value, key.type));
            answer.add(null);
        } catch (InvocationTargetException refused) {
            if (!(refused.getCause() instanceof ConfigException)) throw refused;
            answer.add(null);
            answer.add(refused.getCause().getMessage());
        }
        return answer;
    }
}
