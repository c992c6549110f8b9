import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.lang.reflect.Constructor;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.stream.Collectors;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageSizeAccumulator;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/**
 * Prints what the official jars know of every protocol message, as JSON for tools/write_specs.py.
 *
 *     java -cp 'LIBS/*' tools/java/ReflectMessages.java
 *
 * Names, types, versions, nullability and tags come from the Schema constants of the generated classes, defaults from
 * fresh instances, record types from the enums of record types. One property leaves no trace in a compiled class where
 * every supported version has the field, and is looked up in the resources of the jars: whether a field is ignorable.
 */
public class ReflectMessages {
    private static final String TAGS = "_tagged_fields";

    public static void main(String[] args) throws Exception {
        List<Class<?>> classes = messageClasses();
        Map<String, Object> output = new LinkedHashMap<>();
        output.put("kafka", release());
        output.put("removedApis", removedApis());
        List<Map<String, Object>> messages = new ArrayList<>();
        for (Class<?> messageClass : classes) messages.add(message(messageClass));
        messages.sort((a, b) -> sortKey(a).compareTo(sortKey(b)));
        output.put("messages", messages);
        System.out.println(new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(output));
    }

    private static String release() throws Exception {
        Properties properties = new Properties();
        properties.load(ApiMessage.class.getResourceAsStream("/kafka/kafka-version.properties"));
        return properties.getProperty("version");
    }

    // Which classes

    /** Every generated message in Kafka's jars: implements ApiMessage and has schemas. */
    private static List<Class<?>> messageClasses() throws Exception {
        List<Class<?>> found = new ArrayList<>();
        for (String path : System.getProperty("java.class.path").split(":")) {
            if (!path.matches(".*/(kafka|connect)[^/]*\\.jar")) continue;
            try (JarFile jar = new JarFile(path)) {
                readResources(jar);
                List<String> names = jar.stream().map(entry -> entry.getName()).sorted().toList();
                for (String name : names) {
                    if (!name.matches("org/apache/kafka/.*(message|metadata|generated)/[A-Za-z]+\\.class")) continue;
                    Class<?> candidate = Class.forName(name.replace('/', '.').replace(".class", ""), false,
                        ReflectMessages.class.getClassLoader());
                    boolean generated = Arrays.stream(candidate.getFields()).anyMatch(f -> f.getName().equals("SCHEMAS"));
                    if (generated && ApiMessage.class.isAssignableFrom(candidate)) found.add(candidate);
                }
            }
        }
        return found;
    }

    private static List<Map<String, Object>> removedApis() {
        List<Map<String, Object>> removed = new ArrayList<>();
        for (ApiKeys api : ApiKeys.values()) {
            if (!api.hasValidVersion()) removed.add(new TreeMap<>(Map.of("apiKey", api.id, "name", api.name)));
        }
        return removed;
    }

    private static String sortKey(Map<String, Object> message) {
        String kind = (String) message.get("kind");
        int rank = List.of("request", "response", "header", "data", "record").indexOf(kind);
        int key = message.get("apiKey") == null ? 0 : ((Number) message.get("apiKey")).intValue();
        String group = rank < 2 ? "0" : rank + (String) message.get("class").toString().replaceAll("\\.[^.]*$", "");
        return String.format("%s %05d %s", group, key, message.get("name"));
    }

    // One message

    private static Map<String, Object> message(Class<?> messageClass) throws Exception {
        String simple = messageClass.getSimpleName();
        boolean api = simple.matches(".*(Request|Response)Data");
        boolean header = simple.matches("Re(quest|sponse)HeaderData");
        ApiMessage instance = (ApiMessage) messageClass.getDeclaredConstructor().newInstance();
        Schema[] schemas = (Schema[]) messageClass.getField("SCHEMAS").get(null);
        int lowest = instance.lowestSupportedVersion();
        int highest = instance.highestSupportedVersion();
        Enum<?> recordType = api || header ? null : recordType(messageClass);

        Map<String, Object> row = new LinkedHashMap<>();
        row.put("name", api || header ? simple.replaceAll("Data$", "") : simple);
        row.put("kind", header ? "header" : simple.endsWith("RequestData") ? "request"
            : simple.endsWith("ResponseData") ? "response" : recordType != null ? "record" : "data");
        row.put("class", messageClass.getName());
        if (api && !header) row.put("apiKey", instance.apiKey());
        if (recordType != null) {
            row.put("apiKey", recordType.getClass().getMethod("id").invoke(recordType));
            row.put("recordType", recordType.name());
        }
        row.put("versions", List.of(lowest, highest));
        row.put("unstable", false);
        Map<Integer, Schema> byVersion = new TreeMap<>();
        for (int version = lowest; version <= highest; version++) byVersion.put(version, schemas[version]);
        Integer flexibleFrom = byVersion.keySet().stream().filter(v -> isFlexible(schemas[v])).findFirst().orElse(null);
        row.put("flexibleFrom", flexibleFrom);
        row.put("listeners", List.of());
        if (api && !header) apiProperties(row, ApiMessageType.fromApiKey(instance.apiKey()), byVersion.keySet());

        List<String> unused = new ArrayList<>();
        List<Map<String, Object>> fields = fields(messageClass, byVersion, flexibleFrom, lowest, highest, "", unused);
        markIgnorable((String) row.get("name"), fields);
        row.put("fields", fields);
        if (!unused.isEmpty()) row.put("unusedFields", unused);
        return row;
    }

    private static void apiProperties(Map<String, Object> row, ApiMessageType type, Collection<Integer> versions) {
        boolean request = row.get("kind").equals("request");
        row.put("unstable", type.latestVersionUnstable());
        if (type.latestVersionUnstable()) {
            row.put("stable", List.of(type.lowestSupportedVersion(), type.highestSupportedVersion(false)));
        }
        row.put("listeners", type.listeners().stream().map(l -> l.name().toLowerCase(Locale.ROOT)).toList());
        Function<Integer, Object> headerVersion = version -> (int) (request
            ? type.requestHeaderVersion(version.shortValue()) : type.responseHeaderVersion(version.shortValue()));
        Map<String, Object> headers = new TreeMap<>();
        for (Object value : new TreeSet<>(versions.stream().map(headerVersion).toList())) {
            headers.put(value.toString(), range(versions.stream().filter(v -> headerVersion.apply(v).equals(value)).toList(),
                Collections.max(versions)));
        }
        row.put("headerVersion", headers);
        ApiKeys key = ApiKeys.forId(type.apiKey());
        if (request && key.clusterAction) row.put("clusterAction", true);
        if (request && key.forwardable) row.put("forwardable", true);
    }

    /** The constant of a record class in the enum of record types beside it, or null. */
    private static Enum<?> recordType(Class<?> messageClass) throws Exception {
        for (String name : List.of("MetadataRecordType", "CoordinatorRecordType")) {
            Class<?> types;
            try {
                types = Class.forName(messageClass.getPackageName() + "." + name);
            } catch (ClassNotFoundException absent) {
                continue;
            }
            for (Object constant : types.getEnumConstants()) {
                for (String maker : List.of("newMetadataRecord", "newRecordKey", "newRecordValue")) {
                    try {
                        Object made = types.getMethod(maker).invoke(constant);
                        if (messageClass.isInstance(made)) return (Enum<?>) constant;
                    } catch (NoSuchMethodException other) {
                        // Metadata records have no key, coordinator records have one.
                    }
                }
            }
        }
        return null;
    }

    // Fields

    private static boolean isFlexible(Schema schema) {
        BoundField[] fields = schema.fields();
        return fields.length > 0 && fields[fields.length - 1].def.name.equals(TAGS);
    }

    /** One field of a class in the schema of one version. */
    private record Place(Type type, Integer tag) { }

    private static List<Map<String, Object>> fields(Class<?> owner, Map<Integer, Schema> byVersion, Integer flexibleFrom,
            int lowest, int highest, String path, List<String> unused) throws Exception {
        Object fresh = newInstance(owner);
        List<Map<String, Object>> rows = new ArrayList<>();
        for (java.lang.reflect.Field javaField : owner.getDeclaredFields()) {
            String javaName = javaField.getName();
            if (Modifier.isStatic(javaField.getModifiers()) || List.of("_unknownTaggedFields", "next", "prev").contains(javaName)) continue;
            javaField.setAccessible(true);
            String[] name = new String[1];
            Map<Integer, Place> places = new TreeMap<>();
            byVersion.forEach((version, schema) -> {
                for (BoundField bound : schema.fields()) {
                    if (bound.def.name.equals(TAGS)) {
                        ((TaggedFields) bound.def.type).fields().forEach((tag, field) -> place(field, javaName, tag, version, places, name));
                    } else {
                        place(bound.def, javaName, null, version, places, name);
                    }
                }
            });
            if (places.isEmpty()) {
                unused.add(path + javaName);
            } else {
                rows.add(field(owner, fresh, javaField, name[0], places, flexibleFrom, lowest, highest, path, unused));
            }
        }
        return rows;
    }

    private static void place(Field field, String javaName, Integer tag, int version, Map<Integer, Place> places, String[] name) {
        if (!field.name.replace("_", "").equalsIgnoreCase(javaName.replace("_", ""))) return;
        name[0] = field.name;
        places.put(version, new Place(field.type, tag));
    }

    private static Map<String, Object> field(Class<?> owner, Object fresh, java.lang.reflect.Field javaField, String name,
            Map<Integer, Place> places, Integer flexibleFrom, int lowest, int highest, String path, List<String> unused) throws Exception {
        Place last = new ArrayList<>(places.values()).get(places.size() - 1);
        String versions = range(places.keySet(), highest);
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("name", name);
        Type element = last.type.arrayElementType().orElse(null);
        row.put("type", element != null ? "array" : typeName(last.type));
        row.put("versions", versions);
        List<Integer> nullable = new ArrayList<>();
        for (Map.Entry<Integer, Place> place : places.entrySet()) {
            if (isNullable(owner, javaField, place.getValue(), place.getKey())) nullable.add(place.getKey());
        }
        if (!nullable.isEmpty()) row.put("nullable", range(nullable, highest));
        List<Integer> tagged = places.keySet().stream().filter(v -> places.get(v).tag != null).toList();
        if (!tagged.isEmpty()) {
            row.put("tag", places.get(tagged.get(0)).tag);
            row.put("taggedVersions", range(tagged, highest));
        }
        Object value = javaField.get(fresh);
        if (!isZero(value)) row.put("default", value instanceof Uuid ? value.toString() : value);
        List<Integer> stiff = places.keySet().stream().filter(v -> flexibleFrom != null && v >= flexibleFrom
            && isPrefixed(places.get(v).type) && !isCompact(places.get(v).type)).toList();
        if (!stiff.isEmpty()) row.put("flexibleVersions", "none");
        if (!javaField.getName().equals(lowerCamel(name))) row.put("json", javaField.getName());

        Class<?> structClass = structClass(javaField);
        if (element != null) {
            Map<String, Object> items = new LinkedHashMap<>();
            items.put("type", typeName(element));
            if (element instanceof Schema) {
                items.put("struct", structClass.getSimpleName());
                items.put("fields", fields(structClass, schemas(places), flexibleFrom, lowest, highest,
                    path + javaField.getName() + "[].", unused));
            }
            row.put("items", items);
        } else if (last.type instanceof Schema) {
            row.put("struct", structClass.getSimpleName());
            row.put("fields", fields(structClass, schemas(places), flexibleFrom, lowest, highest,
                path + javaField.getName() + ".", unused));
        }
        return row;
    }

    private static Map<Integer, Schema> schemas(Map<Integer, Place> places) {
        Map<Integer, Schema> schemas = new TreeMap<>();
        places.forEach((version, place) -> schemas.put(version, (Schema) place.type.arrayElementType().orElse(place.type)));
        return schemas;
    }

    private static String typeName(Type type) {
        if (type instanceof Schema) return "struct";
        String name = type.toString().replace("COMPACT_", "").replace("NULLABLE_", "");
        return switch (name) {
            case "BOOLEAN" -> "bool";
            case "UNSIGNED_INT32" -> "uint32";
            default -> name.toLowerCase(Locale.ROOT);
        };
    }

    private static boolean isPrefixed(Type type) {
        return type.arrayElementType().isPresent() || List.of("string", "bytes", "records").contains(typeName(type));
    }

    private static boolean isCompact(Type type) {
        return type.getClass().getSimpleName().startsWith("Compact") || type.toString().startsWith("COMPACT_");
    }

    private static boolean isNullable(Class<?> owner, java.lang.reflect.Field javaField, Place place, int version) throws Exception {
        if (place.type.isNullable()) return true;
        if (!(place.type instanceof Schema) || place.tag == null) return false;
        // The schema of a tagged struct lacks its nullability; the code that writes it shows it.
        Message probe = (Message) newInstance(owner);
        javaField.set(probe, null);
        try {
            probe.addSize(new MessageSizeAccumulator(), new ObjectSerializationCache(), (short) version);
            return true;
        } catch (NullPointerException refused) {
            return false;
        }
    }

    private static boolean isZero(Object value) {
        if (value == null) return false;
        if (value instanceof Number number) return number.doubleValue() == 0;
        if (value instanceof Boolean flag) return !flag;
        if (value instanceof String text) return text.isEmpty();
        if (value instanceof Uuid uuid) return uuid.equals(Uuid.ZERO_UUID);
        if (value instanceof Collection<?> many) return many.isEmpty();
        return true; // bytes, and structs, whose fields have defaults of their own
    }

    /** The class of a struct, or of the structs in a list or in one of Kafka's hashed collections. */
    private static Class<?> structClass(java.lang.reflect.Field javaField) {
        java.lang.reflect.Type generic = javaField.getGenericType();
        if (Collection.class.isAssignableFrom(javaField.getType()) && !(generic instanceof ParameterizedType)) {
            generic = javaField.getType().getGenericSuperclass();
        }
        if (!(generic instanceof ParameterizedType)) return javaField.getType();
        java.lang.reflect.Type argument = ((ParameterizedType) generic).getActualTypeArguments()[0];
        return argument instanceof Class<?> struct ? struct : null;
    }

    private static Object newInstance(Class<?> owner) throws Exception {
        Constructor<?> constructor = owner.getDeclaredConstructor();
        return constructor.newInstance();
    }

    private static String lowerCamel(String snake) {
        String[] words = snake.split("_");
        return words[0] + Arrays.stream(words).skip(1)
            .map(word -> word.substring(0, 1).toUpperCase(Locale.ROOT) + word.substring(1)).collect(Collectors.joining());
    }

    /** "3+" if the range reaches the highest version, else "3-5" or "3". */
    private static String range(Collection<Integer> versions, int highest) {
        int first = Collections.min(versions);
        int last = Collections.max(versions);
        if (last - first + 1 != versions.size()) throw new IllegalStateException("a hole in " + versions);
        if (last == highest) return first + "+";
        return first == last ? "" + first : first + "-" + last;
    }

    // Ignorable fields

    /** The message definitions in the jars' resources, by name; file names do not always agree with it. */
    private static final Map<String, JsonNode> RESOURCES = new HashMap<>();

    private static void readResources(JarFile jar) throws Exception {
        ObjectMapper mapper = JsonMapper.builder().enable(JsonReadFeature.ALLOW_JAVA_COMMENTS).build();
        for (JarEntry entry : Collections.list(jar.entries())) {
            if (!entry.getName().endsWith(".json")) continue;
            JsonNode root = mapper.readTree(jar.getInputStream(entry));
            if (root.has("validVersions")) RESOURCES.put(root.get("name").asText(), root);
        }
    }

    private static void markIgnorable(String name, List<Map<String, Object>> fields) {
        JsonNode root = RESOURCES.get(name);
        if (root == null) throw new IllegalStateException("the jars have no resource for " + name);
        Map<String, JsonNode> common = new HashMap<>();
        root.path("commonStructs").forEach(struct -> common.put(struct.get("name").asText(), struct.get("fields")));
        markIgnorable(root.get("fields"), common, fields);
    }

    @SuppressWarnings("unchecked")
    private static void markIgnorable(JsonNode nodes, Map<String, JsonNode> common, List<Map<String, Object>> fields) {
        for (Map<String, Object> field : fields) {
            String wanted = ((String) field.get("name")).replace("_", "");
            for (JsonNode node : nodes) {
                if (!node.get("name").asText().equalsIgnoreCase(wanted)) continue;
                if (node.path("ignorable").asBoolean()) field.put("ignorable", true);
                Map<String, Object> body = (Map<String, Object>) field.getOrDefault("items", field);
                if (!body.containsKey("fields")) continue;
                JsonNode inner = node.has("fields") ? node.get("fields") : common.get(node.get("type").asText().replace("[]", ""));
                markIgnorable(inner, common, (List<Map<String, Object>>) body.get("fields"));
            }
        }
    }
}
