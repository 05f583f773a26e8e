import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.requests.MetadataRequest;
import org.apache.kafka.common.requests.MetadataResponse;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.requests.ResponseHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Runs every check of Apache Kafka's Java client in one process, since a process costs more than its checks.
 * Arguments: bootstrap list, number of nodes. Prints `ok NAME` or `failed NAME: why` for each check; exits with 1 if one failed.
 * test_java.py reads the names off the lines that begin with `check("`.
 */
public final class ClientChecks {
    private static final Duration WAIT = Duration.ofSeconds(30);
    private static final int LARGEST_VALUE = 1_048_588 - 72;

    private interface Body {
        void run() throws Exception;
    }

    private final String bootstrap;
    private final int nodes;
    private final short copies;
    private final Admin admin;
    private final Set<String> topics = new TreeSet<>();
    private int failures;

    private ClientChecks(String bootstrap, int nodes) {
        this.bootstrap = bootstrap;
        this.nodes = nodes;
        this.copies = (short) Math.min(3, nodes);
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) throws Exception {
        ClientChecks checks = new ClientChecks(arguments[0], Integer.parseInt(arguments[1]));
        try {
            checks.all();
        } finally {
            checks.close();
        }
        System.exit(checks.failures == 0 ? 0 : 1);
    }

    private void all() {
        check("codec_none", () -> codec("none"));
        check("codec_gzip", () -> codec("gzip"));
        check("codec_snappy", () -> codec("snappy"));
        check("codec_lz4", () -> codec("lz4"));
        check("codec_zstd", () -> codec("zstd"));
        check("acks_zero_one_and_all", this::acks);
        check("idempotent_producer_under_load", this::idempotentLoad);
        check("headers_and_tombstones", this::headersAndTombstones);
        check("timestamps", this::timestamps);
        check("from_the_end", this::fromTheEnd);
        check("offset_out_of_range", this::outOfRange);
        check("largest_record", this::largestRecord);
        check("record_too_large", this::recordTooLarge);
        check("many_partitions_at_once", this::manyPartitions);
        check("recreated_topic", this::recreatedTopic);
        check("recreated_topic_under_a_living_producer", this::recreatedUnderProducer);
        check("refused_topics", this::refusedTopics);
        check("topic_described_by_name_and_id", this::described);
        check("topic_configs", this::configs);
        check("list_offsets", this::listOffsets);
        check("cluster_description", this::clusterDescription);
        check("quorum_description", this::quorumDescription);
    }

    private void check(String name, Body body) {
        try {
            body.run();
            System.out.println("ok " + name);
        } catch (Throwable failure) {
            failures++;
            System.out.println("failed " + name + ": " + failure);
            failure.printStackTrace();
        }
        System.out.flush();
    }

    private void codec(String codec) throws Exception {
        String topic = create(1, Map.of());
        List<byte[]> values = lines(2000);
        produce(topic, values, Map.of("compression.type", codec, "linger.ms", "5", "batch.size", "8192"));
        same(values, values(read(topic, 0, 2000)));
    }

    private void acks() throws Exception {
        for (String acks : List.of("0", "1", "all")) {
            String topic = create(1, Map.of());
            List<byte[]> values = lines(100);
            produce(topic, values, Map.of("acks", acks, "enable.idempotence", "false"));
            same(values, values(read(topic, 0, 100)));
        }
    }

    private void idempotentLoad() throws Exception {
        String topic = create(1, Map.of());
        List<byte[]> values = lines(50_000);
        produce(topic, values, Map.of("acks", "all", "enable.idempotence", "true", "batch.size", "4096"));
        same(values, values(read(topic, 0, 50_000)));
    }

    private void headersAndTombstones() throws Exception {
        String topic = create(1, Map.of("cleanup.policy", "compact"));
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, 0, bytes("k"), bytes("v"));
            record.headers().add("a", bytes("1")).add("b", null).add("a", new byte[0]);
            get(producer.send(record));
            get(producer.send(new ProducerRecord<>(topic, 0, bytes("k"), null)));
        }
        List<ConsumerRecord<byte[], byte[]>> records = read(topic, 0, 2);
        List<RecordHeader> expected = List.of(
            new RecordHeader("a", bytes("1")), new RecordHeader("b", (byte[]) null), new RecordHeader("a", new byte[0]));
        equal(expected, Arrays.asList(records.get(0).headers().toArray()));
        equal(null, records.get(1).value());
        equal("k", new String(records.get(1).key(), StandardCharsets.UTF_8));
    }

    private void timestamps() throws Exception {
        String topic = create(1, Map.of());
        long first = System.currentTimeMillis() - 100_000;
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (int number = 0; number < 50; number++) {
                producer.send(new ProducerRecord<>(topic, 0, first + number * 1000L, null, bytes("" + number)));
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, first + 29_500)).get(partition);
            equal(30L, found.offset());
            equal(first + 30_000, found.timestamp());
            equal(null, consumer.offsetsForTimes(Map.of(partition, first + 50_000)).get(partition));
        }
        equal(first + 30_000, read(topic, 30, 20).get(0).timestamp());
    }

    private void fromTheEnd() throws Exception {
        String topic = create(1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        produce(topic, lines(10), Map.of());
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seekToEnd(List.of(partition));
            equal(10L, consumer.position(partition));
            produce(topic, List.of(bytes("new")), Map.of());
            equal(10L, take(consumer, 1).get(0).offset());
        }
    }

    private void outOfRange() throws Exception {
        String topic = create(1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("auto.offset.reset", "none"))) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1000);
            thrown(OffsetOutOfRangeException.class, () -> take(consumer, 1));
        }
    }

    private void largestRecord() throws Exception {
        String topic = create(1, Map.of());
        List<byte[]> values = List.of(noise(LARGEST_VALUE), noise(LARGEST_VALUE));
        produce(topic, values, Map.of("max.request.size", "3000000"));
        same(values, values(read(topic, 0, 2)));
    }

    private void recordTooLarge() throws Exception {
        String topic = create(1, Map.of());
        thrown(RecordTooLargeException.class,
            () -> produce(topic, List.of(noise(LARGEST_VALUE + 1)), Map.of("max.request.size", "3000000")));
        produce(topic, lines(1), Map.of());
        equal(1, read(topic, 0, 1).size());
    }

    private void manyPartitions() throws Exception {
        String topic = create(12, Map.of());
        List<TopicPartition> partitions =
            IntStream.range(0, 12).mapToObj(index -> new TopicPartition(topic, index)).collect(Collectors.toList());
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("linger.ms", "2"))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < 12_000; number++) {
                sent.add(producer.send(new ProducerRecord<>(topic, number % 12, null, bytes("" + number))));
            }
            for (Future<RecordMetadata> future : sent) {
                get(future);
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long[] next = new long[12];
            for (ConsumerRecord<byte[], byte[]> record : take(consumer, 12_000)) {
                equal("" + (next[record.partition()]++ * 12 + record.partition()), new String(record.value(), StandardCharsets.UTF_8));
            }
        }
    }

    private void recreatedTopic() throws Exception {
        String topic = create(1, Map.of());
        produce(topic, lines(100), Map.of());
        delete(topic);
        createNamed(topic, 1, Map.of());
        produce(topic, List.of(bytes("new")), Map.of());
        same(List.of(bytes("new")), values(read(topic, 0, 1)));
    }

    private void recreatedUnderProducer() throws Exception {
        String topic = create(1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("enable.idempotence", "false", "metadata.max.age.ms", "500"))) {
            get(producer.send(new ProducerRecord<>(topic, 0, null, bytes("old"))));
            delete(topic);
            createNamed(topic, 1, Map.of());
            get(producer.send(new ProducerRecord<>(topic, 0, null, bytes("new"))));
        }
        same(List.of(bytes("new")), values(read(topic, 0, 1)));
    }

    private void refusedTopics() throws Exception {
        String topic = create(1, Map.of());
        thrown(TopicExistsException.class, () -> createTopic(new NewTopic(topic, 1, copies)));
        thrown(InvalidReplicationFactorException.class, () -> createTopic(new NewTopic(topic + "-many", 1, (short) (nodes + 1))));
        thrown(InvalidConfigurationException.class,
            () -> createTopic(new NewTopic(topic + "-bad", 1, copies).configs(Map.of("no.such.key", "1"))));
        thrown(UnknownTopicOrPartitionException.class, () -> get(admin.deleteTopics(List.of(topic + "-absent")).all()));
    }

    private void described() throws Exception {
        String topic = create(4, Map.of());
        TopicDescription byName = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        equal(4, byName.partitions().size());
        byName.partitions().forEach(partition -> equal((int) copies, partition.replicas().size()));
        TopicDescription byId = get(
            admin.describeTopics(TopicCollection.ofTopicIds(List.of(byName.topicId()))).allTopicIds()).get(byName.topicId());
        equal(topic, byId.name());
        delete(topic);
        thrown(UnknownTopicIdException.class, () -> get(
            admin.describeTopics(TopicCollection.ofTopicIds(List.of(byName.topicId()))).allTopicIds()));
    }

    private void configs() throws Exception {
        String topic = create(1, Map.of("retention.ms", "7200000"));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
        equal("7200000", config.get("retention.ms").value());
        equal(false, config.get("retention.ms").isDefault());
        equal("1048588", config.get("max.message.bytes").value());
        equal("delete", config.get("cleanup.policy").value());
    }

    private void listOffsets() throws Exception {
        String topic = create(1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        long first = System.currentTimeMillis() - 100_000;
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (long timestamp : new long[] {first, first + 9000, first + 3000}) {
                producer.send(new ProducerRecord<>(topic, 0, timestamp, null, bytes("v")));
            }
        }
        equal(0L, get(admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).all()).get(partition).offset());
        equal(3L, get(admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all()).get(partition).offset());
        equal(1L, get(admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).all()).get(partition).offset());
        equal(1L, get(admin.listOffsets(Map.of(partition, OffsetSpec.forTimestamp(first + 1))).all()).get(partition).offset());
    }

    private void clusterDescription() throws Exception {
        var cluster = admin.describeCluster();
        equal(nodes, get(cluster.nodes()).size());
        equal(true, get(cluster.nodes()).contains(get(cluster.controller())));
        equal(false, get(cluster.clusterId()).isEmpty());
    }

    private void quorumDescription() throws Exception {
        QuorumInfo quorum = get(admin.describeMetadataQuorum().quorumInfo());
        Set<Integer> voters = quorum.voters().stream().map(QuorumInfo.ReplicaState::replicaId).collect(Collectors.toSet());
        equal(nodes, voters.size());
        equal(true, voters.contains(quorum.leaderId()));
        equal(true, quorum.highWatermark() > 0);
    }

    // What the checks are made of.

    private KafkaProducer<byte[], byte[]> producer(Map<String, String> settings) {
        Map<String, Object> all = new java.util.HashMap<>(settings);
        all.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, String> settings) {
        Map<String, Object> all = new java.util.HashMap<>(settings);
        all.put("bootstrap.servers", bootstrap);
        all.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void produce(String topic, List<byte[]> values, Map<String, String> settings) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (byte[] value : values) {
                sent.add(producer.send(new ProducerRecord<>(topic, 0, null, value)));
            }
            for (Future<RecordMetadata> future : sent) {
                get(future);
            }
        }
    }

    private List<ConsumerRecord<byte[], byte[]>> read(String topic, long from, int count) {
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, from);
            List<ConsumerRecord<byte[], byte[]>> records = take(consumer, count);
            equal(from + count, consumer.endOffsets(Set.of(partition)).get(partition));
            equal(count, records.size());
            for (int index = 0; index < count; index++) {
                equal(from + index, records.get(index).offset());
            }
            return records;
        }
    }

    private List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long end = System.nanoTime() + WAIT.toNanos();
        while (records.size() < count) {
            if (System.nanoTime() > end) {
                throw new AssertionError("only " + records.size() + " of " + count + " records came");
            }
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        return records;
    }

    private String create(int partitions, Map<String, String> configs) throws Exception {
        String name = "java-" + UUID.randomUUID();
        createNamed(name, partitions, configs);
        return name;
    }

    private void createNamed(String name, int partitions, Map<String, String> configs) throws Exception {
        topics.add(name);
        createTopic(new NewTopic(name, partitions, copies).configs(configs));
        onEveryBroker(name, true);
        // A broker of Apache Kafka shows a leader before that leads. A producer's first batch is refused then and its second
        // taken, after which the first is out of order for ever. A leader that answers ListOffsets leads.
        get(admin.listOffsets(IntStream.range(0, partitions).boxed()
            .collect(Collectors.toMap(index -> new TopicPartition(name, index), index -> OffsetSpec.latest()))).all());
    }

    private void createTopic(NewTopic topic) throws Exception {
        get(admin.createTopics(List.of(topic)).all());
    }

    private void delete(String name) throws Exception {
        get(admin.deleteTopics(List.of(name)).all());
        onEveryBroker(name, false);
    }

    private void onEveryBroker(String name, boolean there) throws Exception {
        long end = System.nanoTime() + WAIT.toNanos();
        for (String address : bootstrap.split(",")) {
            while (topicsKnownTo(address).contains(name) != there) {
                if (System.nanoTime() > end) {
                    throw new AssertionError(name + (there ? " is not known to " : " is still known to ") + address);
                }
                Thread.onSpinWait();
            }
        }
    }

    // An admin client asks whichever broker it likes, so this speaks to the socket itself.
    private static Set<String> topicsKnownTo(String address) throws IOException {
        short version = 12;
        int colon = address.lastIndexOf(':');
        RequestHeader header = new RequestHeader(ApiKeys.METADATA, version, "checks", 1);
        ByteBuffer request = MetadataRequest.Builder.allTopics().build(version).serializeWithHeader(header);
        try (Socket socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)))) {
            DataOutputStream out = new DataOutputStream(socket.getOutputStream());
            byte[] bytes = new byte[request.remaining()];
            request.get(bytes);
            out.writeInt(bytes.length);
            out.write(bytes);
            DataInputStream in = new DataInputStream(socket.getInputStream());
            ByteBuffer answer = ByteBuffer.wrap(in.readNBytes(in.readInt()));
            ResponseHeader.parse(answer, ApiKeys.METADATA.responseHeaderVersion(version));
            return MetadataResponse.parse(new ByteBufferAccessor(answer), version).topicMetadata().stream()
                .filter(topic -> topic.partitionMetadata().stream().allMatch(partition -> partition.leaderId.isPresent()))
                .map(MetadataResponse.TopicMetadata::topic)
                .collect(Collectors.toSet());
        }
    }

    private void close() throws Exception {
        Collection<String> left = get(admin.listTopics().names());
        left.retainAll(topics);
        get(admin.deleteTopics(left).all());
        admin.close();
    }

    private static <T> T get(Future<T> future) throws Exception {
        try {
            return future.get(WAIT.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException failure) {
            throw failure.getCause() instanceof Exception cause ? cause : failure;
        }
    }

    private static void thrown(Class<? extends Exception> kind, Body body) throws Exception {
        try {
            body.run();
        } catch (Exception failure) {
            if (kind.isInstance(failure)) {
                return;
            }
            throw failure;
        }
        throw new AssertionError("no " + kind.getSimpleName());
    }

    private static void equal(Object expected, Object actual) {
        if (!Objects.equals(expected, actual)) {
            throw new AssertionError("expected " + expected + ", found " + actual);
        }
    }

    private static void same(List<byte[]> expected, List<byte[]> actual) {
        equal(expected.size(), actual.size());
        for (int index = 0; index < expected.size(); index++) {
            if (!Arrays.equals(expected.get(index), actual.get(index))) {
                throw new AssertionError("record " + index + " differs");
            }
        }
    }

    private static List<byte[]> values(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(ConsumerRecord::value).collect(Collectors.toList());
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] noise(int size) {
        byte[] value = new byte[size];
        new Random().nextBytes(value);
        return value;
    }

    private static List<byte[]> lines(int count) {
        Random source = new Random(1);
        List<String> words = List.of("leader", "follower", "offset", "epoch", "batch", "segment", "flush", "fence", "image", "quorum");
        return IntStream.range(0, count)
            .mapToObj(number -> number + " " + source.ints(12, 0, 10).mapToObj(words::get).collect(Collectors.joining(" ")))
            .map(ClientChecks::bytes)
            .collect(Collectors.toList());
    }
}
