/* What recording costs a caller of the finished library, and what waiting costs memory.
 *
 *   cargo build -p wakeline-mobile --profile mobile --no-default-features
 *   cc -O2 -I sdk-mobile/include sdk-mobile/benches/record.c -L target/mobile -lwakeline_mobile -o record
 *   export LD_LIBRARY_PATH=target/mobile
 *   ./record calls FOLDER; ./record queued FOLDER; ./record burst FOLDER
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "wakeline.h"

#define CALLS 10000

static const char *EVENT =
    "{\"type\":\"custom\",\"name\":\"variant_selected\",\"properties\":{\"position\":7,\"label\":\"cast iron\",\"price\":24.5,"
    "\"in_stock\":true,\"list\":\"recommendations\"}}";

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b) {
  double one = *(const double *)a, other = *(const double *)b;
  return (one > other) - (one < other);
}

/* Of this process, in KiB. */
static long resident(void) {
  char line[256];
  long kib = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status != NULL && fgets(line, sizeof line, status) != NULL) {
    if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
  }
  if (status != NULL) fclose(status);
  return kib;
}

static wakeline *open_in(const char *folder, const char *name) {
  char settings[1024], error[256] = "";
  snprintf(settings, sizeof settings,
           "{\"key\":\"wk_1\",\"url\":\"https://collector.example\",\"data_dir\":\"%s/%s\",\"os\":\"Android\"}", folder, name);
  wakeline *sdk = wakeline_open(settings, error, sizeof error);
  if (sdk == NULL) {
    fprintf(stderr, "%s\n", error);
    exit(1);
  }
  wakeline_network(sdk, "offline");
  return sdk;
}

/* 10,000 events that come over days, or all at once. */
static int memory(const char *folder, const char *name, int at_once) {
  long before = resident();
  wakeline *sdk = open_in(folder, name);
  for (int call = 0; call < CALLS; call++) {
    if (!wakeline_record(sdk, EVENT)) return 1;
    if (!at_once && call % 100 == 0) wakeline_sync(sdk, 10000);
  }
  if (!wakeline_sync(sdk, 10000)) return 1;
  printf("%d events queued, %s: %ld KiB resident more than the %ld KiB before opening\n", CALLS,
         at_once ? "all at once" : "a hundred at a time", resident() - before, before);
  wakeline_close(sdk, 2000);
  return 0;
}

static int calls(const char *folder) {
  static double times[CALLS];
  wakeline *sdk = open_in(folder, "calls");
  for (int call = -500; call < CALLS; call++) {
    usleep(200); /* 5,000 a second at most */
    double start = now_us();
    if (!wakeline_record(sdk, EVENT)) return 1;
    if (call >= 0) times[call] = now_us() - start;
  }
  wakeline_close(sdk, 2000);
  qsort(times, CALLS, sizeof times[0], by_size);
  printf("a call: median %.1f us, p99 %.1f us, p99.9 %.1f us, most %.1f us\n", times[CALLS / 2], times[CALLS / 100 * 99],
         times[CALLS / 1000 * 999], times[CALLS - 1]);
  return 0;
}

int main(int count, char **arguments) {
  if (count == 3 && strcmp(arguments[1], "queued") == 0) return memory(arguments[2], "queued", 0);
  if (count == 3 && strcmp(arguments[1], "burst") == 0) return memory(arguments[2], "burst", 1);
  if (count == 3 && strcmp(arguments[1], "calls") == 0) return calls(arguments[2]);
  fprintf(stderr, "usage: record queued|burst|calls FOLDER\n");
  return 2;
}
