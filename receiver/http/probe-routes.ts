/** Before a copy: how fast the line and the target are. Nothing is written, and nothing is kept. */
import { PROBE_BYTES_MAX } from '../../common/protocol/protocol.ts';
import type { Semaphore } from '../../common/semaphore.ts';
import { probeTarget } from '../transfer/probe-target.ts';
import { jsonResponse } from './json-response.ts';
import { discardBody } from './read-body.ts';
import type { AppContext, AppOptions } from './route-context.ts';

/**
 * No block is answered sooner. A client that sees the answer before it has noticed that its request is out
 * may close the connection, as undici does.
 */
const ANSWER_MS = 5;

/**
 * By POST, for those who may write: a short request keeps the disk busy for a while.
 * @param turns one at a time: a second reading would make both slower.
 */
export async function postProbeTarget(
  { env }: AppContext,
  { transfer, clock }: AppOptions,
  turns: Semaphore,
): Promise<Response> {
  using _turn = await turns.take();
  const isGone = (): boolean => env.incoming.socket.destroyed;
  const { bytes, ms } = await probeTarget(transfer.target, { clock, isGone });
  return jsonResponse({ bytes, ms: Math.round(ms) });
}

export async function postProbe({ env }: AppContext, options: AppOptions): Promise<Response> {
  const { clock, bodyProgressTimeoutMs } = options;
  const bytes = await discardBody(env, PROBE_BYTES_MAX, bodyProgressTimeoutMs);
  await clock.sleep(ANSWER_MS);
  return jsonResponse({ bytes });
}
