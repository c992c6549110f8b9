import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.support.GenericApplicationContext;
import org.springframework.kafka.annotation.EnableKafka;
import org.springframework.kafka.annotation.EnableKafkaRetryTopic;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.annotation.RetryableTopic;
import org.springframework.kafka.annotation.DltHandler;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.config.KafkaListenerEndpointRegistry;
import org.springframework.kafka.config.ShareKafkaListenerContainerFactory;
import org.springframework.kafka.config.TopicBuilder;
import org.springframework.kafka.core.ConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.DefaultShareConsumerFactory;
import org.springframework.kafka.core.KafkaAdmin;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.core.ShareConsumerFactory;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.DefaultErrorHandler;
import org.springframework.kafka.retrytopic.TopicSuffixingStrategy;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;
import org.springframework.kafka.support.Acknowledgment;
import org.springframework.kafka.support.KafkaHeaders;
import org.springframework.kafka.test.utils.ContainerTestUtils;
import org.springframework.kafka.test.utils.KafkaTestUtils;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.scheduling.TaskScheduler;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.util.backoff.FixedBackOff;

/** Scenarios of Spring Kafka: BOOTSTRAP SCENARIO PREFIX. Topics are made by Spring's own admin from beans. */
public class SpringListeners {
    static final BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    static final BlockingQueue<ConsumerRecord<String, String>> dead = new LinkedBlockingQueue<>();
    private static String bootstrap, prefix;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        prefix = args[2];
        switch (args[1]) {
            case "error-handler-and-dead-letters" -> errorHandler();
            case "retry-topics" -> retryTopics();
            case "request-and-reply" -> requestAndReply();
            case "batches-acknowledged-by-hand" -> batches();
            case "share-group-listener" -> shareGroup();
            case "pause-seek-and-stop" -> pauseSeekAndStop();
            case "test-utilities" -> testUtilities();
            case "topics-changed-by-the-admin" -> topicsChanged();
            default -> throw new IllegalArgumentException(args[1]);
        }
        System.out.println("ok");
    }

    // ----- scenarios

    static void errorHandler() throws Exception {
        try (var context = context(ErrorHandlerBeans.class)) {
            send(context, 30);
            expect(numbers(0, 30, n -> n % 10 != 3));
            Set<String> letters = new TreeSet<>();
            while (letters.size() < 3) {
                var letter = dead.poll(60, TimeUnit.SECONDS);
                check(letter != null, "only these dead letters: " + letters);
                letters.add(letter.value());
                check(header(letter, KafkaHeaders.DLT_EXCEPTION_MESSAGE).contains("refused"), "exception in a header");
                check(header(letter, KafkaHeaders.DLT_ORIGINAL_TOPIC).equals(prefix), "topic in a header");
            }
            same(letters, Set.of("3", "13", "23"));
            same(attempts.get("3"), 3);
        }
    }

    static void retryTopics() throws Exception {
        try (var context = context(RetryBeans.class)) {
            send(context, 10);
            expect(numbers(0, 10, n -> n != 4));
            var letter = dead.poll(90, TimeUnit.SECONDS);
            check(letter != null, "no dead letter");
            same(letter.value(), "4");
            same(attempts.get("4"), 3);
            var admin = context.getBean(KafkaAdmin.class);
            var topics = admin.describeTopics(prefix + "-retry-0", prefix + "-retry-1", prefix + "-dlt");
            same(topics.size(), 3);
        }
    }

    static void requestAndReply() throws Exception {
        try (var context = context(ReplyBeans.class)) {
            @SuppressWarnings("unchecked")
            var template = (ReplyingKafkaTemplate<String, String, String>) context.getBean(ReplyingKafkaTemplate.class);
            check(template.waitForAssignment(java.time.Duration.ofSeconds(60)), "the reply container has no partitions");
            for (int n = 0; n < 20; n++) {
                var answer = template.sendAndReceive(new ProducerRecord<>(prefix, "k", "" + n), java.time.Duration.ofSeconds(60));
                same(answer.get(60, TimeUnit.SECONDS).value(), "reply " + n);
            }
        }
    }

    static void batches() throws Exception {
        try (var context = context(BatchBeans.class)) {
            send(context, 200);
            expect(numbers(0, 200, n -> true));
        }
        // A second application continues after the last acknowledgement.
        try (var context = context(BatchBeans.class)) {
            context.getBean(KafkaTemplate.class).send(prefix, "k", "last").get();
            same(seen.poll(60, TimeUnit.SECONDS), "last");
        }
    }

    static void shareGroup() throws Exception {
        try (var context = context(ShareBeans.class)) {
            var admin = context.getBean(KafkaAdmin.class);
            var resource = new ConfigResource(ConfigResource.Type.GROUP, prefix);
            try (var client = Admin.create(admin.getConfigurationProperties())) {
                var earliest = new AlterConfigOp(
                    new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
                client.incrementalAlterConfigs(Map.of(resource, List.of(earliest))).all().get();
            }
            context.getBean(KafkaListenerEndpointRegistry.class).start();
            send(context, 50);
            expect(numbers(0, 50, n -> true));
        }
    }

    static void pauseSeekAndStop() throws Exception {
        try (var context = context(PlainBeans.class)) {
            var container = context.getBean(KafkaListenerEndpointRegistry.class).getListenerContainer("plain");
            send(context, 20);
            expect(numbers(0, 20, n -> true));
            container.pause();
            for (int wait = 0; !container.isContainerPaused() && wait < 600; wait++) Thread.sleep(100);
            check(container.isContainerPaused(), "not paused");
            send(context, 5);
            same(seen.poll(2, TimeUnit.SECONDS), null);
            container.resume();
            expect(numbers(0, 5, n -> true));
            container.stop();
            container.start();
            send(context, 3);
            expect(numbers(0, 3, n -> true));
        }
    }

    /** The second start of an application has more partitions and another retention than the first. */
    static void topicsChanged() throws Exception {
        context(Shared.class).close();
        try (var context = context(ChangedBeans.class)) {
            var admin = context.getBean(KafkaAdmin.class);
            same(admin.describeTopics(prefix).get(prefix).partitions().size(), 5);
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, prefix);
            try (var client = Admin.create(admin.getConfigurationProperties())) {
                var configs = client.describeConfigs(List.of(resource)).all().get().get(resource);
                same(configs.get("retention.ms").value(), "3600000");
                same(configs.get("cleanup.policy").value(), "delete");
            }
            check(admin.clusterId() != null, "no cluster id");
        }
    }

    /** What a test does that has a broker by its address instead of an embedded one. */
    static void testUtilities() throws Exception {
        try (var context = context(PlainBeans.class)) {
            ContainerTestUtils.waitForAssignment(
                context.getBean(KafkaListenerEndpointRegistry.class).getListenerContainer("plain"), 3);
            var sending = new HashMap<>(KafkaTestUtils.producerProps(bootstrap));
            sending.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, StringSerializer.class);
            new KafkaTemplate<>(new DefaultKafkaProducerFactory<String, String>(sending)).send(prefix, 1, "k", "v").get();
            expect(Set.of("v"));
            var reading = new HashMap<>(KafkaTestUtils.consumerProps(bootstrap, prefix + "-test", true));
            reading.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
            reading.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class);
            try (var consumer = new DefaultKafkaConsumerFactory<String, String>(reading).createConsumer()) {
                consumer.subscribe(List.of(prefix));
                same(KafkaTestUtils.getSingleRecord(consumer, prefix).value(), "v");
                consumer.commitSync();
                var end = KafkaTestUtils.getEndOffsets(consumer, prefix, 1);
                same(end.values().iterator().next(), 1L);
            }
            same(KafkaTestUtils.getCurrentOffset(bootstrap, prefix + "-test", prefix, 1).offset(), 1L);
        }
    }

    // ----- applications

    static final Map<String, Integer> attempts = new java.util.concurrent.ConcurrentHashMap<>();

    @Configuration
    static class Shared {
        @Bean
        KafkaAdmin admin() {
            return new KafkaAdmin(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap));
        }

        @Bean
        NewTopic topic() {
            return TopicBuilder.name(prefix).partitions(3).replicas(1).config("retention.ms", "86400000").build();
        }

        @Bean
        ProducerFactory<String, String> producers() {
            return new DefaultKafkaProducerFactory<>(Map.of(
                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, StringSerializer.class,
                ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, StringSerializer.class));
        }

        @Bean
        KafkaTemplate<String, String> template() {
            return new KafkaTemplate<>(producers());
        }

        Map<String, Object> consuming() {
            return new HashMap<>(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ConsumerConfig.GROUP_ID_CONFIG, prefix,
                ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class,
                ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class));
        }

        @Bean
        ConsumerFactory<String, String> consumers() {
            var settings = consuming();
            settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
            return new DefaultKafkaConsumerFactory<>(settings);
        }

        @Bean
        ConcurrentKafkaListenerContainerFactory<String, String> kafkaListenerContainerFactory() {
            var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
            factory.setConsumerFactory(consumers());
            factory.setConcurrency(2);
            customize(factory);
            return factory;
        }

        void customize(ConcurrentKafkaListenerContainerFactory<String, String> factory) {}

        public String topicName() {
            return prefix;
        }
    }

    @Configuration
    static class ChangedBeans extends Shared {
        @Override
        @Bean
        KafkaAdmin admin() {
            var admin = super.admin();
            admin.setModifyTopicConfigs(true);
            return admin;
        }

        @Override
        @Bean
        NewTopic topic() {
            return TopicBuilder.name(prefix).partitions(5).replicas(1).config("retention.ms", "3600000").build();
        }
    }

    @Configuration
    @EnableKafka
    static class PlainBeans extends Shared {
        @KafkaListener(id = "plain", idIsGroup = false, topics = "#{__listener.topicName()}")
        public void listen(String value) {
            seen.add(value);
        }
    }

    @Configuration
    @EnableKafka
    static class ErrorHandlerBeans extends Shared {
        @Bean
        NewTopic letters() {
            return TopicBuilder.name(prefix + "-dlt").partitions(3).replicas(1).build();
        }

        @Override
        void customize(ConcurrentKafkaListenerContainerFactory<String, String> factory) {
            factory.setCommonErrorHandler(
                new DefaultErrorHandler(new DeadLetterPublishingRecoverer(template()), new FixedBackOff(50, 2)));
        }

        @KafkaListener(id = "work", idIsGroup = false, topics = "#{__listener.topicName()}")
        public void listen(String value) {
            attempts.merge(value, 1, Integer::sum);
            if (value.endsWith("3")) throw new IllegalStateException("refused " + value);
            seen.add(value);
        }

        @KafkaListener(id = "letters", topics = "#{__listener.topicName()}-dlt")
        public void letters(ConsumerRecord<String, String> record) {
            dead.add(record);
        }
    }

    @Configuration
    @EnableKafka
    @EnableKafkaRetryTopic
    static class RetryBeans extends Shared {
        @Bean
        TaskScheduler scheduler() {
            return new ThreadPoolTaskScheduler();
        }

        @RetryableTopic(attempts = "3", topicSuffixingStrategy = TopicSuffixingStrategy.SUFFIX_WITH_INDEX_VALUE,
            backOff = @org.springframework.kafka.annotation.BackOff(delay = 200, multiplier = 2))
        @KafkaListener(id = "retried", topics = "#{__listener.topicName()}")
        public void listen(String value) {
            attempts.merge(value, 1, Integer::sum);
            if (value.equals("4")) throw new IllegalStateException("refused " + value);
            seen.add(value);
        }

        @DltHandler
        public void letters(ConsumerRecord<String, String> record) {
            dead.add(record);
        }
    }

    @Configuration
    @EnableKafka
    static class ReplyBeans extends Shared {
        @Bean
        NewTopic replies() {
            return TopicBuilder.name(prefix + "-replies").partitions(2).replicas(1).build();
        }

        @Bean
        ReplyingKafkaTemplate<String, String, String> replying(ConcurrentKafkaListenerContainerFactory<String, String> factory) {
            var container = factory.createContainer(prefix + "-replies");
            container.getContainerProperties().setGroupId(prefix + "-replies");
            return new ReplyingKafkaTemplate<>(producers(), container);
        }

        @Override
        void customize(ConcurrentKafkaListenerContainerFactory<String, String> factory) {
            factory.setReplyTemplate(template());
        }

        @KafkaListener(id = "server", idIsGroup = false, topics = "#{__listener.topicName()}")
        @SendTo
        public String answer(String value) {
            return "reply " + value;
        }
    }

    @Configuration
    @EnableKafka
    static class BatchBeans extends Shared {
        @Override
        void customize(ConcurrentKafkaListenerContainerFactory<String, String> factory) {
            factory.setBatchListener(true);
            factory.getContainerProperties().setAckMode(ContainerProperties.AckMode.MANUAL);
        }

        @KafkaListener(id = "batches", idIsGroup = false, topics = "#{__listener.topicName()}")
        public void listen(List<String> values, Acknowledgment acknowledgment) {
            seen.addAll(values);
            acknowledgment.acknowledge();
        }
    }

    @Configuration
    @EnableKafka
    static class ShareBeans extends Shared {
        @Bean
        ShareConsumerFactory<String, String> sharing() {
            return new DefaultShareConsumerFactory<>(consuming());
        }

        @Bean
        ShareKafkaListenerContainerFactory<String, String> shareFactory() {
            var factory = new ShareKafkaListenerContainerFactory<>(sharing());
            factory.setAutoStartup(false);
            return factory;
        }

        @KafkaListener(id = "shared", containerFactory = "shareFactory", topics = "#{__listener.topicName()}", groupId = "#{__listener.topicName()}")
        public void listen(ConsumerRecord<String, String> record) {
            seen.add(record.value());
        }
    }

    // ----- parts

    static GenericApplicationContext context(Class<?> beans) {
        return new AnnotationConfigApplicationContext(beans);
    }

    @SuppressWarnings("unchecked")
    static void send(GenericApplicationContext context, int count) throws Exception {
        var template = (KafkaTemplate<String, String>) context.getBean("template");
        for (int n = 0; n < count; n++) template.send(prefix, "k" + n, "" + n).get(60, TimeUnit.SECONDS);
    }

    static Set<String> numbers(int from, int to, java.util.function.IntPredicate which) {
        var numbers = new TreeSet<String>();
        for (int n = from; n < to; n++) if (which.test(n)) numbers.add("" + n);
        return numbers;
    }

    static void expect(Set<String> values) throws Exception {
        var got = new TreeSet<String>();
        while (got.size() < values.size()) {
            var value = seen.poll(60, TimeUnit.SECONDS);
            check(value != null, "only " + got + " of " + values);
            got.add(value);
        }
        same(got, values);
    }

    static String header(ConsumerRecord<?, ?> record, String name) {
        return new String(record.headers().lastHeader(name).value());
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void same(Object got, Object wanted) {
        check(java.util.Objects.equals(got, wanted), "seen " + got + ", expected " + wanted);
    }
}
