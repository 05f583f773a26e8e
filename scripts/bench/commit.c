/* Commits offsets over many connections: rate and time to the answer.
 *
 *   commit HOST PORT SECONDS UNDER_WAY TOPIC GROUP...
 *
 * One connection for each group, with UNDER_WAY requests under way: 1 as by commitSync, more as by a consumer that calls commitAsync
 * after every poll. The broker must coordinate all of the groups. Every request is an OffsetCommit 7 of one partition of the
 * topic by nobody's member, as tools and consumers with partitions of their own choice send it. Prints one JSON object; an answer that
 * is not "no error" ends it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_MAX = 1024, UNDER_WAY_MAX = 16, SAMPLES_MAX = 64 * 1024 * 1024, EVENTS_MAX = 256, SILENCE_MS = 10000 };

struct connection {
    int socket;
    unsigned char request[REQUEST_MAX], wave[UNDER_WAY_MAX * REQUEST_MAX], answers[UNDER_WAY_MAX * REQUEST_MAX];
    size_t length, offset_at, got;
    /* How many were sent and answered; when each of those under way was sent, by its number. */
    int64_t sent, answered, sent_at[UNDER_WAY_MAX];
};

static void die(const char *what, const char *why) {
    fprintf(stderr, "commit: %s: %s\n", what, why);
    exit(2);
}

static int64_t micros_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void put(struct connection *c, uint64_t value, int bytes) {
    if (c->length + (size_t)bytes > REQUEST_MAX) die("request", "names are too long");
    for (int i = bytes - 1; i >= 0; i--) c->request[c->length++] = (unsigned char)(value >> (8 * i));
}

static void put_text(struct connection *c, const char *text) {
    size_t length = strlen(text);
    put(c, length, 2);
    if (c->length + length > REQUEST_MAX) die("request", "names are too long");
    memcpy(c->request + c->length, text, length);
    c->length += length;
}

static void prepare(struct connection *c, const char *topic, const char *group) {
    put(c, 0, 4); /* the length, known at the end */
    put(c, 8, 2);
    put(c, 7, 2);
    put(c, 1, 4);
    put_text(c, "commit");
    put_text(c, group);
    put(c, (uint64_t)-1, 4); /* generation */
    put_text(c, "");         /* member */
    put(c, (uint64_t)-1, 2); /* no instance */
    put(c, 1, 4);
    put_text(c, topic);
    put(c, 1, 4);
    put(c, 0, 4); /* partition */
    c->offset_at = c->length;
    put(c, 0, 8);
    put(c, (uint64_t)-1, 4); /* leader epoch */
    put_text(c, "");         /* metadata */
    size_t whole = c->length;
    c->length = 0;
    put(c, whole - 4, 4);
    c->length = whole;
}

static void dial(struct connection *c, const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die(host, "want an IPv4 address");
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (c->socket < 0 || connect(c->socket, (struct sockaddr *)&address, sizeof address)) die("connect", strerror(errno));
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void send_next(struct connection *c, int count) {
    size_t length = 0;
    int64_t now = micros_now();
    for (int one = 0; one < count; one++) {
        c->sent_at[c->sent++ % UNDER_WAY_MAX] = now;
        for (int i = 0; i < 8; i++) c->request[c->offset_at + (size_t)i] = (unsigned char)((uint64_t)c->sent >> (8 * (7 - i)));
        memcpy(c->wave + length, c->request, c->length);
        length += c->length;
    }
    for (size_t at = 0; at < length;) {
        ssize_t sent = send(c->socket, c->wave + at, length - at, MSG_NOSIGNAL);
        if (sent <= 0) die("send", strerror(errno));
        at += (size_t)sent;
    }
}

/* Takes a whole answer away from the front, whose last two bytes are the partition's error; 0 if there is none. */
static int take(struct connection *c) {
    const unsigned char *answer = c->answers;
    if (c->got < 4) return 0;
    size_t length = ((size_t)answer[0] << 24 | (size_t)answer[1] << 16 | (size_t)answer[2] << 8 | answer[3]) + 4;
    if (length > REQUEST_MAX) die("answer", "longer than any answer to this");
    if (c->got < length) return 0;
    int error = answer[length - 2] << 8 | answer[length - 1];
    if (error) {
        char code[16];
        snprintf(code, sizeof code, "error %d", error);
        die("answer", code);
    }
    c->got -= length;
    memmove(c->answers, c->answers + length, c->got);
    return 1;
}

static void receive(struct connection *c) {
    ssize_t got = recv(c->socket, c->answers + c->got, sizeof c->answers - c->got, 0);
    if (got <= 0) die("receive", got ? strerror(errno) : "the broker closed the connection");
    c->got += (size_t)got;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    if (count < 7) die("usage", "commit HOST PORT SECONDS UNDER_WAY TOPIC GROUP...");
    int connections = count - 6, each = atoi(arguments[4]), epoll = epoll_create1(0);
    if (each < 1 || each > UNDER_WAY_MAX) die("usage", "UNDER_WAY is from 1 to 16");
    struct connection *all = calloc((size_t)connections, sizeof *all);
    uint32_t *micros = malloc(SAMPLES_MAX * sizeof *micros);
    if (!all || !micros || epoll < 0) die("begin", strerror(errno));
    for (int i = 0; i < connections; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &all[i]};
        prepare(&all[i], arguments[5], arguments[6 + i]);
        dial(&all[i], arguments[1], atoi(arguments[2]));
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket, &wanted)) die("epoll", strerror(errno));
    }
    int64_t begin = micros_now(), end = begin + (int64_t)(atof(arguments[3]) * 1e6), now = begin;
    size_t done = 0;
    for (int i = 0; i < connections; i++) send_next(&all[i], each);
    for (int under_way = connections * each; under_way;) {
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(epoll, events, EVENTS_MAX, SILENCE_MS);
        if (ready <= 0) die("wait", ready ? strerror(errno) : "no answer for ten seconds");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            int answers = 0;
            receive(c);
            now = micros_now();
            for (; take(c); answers++) {
                if (done == SAMPLES_MAX) die("samples", "more answers than can be kept");
                micros[done++] = (uint32_t)(now - c->sent_at[c->answered++ % UNDER_WAY_MAX]);
            }
            if (now < end) send_next(c, answers);
            else under_way -= answers;
        }
    }
    qsort(micros, done, sizeof *micros, by_value);
    double span = (double)(now - begin) / 1e6;
    printf("{\"commits\": %zu, \"commits_per_s\": %.0f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n", done, (double)done / span,
           micros[done / 2] / 1000.0, micros[(size_t)((double)(done - 1) * .99)] / 1000.0);
    return 0;
}
