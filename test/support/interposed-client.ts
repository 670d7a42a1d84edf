/**
 * A sender against a receiver in this process, with a person between them: what a lane asks for goes over
 * real TLS, unless the test puts an answer of its own in its place.
 */
import { systemClock } from '../../common/clock.ts';
import { DIGESTS } from '../../common/digest/digest.ts';
import type { BlockEncoder } from '../../sender/compression/encode-block.ts';
import type { ReceiverClient } from '../../sender/client/receiver-port.ts';
import { HttpReceiver } from '../../sender/client/http-receiver.ts';
import { Reachability } from '../../sender/client/connection/reachability.ts';
import { send } from '../../sender/transfer/send.ts';
import { UnackedBytes } from '../../sender/client/connection/unacked-bytes.ts';
import type { Source } from '../../sender/source/source.ts';
import { BLOCK_BYTES, claimOf } from './open-transfer.ts';
import type { ReceiverApp } from './receiver-app.ts';

/** Requests that a test answers itself; each is told how to ask the receiver after all. */
export type Interposed = {
  [Name in 'transfer' | 'claim' | 'putBlock' | 'copyBlock' | 'complete']?: (
    ask: ReceiverClient[Name],
    ...args: Parameters<ReceiverClient[Name]>
  ) => ReturnType<ReceiverClient[Name]>;
};

function interpose(
  client: HttpReceiver,
  { transfer, claim, putBlock, copyBlock, complete }: Interposed,
): ReceiverClient {
  const askTransfer: ReceiverClient['transfer'] = async (signal) => await client.transfer(signal);
  const askClaim: ReceiverClient['claim'] = async (...args) => await client.claim(...args);
  const askPut: ReceiverClient['putBlock'] = async (...args) => await client.putBlock(...args);
  const askCopy: ReceiverClient['copyBlock'] = async (...args) => await client.copyBlock(...args);
  const askComplete: ReceiverClient['complete'] = async (...args) => await client.complete(...args);
  return {
    get bytesWire() {
      return client.bytesWire;
    },
    get isConnected() {
      return client.isConnected;
    },
    get standstillMs() {
      return client.standstillMs;
    },
    get acknowledgedBytes() {
      return client.acknowledgedBytes;
    },
    refreshAcknowledged: async () => await client.refreshAcknowledged(),
    transfer: async (signal) => await (transfer?.(askTransfer, signal) ?? askTransfer(signal)),
    claim: async (...args) => await (claim?.(askClaim, ...args) ?? askClaim(...args)),
    listDigests: async (...args) => await client.listDigests(...args),
    headBlock: async (...args) => await client.headBlock(...args),
    readBlock: async (...args) => await client.readBlock(...args),
    reopen: async (signal) => await client.reopen(signal),
    putBlock: async (...args) => await (putBlock?.(askPut, ...args) ?? askPut(...args)),
    copyBlock: async (...args) => await (copyBlock?.(askCopy, ...args) ?? askCopy(...args)),
    zero: async (...args) => await client.zero(...args),
    flush: async (signal) => await client.flush(signal),
    complete: async (...args) => await (complete?.(askComplete, ...args) ?? askComplete(...args)),
    verify: async (signal) => await client.verify(signal),
    prove: async (...args) => await client.prove(...args),
    probeTarget: async (signal) => await client.probeTarget(signal),
    probeLine: async (...args) => await client.probeLine(...args),
    close: async () => await client.close(),
  };
}

/** @param blocks the bytes of each; a copy of one, or of a part of it, is read. */
export function memorySource(blocks: readonly Buffer[]): Source {
  const { size, source } = claimOf(blocks.length);
  return {
    canReread: true,
    description: source,
    sizeBytes: size,
    async read(into, offset) {
      blocks[Math.floor(offset / BLOCK_BYTES)]?.copy(into, 0, offset % BLOCK_BYTES);
      return await Promise.resolve([]);
    },
    [Symbol.asyncDispose]: async () => await Promise.resolve(),
  };
}

/** One lane, no waiting between attempts. @throws as `send` does. */
export async function sendThrough(
  app: ReceiverApp,
  source: Source,
  interposed: Interposed = {},
  encoder?: BlockEncoder,
): ReturnType<typeof send> {
  const { port, pin, token } = app;
  const ticket = { origin: `https://127.0.0.1:${port}`, host: '127.0.0.1', port, pin, token };
  const [unacked, reachability] = [new UnackedBytes(), new Reachability(ticket)];
  return await send(
    {
      source,
      connect: (onResponse) =>
        interpose(
          new HttpReceiver({ ticket, senderId: 'test', unacked, reachability, onResponse }),
          interposed,
        ),
      receiverName: 'receiver',
      connections: 1,
      blockSizeBytes: BLOCK_BYTES,
      digest: 'auto',
      retryForMs: 10_000,
      memoryBytes: 8 * BLOCK_BYTES,
      ...(encoder === undefined ? {} : { encoder }),
    },
    {
      clock: systemClock,
      digests: DIGESTS,
      random: () => 0,
      signal: new AbortController().signal,
      reporter: {
        fact: () => {},
        start: () => {},
        noteRetry: () => {},
        noteRoom: () => {},
        noteOtherSource: () => {},
        noteLost: () => {},
        noteUnreadable: () => {},
        noteKept: () => {},
      },
    },
  );
}
