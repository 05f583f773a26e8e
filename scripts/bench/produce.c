/* A producer on librdkafka that measures: throughput, time to acknowledgement, longest pause between two acknowledgements.
 *
 *   produce BOOTSTRAP TOPIC [key=value ...]
 *
 * Keys of its own: size (bytes, 1024), seconds (10), rate (records/s, 0 = as fast as it goes), keys (distinct keys, 0 = none),
 * partition (-1 = the partitioner's choice), sample (text file that records are cut from; required). Every other key is a
 * setting of librdkafka. Prints one JSON object. Time counts from the call of produce to the delivery report, so linger counts. */
#include <librdkafka/rdkafka.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES_MAX = 64 * 1024 * 1024 };

struct tally {
    uint32_t *micros; /* time to acknowledgement, one per acknowledged record */
    size_t acked, capacity, failed;
    int64_t first_ack, last_ack, longest_pause;
};

static int64_t micros_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what, const char *why) {
    fprintf(stderr, "produce: %s: %s\n", what, why);
    exit(2);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    struct tally *tally = opaque;
    int64_t now = micros_now();
    (void)client;
    if (message->err) {
        tally->failed++;
        return;
    }
    if (tally->last_ack && now - tally->last_ack > tally->longest_pause) tally->longest_pause = now - tally->last_ack;
    if (!tally->first_ack) tally->first_ack = now;
    tally->last_ack = now;
    if (tally->acked == tally->capacity) {
        tally->capacity = tally->capacity ? tally->capacity * 2 : 1 << 20;
        if (tally->capacity > SAMPLES_MAX) die("samples", "more acknowledgements than can be kept");
        tally->micros = realloc(tally->micros, tally->capacity * sizeof *tally->micros);
        if (!tally->micros) die("samples", "out of memory");
    }
    tally->micros[tally->acked++] = (uint32_t)(now - (int64_t)(intptr_t)message->_private);
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_ms(const struct tally *tally, double q) {
    return tally->acked ? tally->micros[(size_t)((double)(tally->acked - 1) * q)] / 1000.0 : -1;
}

static char *read_sample(const char *path, size_t *length) {
    FILE *file = path ? fopen(path, "rb") : NULL;
    if (!file) die("sample", path ? path : "name a text file");
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*length);
    if (!text || fread(text, 1, *length, file) != *length) die("sample", "cannot be read");
    fclose(file);
    return text;
}

int main(int count, char **arguments) {
    char error[512];
    long size = 1024, keys = 0;
    double seconds = 10, rate = 0;
    int partition = RD_KAFKA_PARTITION_UA;
    const char *sample = NULL;
    struct tally tally = {0};
    rd_kafka_conf_t *settings = rd_kafka_conf_new();
    if (count < 3) die("usage", "produce BOOTSTRAP TOPIC [key=value ...]");
    const char *defaults[][2] = {
        {"bootstrap.servers", arguments[1]}, {"acks", "all"}, {"queue.buffering.max.messages", "200000"}, {"message.timeout.ms", "60000"}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (rd_kafka_conf_set(settings, defaults[i][0], defaults[i][1], error, sizeof error)) die(defaults[i][0], error);
    for (int i = 3; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value) die(arguments[i], "want key=value");
        *value++ = 0;
        if (!strcmp(arguments[i], "size")) size = atol(value);
        else if (!strcmp(arguments[i], "seconds")) seconds = atof(value);
        else if (!strcmp(arguments[i], "rate")) rate = atof(value);
        else if (!strcmp(arguments[i], "keys")) keys = atol(value);
        else if (!strcmp(arguments[i], "partition")) partition = atoi(value);
        else if (!strcmp(arguments[i], "sample")) sample = value;
        else if (rd_kafka_conf_set(settings, arguments[i], value, error, sizeof error)) die(arguments[i], error);
    }
    rd_kafka_conf_set_opaque(settings, &tally);
    rd_kafka_conf_set_dr_msg_cb(settings, on_delivery);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, settings, error, sizeof error);
    if (!client) die("client", error);
    size_t text_length, at = 0;
    char *text = read_sample(sample, &text_length), key[24];
    if ((size_t)size > text_length) die("sample", "shorter than one record");
    int64_t begin = micros_now(), end = begin + (int64_t)(seconds * 1e6), sent = 0;
    while (micros_now() < end) {
        int64_t now = micros_now();
        if (rate > 0 && sent >= (int64_t)((double)(now - begin) * rate / 1e6)) {
            rd_kafka_poll(client, 1);
            continue;
        }
        if (at + (size_t)size > text_length) at = 0;
        int key_length = keys ? snprintf(key, sizeof key, "%ld", (long)(sent * 7919 % keys)) : 0;
        rd_kafka_resp_err_t outcome = rd_kafka_producev(
            client, RD_KAFKA_V_TOPIC(arguments[2]), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_VALUE(text + at, (size_t)size),
            RD_KAFKA_V_KEY(keys ? key : NULL, (size_t)key_length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_OPAQUE((void *)(intptr_t)now), RD_KAFKA_V_END);
        if (outcome == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            rd_kafka_poll(client, 5);
            continue;
        }
        if (outcome) die("produce", rd_kafka_err2str(outcome));
        sent++;
        at += (size_t)size;
        if ((sent & 255) == 0) rd_kafka_poll(client, 0);
    }
    rd_kafka_flush(client, 60000);
    double span = (double)(tally.last_ack - begin) / 1e6;
    if (tally.acked) qsort(tally.micros, tally.acked, sizeof *tally.micros, by_value);
    printf("{\"sent\": %lld, \"acked\": %zu, \"failed\": %zu, \"mb_per_s\": %.2f, \"records_per_s\": %.0f, \"first_ack_ms\": %.1f, "
           "\"p50_ms\": %.2f, \"p99_ms\": %.2f, \"p999_ms\": %.2f, \"max_ms\": %.2f, \"longest_pause_ms\": %.1f}\n",
           (long long)sent, tally.acked, tally.failed, span > 0 ? (double)tally.acked * (double)size / span / 1e6 : 0,
           span > 0 ? (double)tally.acked / span : 0, (double)(tally.first_ack - begin) / 1000.0, quantile_ms(&tally, .5),
           quantile_ms(&tally, .99), quantile_ms(&tally, .999), quantile_ms(&tally, 1), (double)tally.longest_pause / 1000.0);
    rd_kafka_destroy(client);
    return tally.acked == 0 || tally.failed > 0;
}
