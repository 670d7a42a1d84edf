/*
 * wan: a wide-area link in user space between two network namespaces, for kernels without netem.
 *
 *   wan NETNS_A ADDR_A NETNS_B ADDR_B [rate=MBIT] [delay=MS] [jitter=MS] [loss=PERCENT] [queue=KIB] [seed=N]
 *       [file=PATH]
 *
 * Opens a TUN device named "wan" in each namespace (ADDR_x with its prefix length, e.g. 10.77.0.1/24)
 * and forwards packets between them. Each direction has its own drop-tail queue of `queue` KiB,
 * drained at `rate` Mbit/s, then `delay` ms one way (plus up to `jitter` ms, order kept), and an
 * independent random loss of `loss` percent. Without rate there is no shaping. The file holds more options, one
 * per line; on SIGHUP it is read again, and the link changes while connections are open. Prints one line
 * when the link is up, and on SIGTERM or SIGINT a line of counters per direction, then exits with 0.
 *
 * Build: cc -O2 -o wan wan.c      Needs root, /dev/net/tun and iproute2.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 65536 /* packets in flight per direction, a power of two */
#define MTU 1500

struct packet { int64_t due_ns; int len; unsigned char *data; };

struct direction {
  int in, out;
  struct packet *ring;
  uint32_t head, tail;     /* ring[head..tail) is in flight, ordered by due_ns */
  int64_t line_free_ns;    /* when the shaped line will have sent all it has accepted */
  int64_t last_due_ns;
  uint64_t passed, lost, overflowed, bytes;
};

static double rate_mbit = 0, delay_ms = 0, jitter_ms = 0, loss_percent = 0, queue_kib = 0;
static uint64_t random_state = 88172645463325252ull;
static double queue_asked_kib = 0;
static const char *options_path = NULL;
static volatile sig_atomic_t stopping = 0, changing = 0;

static void stop(int sig) { (void)sig; stopping = 1; }
static void change(int sig) { (void)sig; changing = 1; }

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double random_unit(void) {
  random_state ^= random_state << 13; random_state ^= random_state >> 7; random_state ^= random_state << 17;
  return (double)(random_state >> 11) / 9007199254740992.0;
}

static void fail(const char *what) { fprintf(stderr, "wan: %s: %s\n", what, strerror(errno)); exit(1); }

static int open_tun(const char *netns, const char *address) {
  char path[256], command[512];
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  snprintf(path, sizeof path, "/run/netns/%s", netns);
  int ns = open(path, O_RDONLY | O_CLOEXEC);
  if (home < 0 || ns < 0) fail(path);
  if (setns(ns, CLONE_NEWNET)) fail("setns");
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail("/dev/net/tun");
  struct ifreq request = {0};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  strcpy(request.ifr_name, "wan");
  if (ioctl(fd, TUNSETIFF, &request)) fail("TUNSETIFF");
  snprintf(command, sizeof command,
           "ip addr add %s dev wan && ip link set wan mtu %d txqueuelen 2000 up && ip link set lo up", address, MTU);
  if (system(command)) { fprintf(stderr, "wan: could not configure %s in %s\n", address, netns); exit(1); }
  if (setns(home, CLONE_NEWNET)) fail("setns back");
  close(ns); close(home);
  return fd;
}

static void accept_packets(struct direction *d) {
  static unsigned char buffer[MTU + 64];
  for (int burst = 0; burst < 64; burst++) {
    ssize_t len = read(d->in, buffer, sizeof buffer);
    if (len <= 0) return;
    int64_t now = now_ns();
    if (loss_percent > 0 && random_unit() * 100 < loss_percent) { d->lost++; continue; }
    int64_t departs = now;
    if (rate_mbit > 0) {
      int64_t start = d->line_free_ns > now ? d->line_free_ns : now;
      double queued_bytes = (double)(start - now) * rate_mbit / 8000.0;
      if (queue_kib > 0 && queued_bytes + (double)len > queue_kib * 1024) { d->overflowed++; continue; }
      departs = start + (int64_t)((double)len * 8000.0 / rate_mbit);
      d->line_free_ns = departs;
    }
    if (d->tail - d->head == SLOTS) { d->overflowed++; continue; }
    int64_t due = departs + (int64_t)((delay_ms + random_unit() * jitter_ms) * 1e6);
    if (due < d->last_due_ns) due = d->last_due_ns;
    d->last_due_ns = due;
    struct packet *p = &d->ring[d->tail++ % SLOTS];
    p->due_ns = due; p->len = (int)len;
    memcpy(p->data, buffer, (size_t)len);
  }
}

static void deliver_due(struct direction *d, int64_t now) {
  while (d->head != d->tail) {
    struct packet *p = &d->ring[d->head % SLOTS];
    if (p->due_ns > now) return;
    if (write(d->out, p->data, (size_t)p->len) < 0) d->overflowed++;
    else { d->passed++; d->bytes += (uint64_t)p->len; }
    d->head++;
  }
}

static int set_option(const char *option) {
  double seed = 0;
  if (sscanf(option, "rate=%lf", &rate_mbit) == 1 || sscanf(option, "delay=%lf", &delay_ms) == 1 ||
      sscanf(option, "jitter=%lf", &jitter_ms) == 1 || sscanf(option, "loss=%lf", &loss_percent) == 1 ||
      sscanf(option, "queue=%lf", &queue_asked_kib) == 1) return 1;
  if (sscanf(option, "seed=%lf", &seed) != 1) return 0;
  random_state ^= (uint64_t)(seed * 2654435761.0) | 1;
  return 1;
}

static void read_options(void) {
  char line[128];
  FILE *file = options_path ? fopen(options_path, "r") : NULL;
  if (options_path && !file) fail(options_path);
  while (file && fgets(line, sizeof line, file))
    if (line[0] != '\n' && !set_option(line)) fprintf(stderr, "wan: unknown option %s", line);
  if (file) fclose(file);
  queue_kib = queue_asked_kib;
  if (queue_kib == 0 && rate_mbit > 0) { /* a bandwidth-delay product, and at least 64 KiB */
    queue_kib = rate_mbit * 1e6 / 8 * (2 * delay_ms / 1e3) / 1024;
    if (queue_kib < 64) queue_kib = 64;
  }
}

static void prepare(struct direction *d, int in, int out) {
  memset(d, 0, sizeof *d);
  d->in = in; d->out = out;
  d->ring = calloc(SLOTS, sizeof *d->ring);
  unsigned char *store = malloc((size_t)SLOTS * MTU);
  if (!d->ring || !store) fail("memory");
  for (int i = 0; i < SLOTS; i++) d->ring[i].data = store + (size_t)i * MTU;
}

int main(int argc, char **argv) {
  if (argc < 5) { fprintf(stderr, "usage: wan NETNS_A ADDR_A NETNS_B ADDR_B [rate=MBIT] [delay=MS] [jitter=MS] [loss=PERCENT] [queue=KIB] [seed=N] [file=PATH]\n"); return 2; }
  for (int i = 5; i < argc; i++) {
    if (strncmp(argv[i], "file=", 5) == 0) { options_path = argv[i] + 5; continue; }
    if (!set_option(argv[i])) { fprintf(stderr, "wan: unknown option %s\n", argv[i]); return 2; }
  }
  read_options();
  signal(SIGTERM, stop); signal(SIGINT, stop); signal(SIGHUP, change);
  int a = open_tun(argv[1], argv[2]), b = open_tun(argv[3], argv[4]);
  struct direction ways[2];
  prepare(&ways[0], a, b); prepare(&ways[1], b, a);
  printf("wan: up rate=%g Mbit/s delay=%g ms jitter=%g ms loss=%g %% queue=%.0f KiB\n", rate_mbit, delay_ms, jitter_ms, loss_percent, queue_kib);
  fflush(stdout);
  while (!stopping) {
    if (changing) { changing = 0; read_options(); }
    int64_t now = now_ns(), next = now + 1000000000;
    for (int i = 0; i < 2; i++) {
      deliver_due(&ways[i], now);
      if (ways[i].head != ways[i].tail && ways[i].ring[ways[i].head % SLOTS].due_ns < next)
        next = ways[i].ring[ways[i].head % SLOTS].due_ns;
    }
    struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    int64_t wait = next - now_ns();
    if (wait < 0) wait = 0;
    struct timespec timeout = {wait / 1000000000, wait % 1000000000};
    if (ppoll(fds, 2, &timeout, NULL) < 0 && errno != EINTR) fail("ppoll");
    if (fds[0].revents & POLLIN) accept_packets(&ways[0]);
    if (fds[1].revents & POLLIN) accept_packets(&ways[1]);
  }
  for (int i = 0; i < 2; i++)
    printf("wan: %s packets=%llu bytes=%llu lost=%llu overflowed=%llu\n", i ? "B->A" : "A->B",
           (unsigned long long)ways[i].passed, (unsigned long long)ways[i].bytes,
           (unsigned long long)ways[i].lost, (unsigned long long)ways[i].overflowed);
  return 0;
}
