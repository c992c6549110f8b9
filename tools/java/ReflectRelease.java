import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.server.common.Feature;
import org.apache.kafka.server.common.FeatureVersion;
import org.apache.kafka.server.common.MetadataVersion;

/**
 * Prints what identifies a release, its error codes and its feature levels, as JSON for tools/write_release.py.
 *
 *     java -cp 'LIBS/*' tools/java/ReflectRelease.java
 *
 * Levels that are not for production are left out.
 */
public class ReflectRelease {
    public static void main(String[] args) throws Exception {
        Properties version = new Properties();
        try (InputStream stream = Errors.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            version.load(stream);
        }
        Map<String, Object> release = new LinkedHashMap<>();
        release.put("release", version.getProperty("version"));
        release.put("commit", version.getProperty("commitId"));
        List<Object> errors = new ArrayList<>();
        for (Errors error : Errors.values()) {
            errors.add(List.of(error.code(), error.name()));
        }
        release.put("errors", errors);
        List<Object> metadata = new ArrayList<>();
        for (MetadataVersion level : MetadataVersion.VERSIONS) {
            if (level.isProduction()) {
                metadata.add(List.of(level.featureLevel(), level.version(), level.didMetadataChange()));
            }
        }
        release.put("metadata_versions", metadata);
        Map<String, Object> features = new LinkedHashMap<>();
        for (Feature feature : Feature.PRODUCTION_FEATURES) {
            List<Object> levels = new ArrayList<>();
            for (FeatureVersion level : feature.featureVersions()) {
                if (level.featureLevel() <= feature.latestProduction()) {
                    levels.add(List.of(level.featureLevel(), level.bootstrapMetadataVersion().featureLevel(), level.dependencies()));
                }
            }
            features.put(feature.featureName(), levels);
        }
        release.put("features", features);
        System.out.println(new ObjectMapper().writeValueAsString(release));
    }
}
