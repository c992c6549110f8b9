import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.kafka.KafkaConstants;
import org.apache.camel.component.kafka.consumer.KafkaManualCommit;
import org.apache.camel.impl.DefaultCamelContext;

/** Copies a topic with a route that commits by hand after each batch's last record was sent. */
public class CamelCopy extends RouteBuilder {
    private static String bootstrap, name, source, sink;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        name = args[1];
        source = args[2];
        sink = args[3];
        var context = new DefaultCamelContext();
        context.addRoutes(new CamelCopy());
        context.start();
        Runtime.getRuntime().addShutdownHook(new Thread(context::stop));
        Thread.currentThread().join();
    }

    @Override
    public void configure() {
        fromF("kafka:%s?brokers=%s&groupId=%s&autoOffsetReset=earliest&autoCommitEnable=false&allowManualCommit=true"
                + "&sessionTimeoutMs=6000&heartbeatIntervalMs=500&consumersCount=2&breakOnFirstError=true"
                + "&pollOnError=RECONNECT", source, bootstrap, name)
            .toF("kafka:%s?brokers=%s", sink, bootstrap)
            .process(exchange -> {
                if (exchange.getIn().getHeader(KafkaConstants.LAST_RECORD_BEFORE_COMMIT, true, Boolean.class)) {
                    exchange.getIn().getHeader(KafkaConstants.MANUAL_COMMIT, KafkaManualCommit.class).commit();
                }
            });
    }
}
