/** `--probe`: how fast line and disks are, and how long the copy would take. Nothing is written. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import { measureReading, type ReadRate } from '../../common/io/read-rate.ts';
import { PROBE_BYTES_MAX } from '../../common/protocol/protocol.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import type { Source } from '../source/source.ts';
import { makeRetries } from './make-retries.ts';
import type { SendContext, SendRequest } from './send.ts';

/** As many as a copy over most lines comes to; how many help is found out while it runs. */
const CONNECTIONS = 16;
const READING_MS = 1500;
/** Until TCP has found the rate of the line, and how long it is measured after that. */
const WARM_UP_MS = 2000;
const LINE_MS = 4000;
const ROUND_TRIPS = 3;
/** Shorter than this says nothing about a rate. */
const READING_MS_MIN = 50;

/** Rates in bytes a second; null where nothing can be said. */
export interface ProbeFacts {
  readonly bytesTotal: number;
  readonly roundTripMs: number;
  readonly connections: number;
  readonly lineBytesPerSecond: number;
  readonly sourceBytesPerSecond: number | null;
  readonly targetBytesPerSecond: number | null;
  /** Of a source without zeros, compression or blocks that are there already. */
  readonly secondsEstimated: number;
  readonly limit: 'line' | 'source' | 'target';
}

/** @throws TransferError `source-read` if the source can't be read. */
export async function probe(
  request: SendRequest & { readonly source: Source },
  context: SendContext,
): Promise<ProbeFacts> {
  const { clock, reporter, signal } = context;
  const { source } = request;
  const retries = makeRetries(request, context);
  await using lanes = new AsyncDisposableStack();
  const connect = (): ReceiverClient => {
    const client = request.connect(() => {});
    lanes.defer(async () => await client.close());
    return client;
  };
  const control = connect();
  const found = await retries.run(signal, async () => await control.transfer(signal));
  await request.meet?.(found);
  reporter.fact('probe    measuring for ten seconds; nothing is written');
  const roundTripMs = await measureRoundTrip(control, clock, signal);
  const readSource = async (into: Buffer<ArrayBuffer>, offset: number): Promise<unknown> =>
    await source.read(into, offset, signal);
  const isGone = (): boolean => signal.aborted;
  // On two machines: neither slows the other down.
  const [ofTarget, ofSource] = await Promise.all([
    control.probeTarget(signal).catch(refuseEarlier),
    measureReading(readSource, source.sizeBytes, { clock, forMs: READING_MS, isGone }),
  ]);
  signal.throwIfAborted();
  const connections = connectionsOf(request, found.limits.connections);
  const clients = Array.from({ length: connections }, connect);
  const lineBytesPerSecond = await measureLine(clients, clock, signal);
  const rates = {
    lineBytesPerSecond,
    sourceBytesPerSecond: rateOf(ofSource),
    targetBytesPerSecond: rateOf(ofTarget),
  };
  return { bytesTotal: source.sizeBytes, roundTripMs, connections, ...rates, ...estimate(source, rates) };
}

/** One connection is left for looking at the transfer by hand. */
function connectionsOf({ connections, connectionsMax = Infinity }: SendRequest, limit: number): number {
  const wanted = connections === 'auto' ? Math.max(1, Math.min(CONNECTIONS, limit - 1)) : connections;
  return Math.min(wanted, connectionsMax);
}

async function measureRoundTrip(control: ReceiverClient, clock: Clock, signal: AbortSignal): Promise<number> {
  const times: number[] = [];
  for (let left = ROUND_TRIPS; left > 0; left--) {
    const startMs = clock.monotonicMs();
    await control.transfer(signal);
    times.push(clock.monotonicMs() - startMs);
  }
  return Math.min(...times);
}

function refuseEarlier(error: unknown): never {
  if (!(error instanceof TransferError) || error.code !== 'not-found') throw error;
  throw new TransferError('state-refused', 'the receiver is of an earlier version, which cannot be probed', {
    hint: 'install the same version on both machines, or use --dry-run',
  });
}

/** @returns bytes a second that the kernel at the other end has acknowledged. */
async function measureLine(
  clients: readonly ReceiverClient[],
  clock: Clock,
  signal: AbortSignal,
): Promise<number> {
  const body = randomBytes(PROBE_BYTES_MAX);
  const end = new AbortController();
  const ended = AbortSignal.any([signal, end.signal]);
  const sending = clients.map(async (client): Promise<never> => {
    for (;;) await client.probeLine(body, ended);
  });
  const acknowledged = async (afterMs: number): Promise<{ bytes: number; atMs: number }> => {
    await clock.sleep(afterMs, signal);
    await Promise.all(clients.map(async (client) => await client.refreshAcknowledged()));
    const bytes = clients.reduce((sum, client) => sum + client.acknowledgedBytes, 0);
    return { bytes, atMs: clock.monotonicMs() };
  };
  try {
    const measure = async (): Promise<number> => {
      const from = await acknowledged(WARM_UP_MS);
      const to = await acknowledged(LINE_MS);
      return ((to.bytes - from.bytes) * 1000) / (to.atMs - from.atMs);
    };
    return await Promise.race([measure(), ...sending]);
  } finally {
    end.abort(new TransferError('interrupted', 'measured'));
    await Promise.allSettled(sending);
  }
}

function rateOf({ bytes, ms }: ReadRate): number | null {
  return ms < READING_MS_MIN ? null : (bytes * 1000) / ms;
}

/** Line and disks work at the same time, so the slowest of them is the limit. */
function estimate(
  { sizeBytes }: Source,
  rates: Pick<ProbeFacts, 'lineBytesPerSecond' | 'sourceBytesPerSecond' | 'targetBytesPerSecond'>,
): Pick<ProbeFacts, 'secondsEstimated' | 'limit'> {
  const { lineBytesPerSecond, sourceBytesPerSecond, targetBytesPerSecond } = rates;
  const limits = [
    ['line', lineBytesPerSecond],
    ['source', sourceBytesPerSecond ?? Infinity],
    ['target', targetBytesPerSecond ?? Infinity],
  ] as const;
  const [limit, rate] = limits.reduce((slowest, each) => (each[1] < slowest[1] ? each : slowest));
  return { secondsEstimated: Math.round(sizeBytes / Math.max(1, rate)), limit };
}
