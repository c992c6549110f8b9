import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.kafka.annotation.EnableKafka;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.core.ConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.transaction.KafkaTransactionManager;

/** Copies a topic exactly once: a listener whose container starts a transaction for each poll. */
public class SpringCopy {
    static String bootstrap, name, source, sink, protocol;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        name = args[1];
        source = args[2];
        sink = args[3];
        protocol = args[4];
        var context = new AnnotationConfigApplicationContext(Beans.class);
        context.registerShutdownHook();
        System.out.println("running");
        Thread.currentThread().join();
    }

    @Configuration
    @EnableKafka
    static class Beans {
        @Bean
        ProducerFactory<String, String> producers() {
            var factory = new DefaultKafkaProducerFactory<String, String>(Map.of(
                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, StringSerializer.class,
                ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, StringSerializer.class));
            factory.setTransactionIdPrefix(name + "-");
            return factory;
        }

        @Bean
        ConsumerFactory<String, String> consumers() {
            var settings = new HashMap<String, Object>(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ConsumerConfig.GROUP_ID_CONFIG, name,
                ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol,
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
                ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
                ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class,
                ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class));
            if (protocol.equals("classic")) {  // with the newer protocol the broker has these settings
                settings.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6000);
                settings.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 500);
            }
            return new DefaultKafkaConsumerFactory<>(settings);
        }

        @Bean
        KafkaTransactionManager<String, String> transactions() {
            return new KafkaTransactionManager<>(producers());
        }

        @Bean
        KafkaTemplate<String, String> template() {
            return new KafkaTemplate<>(producers());
        }

        @Bean
        ConcurrentKafkaListenerContainerFactory<String, String> kafkaListenerContainerFactory() {
            var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
            factory.setConsumerFactory(consumers());
            factory.setConcurrency(2);
            factory.getContainerProperties().setKafkaAwareTransactionManager(transactions());
            return factory;
        }

        @Bean
        Listener listener() {
            return new Listener(template());
        }
    }

    record Listener(KafkaTemplate<String, String> template) {
        @KafkaListener(id = "copy", idIsGroup = false, topics = "#{T(SpringCopy).source()}")
        void copy(ConsumerRecord<String, String> record) {
            template.send(sink, record.key(), record.value());
        }
    }

    public static String source() {
        return source;
    }
}
