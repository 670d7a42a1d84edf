/** HEAD, GET and PUT of one block. */
import { areasOutside, formatAreas } from '../../common/areas.ts';
import { digestField, digestMember, digestText } from '../../common/digest/digest-names.ts';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf, type BlockIndex } from '../../common/geometry.ts';
import type { Slab } from '../../common/io/buffers.ts';
import {
  HEADER_BLOCK_STATE,
  HEADER_GENERATION,
  HEADER_SOURCE_ERRORS,
} from '../../common/protocol/protocol.ts';
import { parseBlockHead, type WantedBlock } from './block-head.ts';
import { checkBlock } from './digest-headers.ts';
import { jsonResponse } from './json-response.ts';
import { chunkedResponse, slices } from './chunked-response.ts';
import { readBlock } from './read-body.ts';
import type { AppContext, AppOptions } from './route-context.ts';
import type { OpenTransfer } from '../transfer/transfer.ts';
import { refuseSealedBlock } from '../transfer/repaired-block.ts';
import { writeBlock } from '../transfer/write-block.ts';

/** A block's way: its head, its body, its digests, the target. */
export async function putBlock(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer, activity, bodyProgressTimeoutMs } = options;
  const open = transfer.writable();
  const block = wantedBlock(context, open);
  refuseSealedBlock(transfer, block.index);
  const head = parseBlockHead(context.req, block);
  using slab = await takeSlab(open, options);
  const bytes = await readBlock(context.env, head, slab.bytes, bodyProgressTimeoutMs);
  const digest = await checkBlock(bytes, head.digests, open.digest, head.index);
  const added = areasOutside(head.unreadable, open.table.unreadable.of(head.index));
  const { receipt, isNew } = await writeBlock(transfer, { ...head, bytes, digest });
  activity.unreadable(added);
  return jsonResponse(receipt, !head.isFlushed ? 202 : isNew ? 201 : 200);
}

/** Answered from the table in memory, so that it stays cheap while the disk is busy. */
export function headBlock(context: AppContext, { transfer }: AppOptions): Response {
  const open = transfer.claimed();
  const index = indexOf(context, open);
  refuseAbsent(open, index);
  return new Response(null, {
    headers: { ...blockHeaders(open, index), 'content-length': String(lengthOf(index, open.geometry)) },
  });
}

export async function getBlock(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer } = options;
  const open = transfer.claimed();
  const index = indexOf(context, open);
  refuseAbsent(open, index);
  using held = new DisposableStack();
  // Clients that do not read what they asked for leave half of the memory to those that write.
  held.use(await takeInTime(options, async (signal) => await open.readTurns.take(signal)));
  // Before the lock: those that hold all the memory may be waiting for it.
  const slab = held.use(await takeSlab(open, options));
  // Keeps writers away while the block is read.
  using _lock = await open.locks.lock(index, 1);
  refuseAbsent(open, index);
  const bytes = slab.bytes.subarray(0, lengthOf(index, open.geometry));
  await transfer.target.read(bytes, offsetOf(index, open.geometry));
  const headers = { ...blockHeaders(open, index), 'content-length': String(bytes.length) };
  // The memory is free again once all of it has left.
  const sent = held.move();
  return chunkedResponse(slices(bytes), {
    outgoing: context.env.outgoing,
    headers,
    timeoutMs: options.responseProgressTimeoutMs,
    onEnd: () => sent.dispose(),
  });
}

function indexOf(context: AppContext, open: OpenTransfer): BlockIndex {
  const index = Number(context.req.param('index'));
  if (index < open.blockCount) return blockIndexOf(index, open.geometry);
  throw new TransferError('block-out-of-range', `no block ${index}: the transfer has ${open.blockCount}`, {
    details: { blockCount: open.blockCount },
  });
}

function wantedBlock(context: AppContext, open: OpenTransfer): WantedBlock {
  const { digests, geometry } = open;
  const index = indexOf(context, open);
  return {
    index,
    offset: offsetOf(index, geometry),
    lengthBytes: lengthOf(index, geometry),
    sizeBytes: geometry.sizeBytes,
    digests,
    present: presentDigest(open, index),
  };
}

function presentDigest(
  { table, digest: { algorithm } }: OpenTransfer,
  index: BlockIndex,
): WantedBlock['present'] {
  if (!table.isDurable(index)) return undefined;
  const digest = table.digestOf(index);
  return { text: digestText(algorithm, digest), member: digestMember(algorithm, digest) };
}

function refuseAbsent({ table }: OpenTransfer, index: BlockIndex): void {
  if (table.stateOf(index) !== 'absent') return;
  throw new TransferError('block-absent', `block ${index} is not on the target`);
}

function blockHeaders(open: OpenTransfer, index: BlockIndex): Record<string, string> {
  const digest = open.table.digestOf(index);
  const unreadable = open.table.unreadable.of(index);
  return {
    'content-type': 'application/octet-stream',
    etag: `"${digestText(open.digest.algorithm, digest)}"`,
    'repr-digest': digestField(open.digest.algorithm, digest),
    [HEADER_BLOCK_STATE]: open.table.stateOf(index),
    [HEADER_GENERATION]: String(open.durability.generationOf(index)),
    ...(unreadable.length === 0 ? {} : { [HEADER_SOURCE_ERRORS]: formatAreas(unreadable) }),
  };
}

/** @throws TransferError `busy` after `memoryWaitMs`. */
export async function takeSlab(open: OpenTransfer, options: AppOptions): Promise<Slab> {
  return await takeInTime(options, async (signal) => await open.slabs.take(signal));
}

async function takeInTime<Taken>(
  { memoryWaitMs }: AppOptions,
  take: (signal: AbortSignal) => Promise<Taken>,
): Promise<Taken> {
  const timeout = AbortSignal.timeout(memoryWaitMs);
  try {
    return await take(timeout);
  } catch (error) {
    if (!timeout.aborted) throw error;
    throw new TransferError('busy', 'all memory for blocks is in use', {
      retryAfterSeconds: 1,
      cause: error,
    });
  }
}
