/** Long work on the only thread: in chunks of a few milliseconds, with everything else in between. */
import { setImmediate as immediate } from 'node:timers/promises';

/** Resolves when everything that waits for the thread now has had its turn. */
export async function othersTurn(): Promise<void> {
  await immediate();
}
