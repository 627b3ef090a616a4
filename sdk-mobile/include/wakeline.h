/* Wakeline for C and everything that calls C.
 *
 * All calls are synchronous, may come from any thread, and never end the process; after wakeline_open none fails in a way
 * that a caller must handle. Texts are UTF-8 and end with a NUL; a NUL within a text is written \u0000 in JSON. A NULL text is
 * an empty one, and a call with a NULL wakeline does nothing. What each call does is told in sdk-mobile/README.md.
 */
#ifndef WAKELINE_H
#define WAKELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The SDK of one app and site. */
typedef struct wakeline wakeline;

/* What to do next for an upload. */
typedef enum {
  WAKELINE_SEND = 1, /* POST body to url with headers, and report the answer by wakeline_task_done. */
  WAKELINE_WAIT = 2, /* There was nothing to send within the time: ask again. */
  WAKELINE_STOP = 3, /* The SDK was shut down: ask no more. */
} wakeline_next;

/* A request to send; to be freed by wakeline_task_free. */
typedef struct {
  uint64_t id;
  char *url;
  char *headers; /* Lines of "Name: value", each ended by "\r\n". */
  uint8_t *body;
  size_t body_size;
} wakeline_task;

/* Starts the SDK by its settings, as JSON. NULL: they can't be used, and error (of error_size bytes, may be NULL) says why. */
wakeline *wakeline_open(const char *settings, char *error, size_t error_size);

/* Puts all on disk within timeout_ms, ends, and frees. False: something is not on disk. No other call may be under way. */
bool wakeline_close(wakeline *sdk, uint64_t timeout_ms);

/* Takes an event, as JSON. False: it was refused, which is counted and reported. */
bool wakeline_record(const wakeline *sdk, const char *event);

/* Who is signed in; false if the name is empty or longer than 128 bytes. */
bool wakeline_identify(const wakeline *sdk, const char *user);
void wakeline_reset(const wakeline *sdk);

/* "granted", "denied", "pending" or "none". */
void wakeline_set_consent(const wakeline *sdk, const char *consent);

/* The default properties, as a JSON object. */
void wakeline_set_defaults(const wakeline *sdk, const char *properties);

/* The next custom event of that name gets the property duration_ms. */
void wakeline_start_timer(const wakeline *sdk, const char *name);

/* "foreground", "background" or "low_memory". */
void wakeline_lifecycle(const wakeline *sdk, const char *state);

/* "online", "metered" or "offline". */
void wakeline_network(const wakeline *sdk, const char *state);

/* A link, or a push notification, opened the app. */
void wakeline_open_link(const wakeline *sdk, const char *url);
void wakeline_open_push(const wakeline *sdk, const char *campaign);

/* Sends what is queued as soon as the server allows; does not wait for it. */
void wakeline_flush(const wakeline *sdk);

/* Waits until all that was recorded is on disk, at most timeout_ms. False: it is not. */
bool wakeline_sync(const wakeline *sdk, uint64_t timeout_ms);

/* What to send next; waits at most wait_ms for something. Call it on a thread of its own. Fills task if it is WAKELINE_SEND. */
wakeline_next wakeline_next_task(const wakeline *sdk, uint64_t wait_ms, wakeline_task *task);

/* The answer to a task: its HTTP status (0: none came), its Retry-After (NULL: none) and its body. */
void wakeline_task_done(const wakeline *sdk, uint64_t id, uint16_t status, const char *retry_after, const uint8_t *body,
                        size_t body_size);

/* Frees what wakeline_next_task filled. */
void wakeline_task_free(wakeline_task *task);

/* Counts and state, as JSON; to be freed by wakeline_text_free. */
char *wakeline_status(const wakeline *sdk);
void wakeline_text_free(char *text);

/* Another key or collector, as JSON. False: it can't be used, and error says why. */
bool wakeline_reconfigure(const wakeline *sdk, const char *settings, char *error, size_t error_size);

/* Erases what the device knows: what waits, the person, the install. */
void wakeline_forget(const wakeline *sdk);

#ifdef __cplusplus
}
#endif
#endif
