/* Commits offsets over many connections, each with one request under way: rate and time to the answer.
 *
 *   commit HOST PORT SECONDS TOPIC GROUP...
 *
 * One connection for each group; the broker must coordinate all of them. Every request is an OffsetCommit 7 of one partition of the
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

enum { REQUEST_MAX = 1024, SAMPLES_MAX = 64 * 1024 * 1024, EVENTS_MAX = 256, SILENCE_MS = 10000 };

struct connection {
    int socket;
    unsigned char request[REQUEST_MAX], answer[REQUEST_MAX];
    size_t length, offset_at, got;
    int64_t sent_at, offset;
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

static void send_next(struct connection *c) {
    c->offset++;
    for (int i = 0; i < 8; i++) c->request[c->offset_at + (size_t)i] = (unsigned char)((uint64_t)c->offset >> (8 * (7 - i)));
    c->got = 0;
    c->sent_at = micros_now();
    for (size_t at = 0; at < c->length;) {
        ssize_t sent = send(c->socket, c->request + at, c->length - at, MSG_NOSIGNAL);
        if (sent <= 0) die("send", strerror(errno));
        at += (size_t)sent;
    }
}

/* Whether the answer is whole; its last two bytes are the partition's error. */
static int receive(struct connection *c) {
    ssize_t got = recv(c->socket, c->answer + c->got, REQUEST_MAX - c->got, 0);
    if (got <= 0) die("receive", got ? strerror(errno) : "the broker closed the connection");
    c->got += (size_t)got;
    if (c->got < 4) return 0;
    size_t length = (size_t)c->answer[0] << 24 | (size_t)c->answer[1] << 16 | (size_t)c->answer[2] << 8 | c->answer[3];
    if (length + 4 > REQUEST_MAX) die("answer", "longer than any answer to this");
    if (c->got < length + 4) return 0;
    int error = c->answer[c->got - 2] << 8 | c->answer[c->got - 1];
    if (error) {
        char code[16];
        snprintf(code, sizeof code, "error %d", error);
        die("answer", code);
    }
    return 1;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    if (count < 6) die("usage", "commit HOST PORT SECONDS TOPIC GROUP...");
    int connections = count - 5, epoll = epoll_create1(0);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    uint32_t *micros = malloc(SAMPLES_MAX * sizeof *micros);
    if (!all || !micros || epoll < 0) die("begin", strerror(errno));
    for (int i = 0; i < connections; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &all[i]};
        prepare(&all[i], arguments[4], arguments[5 + i]);
        dial(&all[i], arguments[1], atoi(arguments[2]));
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket, &wanted)) die("epoll", strerror(errno));
    }
    int64_t begin = micros_now(), end = begin + (int64_t)(atof(arguments[3]) * 1e6), now = begin;
    size_t done = 0;
    for (int i = 0; i < connections; i++) send_next(&all[i]);
    for (int under_way = connections; under_way;) {
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(epoll, events, EVENTS_MAX, SILENCE_MS);
        if (ready <= 0) die("wait", ready ? strerror(errno) : "no answer for ten seconds");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c)) continue;
            now = micros_now();
            if (done == SAMPLES_MAX) die("samples", "more answers than can be kept");
            micros[done++] = (uint32_t)(now - c->sent_at);
            if (now < end) send_next(c);
            else under_way--;
        }
    }
    qsort(micros, done, sizeof *micros, by_value);
    double span = (double)(now - begin) / 1e6;
    printf("{\"commits\": %zu, \"commits_per_s\": %.0f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n", done, (double)done / span,
           micros[done / 2] / 1000.0, micros[(size_t)((double)(done - 1) * .99)] / 1000.0);
    return 0;
}
