/** Notices that the sender of an unfinished copy stays away: its own machine may have nobody who tells. */
import type { Clock } from '../common/clock.ts';
import type { Trouble } from '../common/hooks.ts';
import { formatDuration } from '../common/units.ts';
import type { RunningServer } from './http/server.ts';
import { isUnfinished } from './without-sender.ts';
import type { Served } from './start.ts';

const LOOK_MS = 1000;

export interface SenderGoneOptions {
  readonly server: Pick<RunningServer, 'knownCount'>;
  readonly served: readonly Pick<Served, 'transfer' | 'failure'>[];
  readonly clock: Clock;
  readonly afterMs: number;
}

/** Until the result is disposed. @param tell called once for each absence. */
export function watchSender(options: SenderGoneOptions, tell: (trouble: Trouble) => void): Disposable {
  const { server, served, clock, afterMs } = options;
  let aloneSinceMs = clock.monotonicMs();
  let isReported = false;
  const timer = setInterval(() => {
    const nowMs = clock.monotonicMs();
    const waiting = served.filter(isUnfinished);
    if (server.knownCount > 0 || waiting.length === 0) {
      aloneSinceMs = nowMs;
      isReported = false;
      return;
    }
    if (isReported || nowMs - aloneSinceMs < afterMs) return;
    isReported = true;
    const targets = waiting.map(({ transfer }) => transfer.target.identity.path).join(', ');
    tell({
      code: 'sender-gone',
      message: `no sender for ${formatDuration(afterMs)}, and the copy onto ${targets} is not complete`,
      hint: 'see what has become of ddt-send; run the same command again to resume',
      target: targets,
    });
  }, LOOK_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
