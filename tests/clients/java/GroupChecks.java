import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Runs every check of classic groups with Apache Kafka's Java client in one process. Arguments: bootstrap list, number of nodes. Prints
 * `ok NAME` or `failed NAME: why` for each check. test_java.py reads the names off the lines that begin with `check("`.
 */
public final class GroupChecks {
    private static final Duration WAIT = Duration.ofSeconds(30);
    private static final String ASSIGNORS = "org.apache.kafka.clients.consumer.";
    private static final int PARTITIONS = 6;

    private interface Body {
        void run() throws Exception;
    }

    private final String bootstrap;
    private final short copies;
    private final Admin admin;
    private final Set<String> topics = new TreeSet<>();
    private final List<Member> members = new ArrayList<>();
    private int failures;

    private GroupChecks(String bootstrap, int nodes) {
        this.bootstrap = bootstrap;
        this.copies = (short) Math.min(3, nodes);
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) throws Exception {
        GroupChecks checks = new GroupChecks(arguments[0], Integer.parseInt(arguments[1]));
        checks.all();
        get(checks.admin.deleteTopics(checks.topics).all());
        checks.admin.close();
        System.exit(checks.failures == 0 ? 0 : 1);
    }

    private void all() {
        check("members_share_by_range", () -> share("RangeAssignor"));
        check("members_share_by_roundrobin", () -> share("RoundRobinAssignor"));
        check("members_share_by_sticky", () -> share("StickyAssignor"));
        check("members_share_by_cooperative_sticky", () -> share("CooperativeStickyAssignor"));
        check("a_static_member_comes_back_unnoticed", this::staticMember);
        check("a_second_holder_of_an_instance_fences_the_first", this::fenced);
        check("who_does_not_poll_is_put_out", this::silent);
        check("a_pattern_takes_in_later_topics", this::pattern);
        check("offsets_are_committed_with_metadata_and_epoch", this::commits);
        check("groups_are_described_in_their_states", this::described);
        check("offsets_are_altered_and_deleted_by_an_administrator", this::offsets);
        check("members_are_removed_by_an_administrator", this::removed);
    }

    private void check(String name, Body body) {
        try {
            body.run();
            System.out.println("ok " + name);
        } catch (Throwable failure) {
            failures++;
            System.out.println("failed " + name + ": " + failure);
            failure.printStackTrace();
        } finally {
            List.copyOf(members).forEach(this::leave);
        }
        System.out.flush();
    }

    /** A consumer in a thread of its own, which commits what it has read before it reads on. */
    private static final class Member implements Runnable, ConsumerRebalanceListener {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Map<TopicPartition, Set<Long>> read;
        private final Map<TopicPartition, Long> committed;
        private final Set<TopicPartition> assigned = ConcurrentHashMap.newKeySet();
        private final AtomicInteger assignments = new AtomicInteger();
        private final Thread thread = new Thread(this);
        private volatile boolean stopped;
        private volatile boolean paused;
        private volatile Exception failure;

        private Member(KafkaConsumer<byte[], byte[]> consumer, Group group) {
            this.consumer = consumer;
            this.read = group.read;
            this.committed = group.committed;
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> more) {
            assigned.addAll(more);
            assignments.incrementAndGet();
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> gone) {
            assigned.removeAll(gone);
        }

        @Override
        public void run() {
            try {
                while (!stopped) {
                    turn();
                    while (paused && !stopped) {
                        Thread.onSpinWait();
                        Thread.sleep(10);
                    }
                }
            } catch (WakeupException expected) {
                assert stopped;
            } catch (Exception cause) {
                failure = cause;
            }
            consumer.close();
        }

        private void turn() {
            Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                TopicPartition place = new TopicPartition(record.topic(), record.partition());
                if (record.offset() < committed.getOrDefault(place, 0L)) {
                    throw new IllegalStateException(place + " was read again at " + record.offset());
                }
                read.computeIfAbsent(place, any -> ConcurrentHashMap.newKeySet()).add(record.offset());
                ends.put(place, new OffsetAndMetadata(record.offset() + 1));
            }
            if (ends.isEmpty()) {
                return;
            }
            try {
                consumer.commitSync(ends);
                ends.forEach((place, end) -> committed.merge(place, end.offset(), Math::max));
            } catch (RebalanceInProgressException again) {
                // Its generation has passed, or will: whoever has the partition then reads it again.
                assigned.isEmpty();
            }
        }
    }

    /** What all members of a group have read and committed for good. */
    private static final class Group {
        private final String name = "group-" + UUID.randomUUID();
        private final Map<TopicPartition, Set<Long>> read = new ConcurrentHashMap<>();
        private final Map<TopicPartition, Long> committed = new ConcurrentHashMap<>();
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, Map<String, String> settings) {
        Map<String, Object> all = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap,
            "group.id", group,
            "enable.auto.commit", "false",
            "auto.offset.reset", "earliest",
            "session.timeout.ms", "30000",
            "heartbeat.interval.ms", "300",
            "metadata.max.age.ms", "500",
            "fetch.max.wait.ms", "50"
        ));
        all.putAll(settings);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private Member join(Group group, String topic, Map<String, String> settings) {
        Member member = new Member(consumer(group.name, settings), group);
        if (topic.startsWith("^")) {
            member.consumer.subscribe(Pattern.compile(topic), member);
        } else {
            member.consumer.subscribe(List.of(topic), member);
        }
        member.thread.start();
        members.add(member);
        return member;
    }

    private void leave(Member member) {
        members.remove(member);
        member.stopped = true;
        member.consumer.wakeup();
        try {
            member.thread.join(WAIT.toMillis());
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }

    private void share(String assignor) throws Exception {
        Group group = new Group();
        Map<String, String> by = Map.of("partition.assignment.strategy", ASSIGNORS + assignor);
        String topic = create(PARTITIONS);
        fill(topic, PARTITIONS, 50);
        Member first = join(group, topic, by);
        join(group, topic, by);
        await("two members share", () -> shared(topic, PARTITIONS));
        join(group, topic, by);
        await("three members share", () -> shared(topic, PARTITIONS));
        fill(topic, PARTITIONS, 50);
        await("everything is read and committed", () -> hasRead(group, topic, PARTITIONS, 100));
        leave(first);
        await("those who stay share", () -> shared(topic, PARTITIONS));
        fill(topic, PARTITIONS, 50);
        await("everything is read and committed", () -> hasRead(group, topic, PARTITIONS, 150));
    }

    private void staticMember() throws Exception {
        Group group = new Group();
        String topic = create(PARTITIONS);
        Member staying = join(group, topic, Map.of("group.instance.id", "staying"));
        Member leaving = join(group, topic, Map.of("group.instance.id", "leaving"));
        await("two members share", () -> shared(topic, PARTITIONS));
        Set<TopicPartition> before = Set.copyOf(leaving.assigned);
        int told = staying.assignments.get();
        leave(leaving);
        Member back = join(group, topic, Map.of("group.instance.id", "leaving"));
        fill(topic, PARTITIONS, 20);
        await("everything is read and committed", () -> hasRead(group, topic, PARTITIONS, 20));
        same(before, Set.copyOf(back.assigned));
        same(told, staying.assignments.get());
    }

    private void fenced() throws Exception {
        Group group = new Group();
        String topic = create(1);
        Member first = join(group, topic, Map.of("group.instance.id", "one"));
        await("the first has it", () -> shared(topic, 1));
        Member second = join(group, topic, Map.of("group.instance.id", "one"));
        await("the first is fenced", () -> first.failure != null);
        same(FencedInstanceIdException.class, first.failure.getClass());
        members.remove(first);
        await("the second has it", () -> second.assigned.size() == 1);
    }

    private void silent() throws Exception {
        Group group = new Group();
        String topic = create(2);
        Member first = join(group, topic, Map.of("max.poll.interval.ms", "3000"));
        await("the first has all", () -> shared(topic, 2));
        first.paused = true;
        Member second = join(group, topic, Map.of());
        await("the second has all", () -> second.assigned.size() == 2);
        // Nor may anybody commit who is no member while the group has some.
        TopicPartition place = new TopicPartition(topic, 0);
        refused(CommitFailedException.class, () -> {
            try (KafkaConsumer<byte[], byte[]> late = consumer(group.name, Map.of())) {
                late.assign(List.of(place));
                late.commitSync(Map.of(place, new OffsetAndMetadata(1)));
            }
        });
        first.paused = false;
        await("both share again", () -> shared(topic, 2));
    }

    private void pattern() throws Exception {
        Group group = new Group();
        String stem = "pattern-" + UUID.randomUUID();
        create(stem + "-1", 2);
        join(group, "^" + stem + "-.*", Map.of());
        await("the first topic", () -> shared(stem + "-1", 2));
        create(stem + "-2", 3);
        await("the second topic", () -> shared(stem + "-2", 3));
        fill(stem + "-2", 3, 10);
        await("everything is read and committed", () -> hasRead(group, stem + "-2", 3, 10));
    }

    private void commits() throws Exception {
        String group = new Group().name;
        String topic = create(2);
        fill(topic, 2, 10);
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        OffsetAndMetadata wanted = new OffsetAndMetadata(7, java.util.Optional.of(0), "note \u00e9");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, Map.of())) {
            consumer.assign(List.of(first, second));
            consumer.commitSync(Map.of(first, wanted));
            same(wanted, consumer.committed(Set.of(first)).get(first));
            same(null, consumer.committed(Set.of(second)).get(second));
            Set<String> done = ConcurrentHashMap.newKeySet();
            consumer.commitAsync(Map.of(second, new OffsetAndMetadata(3)), (offsets, error) -> done.add(String.valueOf(error)));
            await("the answer", () -> {
                consumer.poll(Duration.ofMillis(50));
                return !done.isEmpty();
            });
            same(Set.of("null"), done);
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, Map.of())) {
            consumer.assign(List.of(first, second));
            same(7L, consumer.position(first));
            same(3L, consumer.position(second));
        }
        same(Set.of(first, second), get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).keySet());
    }

    private ConsumerGroupDescription describe(String group) throws Exception {
        return get(admin.describeConsumerGroups(List.of(group)).describedGroups().get(group));
    }

    private void described() throws Exception {
        Group group = new Group();
        refused(GroupIdNotFoundException.class, () -> describe(group.name));
        String topic = create(PARTITIONS);
        join(group, topic, Map.of("client.id", "the-client", "group.instance.id", "the-instance"));
        await("one member has all", () -> shared(topic, PARTITIONS));
        await("it is stable", () -> describe(group.name).groupState() == GroupState.STABLE);
        ConsumerGroupDescription stable = describe(group.name);
        same("range", stable.partitionAssignor());
        same(1, stable.members().size());
        stable.members().forEach(member -> {
            same("the-client", member.clientId());
            same("the-instance", member.groupInstanceId().orElseThrow());
            same(true, member.host().startsWith("/"));
            same(PARTITIONS, member.assignment().topicPartitions().size());
        });
        same(List.of("Stable consumer Classic"), listed(group.name));
        // A member that was in the last generation does not come to the next.
        Member silent = members.get(0);
        silent.paused = true;
        join(group, topic, Map.of());
        await("it is preparing", () -> describe(group.name).groupState() == GroupState.PREPARING_REBALANCE);
        same(List.of("PreparingRebalance consumer Classic"), listed(group.name));
        silent.paused = false;
        await("both share", () -> shared(topic, PARTITIONS));
        fill(topic, PARTITIONS, 1);
        await("everything is committed", () -> hasRead(group, topic, PARTITIONS, 1));
        List.copyOf(members).forEach(this::leave);
        get(admin.removeMembersFromConsumerGroup(group.name, new RemoveMembersFromConsumerGroupOptions()).all());
        same(GroupState.EMPTY, describe(group.name).groupState());
        same(List.of("Empty consumer Classic"), listed(group.name));
        get(admin.deleteConsumerGroups(List.of(group.name)).all());
        refused(GroupIdNotFoundException.class, () -> describe(group.name));
        refused(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroups(List.of(group.name)).all()));
        same(List.of(), listed(group.name));
    }

    private List<String> listed(String group) throws Exception {
        Collection<GroupListing> all = get(admin.listGroups().all());
        return all.stream().filter(one -> one.groupId().equals(group))
            .map(one -> one.groupState().orElseThrow() + " " + one.protocol() + " " + one.type().orElseThrow()).collect(Collectors.toList());
    }

    private void offsets() throws Exception {
        Group group = new Group();
        String topic = create(2);
        fill(topic, 2, 10);
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        Map<TopicPartition, OffsetAndMetadata> wanted = Map.of(first, new OffsetAndMetadata(4), second, new OffsetAndMetadata(5));
        get(admin.alterConsumerGroupOffsets(group.name, wanted).all());
        same(wanted, get(admin.listConsumerGroupOffsets(group.name).partitionsToOffsetAndMetadata()));
        Member member = join(group, topic, Map.of());
        await("the rest is committed", () -> Map.of(first, 10L, second, 10L).equals(group.committed));
        same(6, group.read.get(first).size());
        refused(UnknownMemberIdException.class, () -> get(admin.alterConsumerGroupOffsets(group.name, wanted).all()));
        refused(GroupSubscribedToTopicException.class, () -> get(admin.deleteConsumerGroupOffsets(group.name, Set.of(first)).all()));
        refused(GroupNotEmptyException.class, () -> get(admin.deleteConsumerGroups(List.of(group.name)).all()));
        leave(member);
        get(admin.deleteConsumerGroupOffsets(group.name, Set.of(first)).all());
        same(Set.of(second), get(admin.listConsumerGroupOffsets(group.name).partitionsToOffsetAndMetadata()).keySet());
        refused(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroupOffsets("no-" + group.name, Set.of(first)).all()));
        get(admin.deleteTopics(Set.of(topic)).all());
        topics.remove(topic);
        await("its offsets are forgotten", () -> get(admin.listConsumerGroupOffsets(group.name).partitionsToOffsetAndMetadata()).isEmpty());
    }

    private void removed() throws Exception {
        Group group = new Group();
        String topic = create(2);
        Member first = join(group, topic, Map.of("group.instance.id", "first"));
        Member second = join(group, topic, Map.of("group.instance.id", "second"));
        await("both share", () -> shared(topic, 2));
        leave(first);
        refused(UnknownMemberIdException.class, () -> remove(group.name, "no-such"));
        remove(group.name, "first");
        await("the second has all", () -> second.assigned.size() == 2);
    }

    private void remove(String group, String instance) throws Exception {
        Set<MemberToRemove> whom = Set.of(new MemberToRemove(instance));
        get(admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(whom)).memberResult(whom.iterator().next()));
    }

    /** Whether the living members have all partitions of a topic, each one of them, nobody many more than another. */
    private boolean shared(String topic, int partitions) {
        Set<TopicPartition> all = new HashSet<>();
        TreeSet<Integer> sizes = new TreeSet<>();
        int sum = 0;
        for (Member member : members) {
            if (member.failure != null) {
                throw new IllegalStateException(member.failure);
            }
            Set<TopicPartition> held = member.assigned.stream().filter(one -> one.topic().equals(topic)).collect(Collectors.toSet());
            all.addAll(held);
            sizes.add(held.size());
            sum += held.size();
        }
        return all.size() == partitions && sum == partitions && sizes.last() - sizes.first() <= 1;
    }

    private boolean hasRead(Group group, String topic, int partitions, long count) {
        members.stream().filter(member -> member.failure != null).forEach(member -> {
            throw new IllegalStateException(member.failure);
        });
        return IntStream.range(0, partitions).mapToObj(index -> new TopicPartition(topic, index))
            .allMatch(place -> group.committed.getOrDefault(place, 0L) == count && group.read.get(place).size() == count);
    }

    private String create(int partitions) throws Exception {
        return create("java-group-" + UUID.randomUUID(), partitions);
    }

    private String create(String name, int partitions) throws Exception {
        get(admin.createTopics(List.of(new NewTopic(name, partitions, copies))).all());
        topics.add(name);
        // A broker of Apache Kafka names a leader before that leads.
        Map<TopicPartition, OffsetSpec> latest = IntStream.range(0, partitions).boxed()
            .collect(Collectors.toMap(index -> new TopicPartition(name, index), index -> OffsetSpec.latest()));
        await("its leaders lead", () -> {
            try {
                return get(admin.listOffsets(latest).all()).size() == partitions;
            } catch (ExecutionException notYet) {
                return false;
            }
        });
        return name;
    }

    private void fill(String topic, int partitions, int count) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", "all");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<?>> sent = new ArrayList<>();
            for (int partition = 0; partition < partitions; partition++) {
                for (int number = 0; number < count; number++) {
                    sent.add(producer.send(new ProducerRecord<>(topic, partition, null, new byte[10])));
                }
            }
            for (Future<?> one : sent) {
                get(one);
            }
        }
    }

    private static <T> T get(Future<T> future) throws Exception {
        return future.get(WAIT.toSeconds(), TimeUnit.SECONDS);
    }

    private static void await(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + WAIT.toNanos();
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("waited in vain: " + what);
            }
            Thread.sleep(20);
        }
    }

    private static void refused(Class<? extends Exception> expected, Body body) throws Exception {
        try {
            body.run();
        } catch (Exception failure) {
            Throwable cause = failure instanceof ExecutionException ? failure.getCause() : failure;
            if (expected.isInstance(cause) || expected.isInstance(cause.getCause())) {
                return;
            }
            throw failure;
        }
        throw new AssertionError("no " + expected.getSimpleName());
    }

    private static void same(Object expected, Object found) {
        if (!java.util.Objects.equals(expected, found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }
}
