/** HEAD, GET and PUT of `/blocks/:index`. */
import type { AppContext, AppOptions, RouteOptions } from './route-context.ts';
import { areasOutside, formatAreas, parseSourceErrors } from '../../common/areas.ts';
import { digestField, digestMember, digestText } from '../../common/digest/digest-names.ts';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf, type BlockIndex } from '../../common/geometry.ts';
import {
  HEADER_BLOCK_STATE,
  HEADER_GENERATION,
  HEADER_SOURCE_ERRORS,
} from '../../common/protocol/protocol.ts';
import type { Slab } from '../../common/io/buffers.ts';
import { checkPrecondition, parseBlockRequest } from './block-request.ts';
import { checkDigests, ownDigest } from './digest-headers.ts';
import { jsonResponse } from './json-response.ts';
import { decodeInPlace, readBody } from './read-body.ts';
import type { OpenTransfer } from '../transfer/transfer.ts';
import { lengthMismatch } from '../transfer/refusals.ts';
import { writeBlock } from '../transfer/write-block.ts';

/** The route has matched: the path ends in a decimal number. */
function indexOf(context: AppContext, open: OpenTransfer): BlockIndex {
  const index = Number(/(\d+)(?:\?|$)/.exec(context.env.incoming.url ?? '')?.[1]);
  if (index < open.blockCount) return blockIndexOf(index, open.geometry);
  throw new TransferError(
    'block-out-of-range',
    `there is no block ${index}: the transfer has ${open.blockCount}`,
    {
      details: { blockCount: open.blockCount },
    },
  );
}

function blockHeaders(open: OpenTransfer, index: BlockIndex): Record<string, string> {
  const digest = open.table.digestOf(index);
  const unreadable = open.table.unreadableOf(index);
  return {
    etag: `"${digestText(open.digest.algorithm, digest)}"`,
    'repr-digest': digestField(open.digest.algorithm, digest),
    [HEADER_BLOCK_STATE]: open.table.stateOf(index),
    [HEADER_GENERATION]: String(open.durability.generationOf(index)),
    ...(unreadable.length === 0 ? {} : { [HEADER_SOURCE_ERRORS]: formatAreas(unreadable) }),
  };
}

/** From the table alone: it must stay cheap while the disk is busy. */
export function headBlock(context: AppContext, { transfer }: AppOptions): Response {
  const open = transfer.claimed();
  const index = indexOf(context, open);
  if (open.table.stateOf(index) === 'absent') {
    throw new TransferError('block-absent', `block ${index} is not on the target`);
  }
  return new Response(null, {
    headers: {
      ...blockHeaders(open, index),
      'content-type': 'application/octet-stream',
      'content-length': String(lengthOf(index, open.geometry)),
    },
  });
}

export async function getBlock(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer } = options;
  const open = transfer.claimed();
  const index = indexOf(context, open);
  // Nobody writes the block while it is read.
  using _lock = await open.locks.lock(index, 1);
  if (open.table.stateOf(index) === 'absent') {
    throw new TransferError('block-absent', `block ${index} is not on the target`);
  }
  using slab = await takeSlab(open, options);
  const bytes = slab.bytes.subarray(0, lengthOf(index, open.geometry));
  await transfer.target.read(bytes, offsetOf(index, open.geometry));
  return new Response(new Uint8Array(bytes), {
    headers: { ...blockHeaders(open, index), 'content-type': 'application/octet-stream' },
  });
}

export async function putBlock(context: AppContext, options: RouteOptions): Promise<Response> {
  const { transfer } = options;
  const open = transfer.writable();
  const index = indexOf(context, open);
  const lengthBytes = lengthOf(index, open.geometry);
  const request = parseBlockRequest(
    { header: (name) => context.req.header(name), query: (name) => context.req.query(name) },
    { lengthBytes, index, digests: open.digests },
  );
  const unreadable = parseSourceErrors(context.req.header(HEADER_SOURCE_ERRORS), {
    offset: offsetOf(index, open.geometry),
    lengthBytes,
    sizeBytes: open.geometry.sizeBytes,
  });
  checkPrecondition(context.req.header('if-none-match'), presentIn(open, index));
  using slab = await takeSlab(open, options);
  const { incoming, outgoing } = context.env;
  if (incoming.headers.expect !== undefined) outgoing.writeContinue();
  const bodyBytes = await readBody(incoming, slab.bytes, request.bodyBytesMax, options.bodyProgressTimeoutMs);
  await checkDigests(slab.bytes.subarray(0, bodyBytes), request.encodedDigests, index);
  const plainBytes = await decodeInPlace(slab.bytes, bodyBytes, request.encoding, lengthBytes);
  if (plainBytes !== lengthBytes) throw lengthMismatch(lengthBytes, plainBytes);
  const bytes = slab.bytes.subarray(0, lengthBytes);
  // Before they are compared: what this memory spoils later has another digest in one of the two.
  const digest = await ownDigest(bytes, request.digests, open.digest);
  await checkDigests(bytes, request.digests, index);
  const { isFlushed } = request;
  const added = areasOutside(unreadable, open.table.unreadableOf(index));
  const { receipt, isNew } = await writeBlock(transfer, { index, bytes, digest, unreadable, isFlushed });
  options.areaReport.add(added);
  return jsonResponse(receipt, !isFlushed ? 202 : isNew ? 201 : 200);
}

function presentIn({ table, digest }: OpenTransfer, index: number): Parameters<typeof checkPrecondition>[1] {
  if (!table.isDurable(index)) return undefined;
  const present = table.digestOf(index);
  const { algorithm } = digest;
  return { text: digestText(algorithm, present), member: digestMember(algorithm, present) };
}

async function takeSlab(open: OpenTransfer, { memoryWaitMs }: AppOptions): Promise<Slab> {
  const timeout = AbortSignal.timeout(memoryWaitMs);
  try {
    return await open.slabs.take(timeout);
  } catch (error) {
    if (!timeout.aborted) throw error;
    throw new TransferError('busy', 'all memory for blocks is in use', {
      retryAfterSeconds: 1,
      cause: error,
    });
  }
}
