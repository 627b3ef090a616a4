/* A shop on the console: what an app of C does with Wakeline. It sends by itself over plain HTTP/1.1 on a socket, as the
 * host of an embedded device might; apps that have an HTTP client use that, or the library's own ("http": "built_in").
 *
 *   cc -I sdk-mobile/include sdk-mobile/examples/c/shop.c -L target/debug -lwakeline_mobile -o shop
 *   ./shop http://127.0.0.1:8080 WRITE_KEY /tmp/shop
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wakeline.h"

/* Sends a task, and reports the answer. */
static void send_task(const wakeline *sdk, const wakeline_task *task) {
  char host[256] = "", port[8] = "80", path[1024] = "/";
  static char answer[65536];
  size_t size = 0;
  int status = 0;
  if (sscanf(task->url, "http://%255[^:/]:%7[0-9]%1023s", host, port, path) == 3) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int connection = -1;
    if (getaddrinfo(host, port, &hints, &found) == 0) {
      connection = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
      if (connection >= 0 && connect(connection, found->ai_addr, found->ai_addrlen) == 0) {
        dprintf(connection, "POST %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n", path, host,
                port, task->body_size, task->headers);
        if (write(connection, task->body, task->body_size) == (ssize_t)task->body_size) {
          ssize_t more;
          while (size < sizeof answer - 1 && (more = read(connection, answer + size, sizeof answer - 1 - size)) > 0) {
            size += (size_t)more;
          }
        }
      }
      if (connection >= 0) close(connection);
      freeaddrinfo(found);
    }
  }
  answer[size] = 0;
  char *body = strstr(answer, "\r\n\r\n");
  if (body != NULL && sscanf(answer, "HTTP/1.1 %d", &status) == 1) {
    body += 4;
    wakeline_task_done(sdk, task->id, (uint16_t)status, NULL, (const uint8_t *)body, size - (size_t)(body - answer));
  } else {
    wakeline_task_done(sdk, task->id, 0, NULL, NULL, 0);
  }
}

int main(int count, char **arguments) {
  if (count != 4) {
    fprintf(stderr, "usage: shop COLLECTOR KEY FOLDER\n");
    return 2;
  }
  char settings[2048], error[256] = "";
  snprintf(settings, sizeof settings,
           "{\"url\":\"%s\",\"key\":\"%s\",\"data_dir\":\"%s\",\"sdk\":\"c\",\"os\":\"Linux\",\"app_version\":\"1.0\"}", arguments[1],
           arguments[2], arguments[3]);
  wakeline *shop = wakeline_open(settings, error, sizeof error);
  if (shop == NULL) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  wakeline_open_link(shop, "shop://home?utm_source=newsletter&utm_medium=email&utm_campaign=spring");
  wakeline_lifecycle(shop, "foreground");
  wakeline_record(shop, "{\"type\":\"screen_view\",\"url\":\"Home\"}");
  wakeline_identify(shop, "customer-17");
  wakeline_set_defaults(shop, "{\"plan\":\"free\"}");
  wakeline_record(shop, "{\"type\":\"click\",\"name\":\"Harbour mug\"}");
  wakeline_start_timer(shop, "checkout");
  wakeline_record(shop, "{\"type\":\"order\",\"order\":{\"id\":\"A-1\",\"currency\":\"EUR\",\"value\":3600,"
                        "\"items\":[{\"sku\":\"AL-101\",\"name\":\"Harbour mug\",\"price\":1800,\"quantity\":2}]}}");
  wakeline_record(shop, "{\"name\":\"checkout\",\"properties\":{\"steps\":3,\"note\":\"a\\u0000b\"}}");
  wakeline_flush(shop);

  wakeline_task task;
  for (int tries = 0; tries < 50; tries++) {
    wakeline_next next = wakeline_next_task(shop, 100, &task);
    if (next == WAKELINE_SEND) {
      send_task(shop, &task);
      wakeline_task_free(&task);
    }
    char *status = wakeline_status(shop);
    bool done = strstr(status, "\"queued\":0,") != NULL;
    if (done || tries == 49) printf("%s\n", status);
    wakeline_text_free(status);
    if (done) break;
  }
  wakeline_lifecycle(shop, "background");
  return wakeline_close(shop, 2000) ? 0 : 1;
}
