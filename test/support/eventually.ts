/** For what another part of this process does a moment later, within a bound: a failing test must end. */
import { systemClock } from '../../common/clock.ts';

const DEADLINE_MS = 5000;

/** Looks again at every turn of the event loop. @throws Error when it is not true within five seconds. */
export async function eventually(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const startMs = systemClock.monotonicMs();
  while (!(await isTrue())) {
    if (systemClock.monotonicMs() - startMs > DEADLINE_MS) throw new Error(`never: ${what}`);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
