/**
 * Responses that are longer than what a connection may hold: sent in chunks, the next one only when the
 * client has taken the one before.
 */
import type { ServerResponse } from 'node:http';
import { othersTurn } from '../../common/event-loop.ts';
import type { Semaphore } from '../../common/semaphore.ts';

/**
 * Without a byte taken by the client, while what is sent holds memory. A line of 64 kbit/s takes 16 KiB in
 * two seconds; one that takes nothing for a minute is down.
 */
export const RESPONSE_PROGRESS_TIMEOUT_MS = 60_000;
/** Of a block: what Node and TLS hold of it beside the block itself. */
const CHUNK_BYTES = 128 * 1024;

export interface ChunkedOptions {
  readonly outgoing: ServerResponse;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Of chunks that take time to make: one at a time among all responses, with other work in between. */
  readonly turns?: Semaphore;
  /** Called once, when the last byte has left or the connection has ended. */
  readonly onEnd?: () => void;
}

/** @param chunks made one at a time; those that are empty are left out. */
export function chunkedResponse(chunks: Iterable<Uint8Array>, options: ChunkedOptions): Response {
  const { outgoing, headers, timeoutMs, turns, onEnd } = options;
  const timer = setTimeout(() => outgoing.destroy(), timeoutMs);
  let isEnded = false;
  const end = (): void => {
    isEnded = true;
    clearTimeout(timer);
    onEnd?.();
  };
  // It was cut while the response was made: it will not emit `close` again.
  if (outgoing.destroyed || outgoing.closed) end();
  else outgoing.once('close', end);
  const left = chunks[Symbol.iterator]();
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        using _turn = await turns?.take();
        // A timer that is refreshed starts again, even if it was cleared.
        if (!isEnded) timer.refresh();
        let next = left.next();
        while (next.done !== true && next.value.length === 0) next = left.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
        if (turns !== undefined) await othersTurn();
      },
    },
    // Nothing is made before it is asked for.
    { highWaterMark: 0 },
  );
  return new Response(body, { headers });
}

/** Views of `bytes`, which must not change until the response has ended. */
export function* slices(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}
