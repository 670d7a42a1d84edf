/** `kill -USR1` prints how far it is, as dd does. */

const SIGUSR1_BIT = 9n;
/** glibc, sigprocmask(2). */
const SIG_UNBLOCK = 1;
const SIGSET_BYTES = 128;

/**
 * Node opens its debugger at this signal, for every user of the machine. With `--disable-sigusr1`, which the
 * launchers give, it blocks the signal instead, from its first instruction on, and has no way to unblock it.
 * So the C library does, when there is a handler; what has come before is delivered then. A Node.js without
 * `node:ffi` leaves it blocked: nothing is printed.
 */
export async function onProgressSignal(print: () => void): Promise<void> {
  process.on('SIGUSR1', print);
  try {
    const { dlopen } = await import('node:ffi');
    const { functions } = dlopen(null, {
      pthread_sigmask: { arguments: ['i32', 'buffer', 'pointer'], return: 'i32' },
    });
    const signals = Buffer.alloc(SIGSET_BYTES);
    signals.writeBigUInt64LE(1n << SIGUSR1_BIT);
    functions.pthread_sigmask(SIG_UNBLOCK, signals, 0n);
  } catch {
    // It stays blocked.
  }
}
