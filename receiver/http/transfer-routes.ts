/** The routes of the transfer as a whole: status, claim, listing, zeros, flush, completion, receipt. */
import { BLAKE3_HINT } from '../../common/digest/blake3.ts';
import { TransferError } from '../../common/errors.ts';
import {
  JSON_BODY_BYTES_MAX,
  PROVE_ALIGNMENT_BYTES,
  PROVE_AREAS_MAX,
  PROVE_AREA_BYTES_MAX,
  ZERO_BLOCKS_MAX,
  ZERO_RANGES_MAX,
  type Claim,
} from '../../common/protocol/protocol.ts';
import { DIGEST_NAMES } from '../../common/digest/digest-names.ts';
import type { Area } from '../../common/areas.ts';
import { blockIndexOf, type Geometry } from '../../common/geometry.ts';
import { countOf, parseRanges } from '../../common/ranges.ts';
import { parseLeftOut } from '../../common/protocol/left-out.ts';
import { printable } from '../../common/text.ts';
import { takeSlab } from './block-routes.ts';
import { copyBlock, takeHeldBlock } from '../transfer/copy-block.ts';
import { claimTransfer } from '../transfer/claim.ts';
import { digestNamed } from '../transfer/refusals.ts';
import { proveAreas, readsNothingBack } from '../transfer/prove-areas.ts';
import { reopen } from '../transfer/reopen.ts';
import { VERIFYING_RETRY_SECONDS, sealTransfer } from '../transfer/seal.ts';
import type { Transfer } from '../transfer/transfer.ts';
import { roomShortage } from '../transfer/target-room.ts';
import { writeZeroBlocks } from '../transfer/write-block.ts';
import { parseFlush, tooLarge } from './block-head.ts';
import { jsonResponse } from './json-response.ts';
import { listBlocks } from './listing.ts';
import { chunkedResponse } from './chunked-response.ts';
import { readBody } from './read-body.ts';
import { actorOf, type AppContext, type AppOptions } from './route-context.ts';

/** People read these texts of a claim; longer ones are cut. */
const DESCRIPTION_LENGTH_MAX = 200;

export function getTransfer(_context: AppContext, { transfer }: AppOptions): Response {
  return jsonResponse(transfer.status());
}

export async function putTransfer(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer, activity, log } = options;
  const claim = parseClaim(await readJson(context, options), transfer);
  const outcome = await claimTransfer(transfer, claim);
  activity.claimed(outcome, claim, actorOf(context));
  const shortage = outcome === 'new' ? await roomShortage(transfer.target, claim) : undefined;
  if (shortage !== undefined) log.warning(shortage);
  return jsonResponse(transfer.status(), outcome === 'new' ? 201 : 200);
}

export function getBlocks({ req, env }: AppContext, options: AppOptions): Response {
  const open = options.transfer.claimed();
  const listing = listBlocks(open, (name) => req.query(name), req.header('accept'));
  const { type, lengthBytes, chunks } = listing;
  const length = lengthBytes === undefined ? {} : { 'content-length': String(lengthBytes) };
  return chunkedResponse(chunks, {
    outgoing: env.outgoing,
    headers: { 'content-type': type, ...length },
    timeoutMs: options.responseProgressTimeoutMs,
    turns: open.listingTurns,
  });
}

export async function postZero(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer } = options;
  const { blockCount } = transfer.writable();
  const body = await readJson(context, options);
  const ranges = parseRanges(body['ranges'], blockCount, ZERO_RANGES_MAX);
  if (ranges === undefined) {
    const form = `{"ranges":[[first,count],…]}, up to ${ZERO_RANGES_MAX} ranges in ${blockCount} blocks`;
    throw new TransferError('bad-request', `the body must have the form ${form}`);
  }
  if (countOf(ranges) > ZERO_BLOCKS_MAX) {
    throw new TransferError('too-large', `one request can zero at most ${ZERO_BLOCKS_MAX} blocks`);
  }
  const isFlushed = parseFlush(context.req.query('flush'));
  return jsonResponse(await writeZeroBlocks(transfer, ranges, isFlushed), isFlushed ? 200 : 202);
}

export async function postCopy(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer } = options;
  const open = transfer.writable();
  const { from, to, digest } = await readJson(context, options);
  const isIndex = (value: unknown): value is number =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < open.blockCount;
  const name = DIGEST_NAMES[open.digest.algorithm];
  const hex =
    typeof digest === 'string' ? new RegExp(`^${name}:([0-9a-f]{64})$`).exec(digest)?.[1] : undefined;
  const store = from === undefined ? transfer.target.store : undefined;
  if ((store === undefined && !isIndex(from)) || !isIndex(to) || from === to || hex === undefined) {
    const form = `{"from":N,"to":M,"digest":"${name}:<hex>"}, two different blocks of ${open.blockCount}`;
    throw new TransferError('bad-request', `the body must have the form ${form}`);
  }
  const isFlushed = parseFlush(context.req.query('flush'));
  const block = { to: blockIndexOf(to, open.geometry), digest: Buffer.from(hex, 'hex'), isFlushed };
  const { receipt, isNew } =
    store !== undefined
      ? await takeHeldBlock(transfer, store, block)
      : await copyBlock(transfer, { ...block, from: blockIndexOf(Number(from), open.geometry) }, async () => {
          return await takeSlab(open, options);
        });
  return jsonResponse(receipt, !isFlushed ? 202 : isNew ? 201 : 200);
}

/** Everything is read back again; how far that is, and what differs, is in the status. */
export function postVerify(context: AppContext, { transfer, activity }: AppOptions): Response {
  if (transfer.adopted().verifier === undefined) throw readsNothingBack();
  transfer.readAgain();
  activity.verifying(actorOf(context));
  return jsonResponse(transfer.status(), 202);
}

export async function postProve(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer } = options;
  const open = transfer.adopted();
  const { nonce, areas } = await readJson(context, options);
  const isNonce = typeof nonce === 'string' && /^[0-9a-f]{64}$/.test(nonce);
  const isArea = (value: unknown): value is Area => isProvable(value, open.geometry);
  if (!isNonce || !Array.isArray(areas) || areas.length === 0 || !areas.every(isArea)) {
    const form = '{"nonce":"<64 hexadecimal digits>","areas":[[<offset>,<length>],…]}';
    const [most, unit] = [PROVE_AREA_BYTES_MAX, PROVE_ALIGNMENT_BYTES];
    const area = `at most ${most} bytes of one block, from a multiple of ${unit}`;
    throw new TransferError('bad-request', `the body must have the form ${form}, each area ${area}`);
  }
  if (areas.length > PROVE_AREAS_MAX) {
    throw new TransferError('too-large', `one request can prove at most ${PROVE_AREAS_MAX} areas`);
  }
  const parts = {
    takeSlab: async () => await takeSlab(open, options),
    isGone: () => context.env.incoming.socket.destroyed,
  };
  return jsonResponse(await proveAreas(transfer, { nonce, areas }, parts));
}

/** Whether it is `[offset, length]` in one block, short and aligned. */
function isProvable(value: unknown, { sizeBytes, blockSizeBytes }: Geometry): value is Area {
  if (!Array.isArray(value) || value.length !== 2 || !value.every(Number.isSafeInteger)) return false;
  const [offset, length] = value as [number, number];
  const isShort = length > 0 && length <= PROVE_AREA_BYTES_MAX;
  const isWithin = offset >= 0 && (offset % blockSizeBytes) + length <= blockSizeBytes;
  return isShort && isWithin && offset % PROVE_ALIGNMENT_BYTES === 0 && offset + length <= sizeBytes;
}

export async function postFlush(_context: AppContext, { transfer }: AppOptions): Promise<Response> {
  const { durability } = transfer.claimed();
  await durability.flush();
  return jsonResponse({ epoch: durability.epoch, durableGeneration: durability.durableGeneration });
}

export async function postComplete(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer, activity } = options;
  const { blockCount, root, leftOut: given = null } = await readJson(context, options);
  const hex = typeof root === 'string' ? /^sha256:([0-9a-f]{64})$/.exec(root)?.[1] : undefined;
  if (typeof blockCount !== 'number' || hex === undefined) {
    const form = '{"blockCount":N,"root":"sha256:<hex>"}';
    throw new TransferError('bad-request', `the body must have the form ${form}`);
  }
  const leftOut = parseLeftOut(given, transfer.claimed().geometry.sizeBytes);
  if (leftOut === undefined) {
    const form = '{"bytes":N,"count":N,"areas":[[offset,length],…]}, areas within the source';
    throw new TransferError('bad-request', `"leftOut" must be null or have the form ${form}`);
  }
  const wasSealed = transfer.sealed !== undefined;
  const request = { blockCount, root: Buffer.from(hex, 'hex'), leftOut };
  const result = await sealTransfer(transfer, request, options);
  if (result.outcome === 'verifying') {
    const response = jsonResponse({ state: 'verifying', verified: result.verified, blockCount }, 202);
    response.headers.set('retry-after', String(VERIFYING_RETRY_SECONDS));
    return response;
  }
  if (!wasSealed) {
    const unreadable = transfer.claimed().table.unreadable.joined();
    activity.sealed(blockCount, `sha256:${hex}`, { unreadable, leftOut }, actorOf(context));
  }
  options.onSealed();
  const { json: text, signature } = result.receipt;
  const changedCount = transfer.opened?.verifier?.changedCount ?? 0;
  return jsonResponse({ receipt: JSON.parse(text), text, signature, changedCount });
}

export function postReopen(context: AppContext, { transfer, activity }: AppOptions): Response {
  if (reopen(transfer)) activity.reopened(actorOf(context));
  return jsonResponse(transfer.status());
}

export function getReceipt(context: AppContext, { transfer }: AppOptions): Response {
  const { sealed } = transfer;
  if (sealed === undefined)
    throw new TransferError('not-found', 'no receipt yet: the transfer is not sealed');
  // The signature covers exactly these bytes.
  if (context.req.query('part') === 'signature') {
    return new Response(sealed.signature, { headers: { 'content-type': 'text/plain' } });
  }
  return new Response(sealed.json, { headers: { 'content-type': 'application/json' } });
}

async function readJson(context: AppContext, options: AppOptions): Promise<Record<string, unknown>> {
  const { incoming } = context.env;
  if (Number(incoming.headers['content-length'] ?? 0) > JSON_BODY_BYTES_MAX) {
    throw tooLarge(JSON_BODY_BYTES_MAX);
  }
  const buffer = Buffer.alloc(JSON_BODY_BYTES_MAX);
  const length = await readBody(context.env, buffer, JSON_BODY_BYTES_MAX, options.bodyProgressTimeoutMs);
  let value: unknown;
  try {
    value = JSON.parse(buffer.toString('utf8', 0, length));
  } catch (error) {
    throw new TransferError('bad-request', 'the body is not JSON', { cause: error });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw new TransferError('bad-request', 'the body is not a JSON object');
}

function parseClaim(body: Record<string, unknown>, { digests }: Transfer): Claim {
  const { size, blockSize, source, stream, digest, leavesOut } = body;
  if (
    (typeof size !== 'number' && size !== null) ||
    typeof blockSize !== 'number' ||
    typeof source !== 'object' ||
    source === null
  ) {
    const form = '{"size":…,"blockSize":…,"source":{"description":…}}';
    throw new TransferError('bad-request', `a claim must have the form ${form}`);
  }
  const without = 'without "digest" it is sha-256';
  const hint = digest === 'blake3' ? `${BLAKE3_HINT}; ${without}` : without;
  const named = digest === undefined ? undefined : digestNamed(asText(digest), digests, hint);
  const texts: Record<string, unknown> = { ...source };
  const text = (name: string): string | null => {
    const value = texts[name];
    if (typeof value !== 'string') return null;
    // Cut first: a surrogate pair may be cut in two.
    return printable(value.slice(0, DESCRIPTION_LENGTH_MAX));
  };
  return {
    size,
    blockSize,
    source: {
      description: text('description') ?? 'a source',
      path: text('path') ?? '',
      model: text('model'),
      serial: text('serial'),
      byId: text('byId'),
    },
    ...(stream === true || size === null ? { stream: true } : {}),
    ...(named === undefined ? {} : { digest: named.algorithm }),
    ...(leavesOut === true ? { leavesOut } : {}),
  };
}

/** For a message. */
function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
