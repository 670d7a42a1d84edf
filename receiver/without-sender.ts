/** Ends a receiver that nobody sends to: one that was started through ssh has nobody else to end it. */
import type { Clock } from '../common/clock.ts';
import { formatDuration } from '../common/units.ts';
import type { RunningServer } from './http/server.ts';
import type { Served } from './start.ts';

/**
 * A sender that has begun may come back within this time, the default of its `--retry-for`. What was read
 * back is known only to this process.
 */
const RETURN_MS_MAX = 86_400_000;
const LOOK_MS = 1000;

export interface WithoutSenderOptions {
  readonly server: Pick<RunningServer, 'knownCount'>;
  readonly served: readonly Pick<Served, 'transfer' | 'failure'>[];
  readonly clock: Clock;
  /** undefined: it is never ended. */
  readonly withinMs: number | undefined;
}

/** Until the result is disposed. @param end called once, with the reason for the log. */
export function withoutSender(options: WithoutSenderOptions, end: (reason: string) => void): Disposable {
  const { server, served, clock, withinMs } = options;
  if (withinMs === undefined) return { [Symbol.dispose]: () => {} };
  let hasCome = false;
  let aloneSinceMs = clock.monotonicMs();
  const timer = setInterval(() => {
    const nowMs = clock.monotonicMs();
    if (server.knownCount > 0) {
      hasCome = true;
      aloneSinceMs = nowMs;
      return;
    }
    const isOpen = served.some(isUnfinished);
    const limitMs = hasCome && isOpen ? Math.max(RETURN_MS_MAX, withinMs) : withinMs;
    if (nowMs - aloneSinceMs < limitMs) return;
    clearInterval(timer);
    end(`no sender for ${formatDuration(limitMs)}: ending`);
  }, LOOK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Claimed, not sealed, and able to continue. */
export function isUnfinished({ transfer, failure }: Pick<Served, 'transfer' | 'failure'>): boolean {
  return transfer.opened !== undefined && transfer.sealed === undefined && failure === undefined;
}
