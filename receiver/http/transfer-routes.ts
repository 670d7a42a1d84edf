/** The routes of the transfer as a whole: status, claim, listing, zeros, flush, completion, receipt. */
import type { AppContext, AppOptions, RouteOptions } from './route-context.ts';
import { countAreas } from '../../common/areas.ts';
import { BLAKE3_HINT } from '../../common/digest/blake3.ts';
import { TransferError } from '../../common/errors.ts';
import {
  JSON_BODY_BYTES_MAX,
  ZERO_BLOCKS_MAX,
  ZERO_RANGES_MAX,
  type Claim,
} from '../../common/protocol/protocol.ts';
import { countOf, parseRanges } from '../../common/ranges.ts';
import { parseFlush } from './block-request.ts';
import { digestNamed } from '../transfer/open-transfer.ts';
import { listBlocks } from './listing.ts';
import { jsonResponse } from './json-response.ts';
import { readBody } from './read-body.ts';
import { VERIFYING_RETRY_SECONDS, sealTransfer } from '../transfer/seal.ts';
import type { Transfer } from '../transfer/transfer.ts';
import { reopen } from '../transfer/reopen.ts';
import { writeZeroBlocks } from '../transfer/write-block.ts';

/** What a person reads in the claim; longer texts are cut. */
const DESCRIPTION_LENGTH_MAX = 200;

export function getTransfer(_context: AppContext, { transfer }: AppOptions): Response {
  return jsonResponse(transfer.status());
}

export async function putTransfer(context: AppContext, options: AppOptions): Promise<Response> {
  const claim = parseClaim(await readJson(context, options), options.transfer);
  const outcome = await options.transfer.claim(claim);
  const size = claim.size === null ? 'of unknown size' : `${claim.size} bytes`;
  if (outcome === 'new') options.log.info(`claimed by ${claim.source.description}, ${size}`);
  if (outcome === 'fixed') options.log.info(`the source has ended: ${size}`);
  return jsonResponse(options.transfer.status(), outcome === 'new' ? 201 : 200);
}

export function listing(context: AppContext, { transfer }: AppOptions): Response {
  const { type, body } = listBlocks(
    transfer.claimed(),
    (name) => context.req.query(name),
    context.req.header('accept'),
  );
  return new Response(body, { headers: { 'content-type': type } });
}

export async function postZero(context: AppContext, options: AppOptions): Promise<Response> {
  const { transfer } = options;
  const { blockCount } = transfer.writable();
  const body = await readJson(context, options);
  const ranges = parseRanges(body['ranges'], blockCount, ZERO_RANGES_MAX);
  if (ranges === undefined) {
    const form = `{"ranges":[[first,count],…]}, up to ${ZERO_RANGES_MAX} ranges in ${blockCount} blocks`;
    throw new TransferError('bad-request', `the body is not of the form ${form}`);
  }
  if (countOf(ranges) > ZERO_BLOCKS_MAX) {
    throw new TransferError('too-large', `one request makes at most ${ZERO_BLOCKS_MAX} blocks zero`);
  }
  const isFlushed = parseFlush(context.req.query('flush'));
  return jsonResponse(await writeZeroBlocks(transfer, ranges, isFlushed), isFlushed ? 200 : 202);
}

export async function postFlush(_context: AppContext, { transfer }: AppOptions): Promise<Response> {
  const { durability } = transfer.claimed();
  await durability.flush();
  return jsonResponse({ epoch: durability.epoch, durableGeneration: durability.durableGeneration });
}

export async function postComplete(context: AppContext, options: RouteOptions): Promise<Response> {
  const body = await readJson(context, options);
  const { blockCount, root } = body;
  const hex = typeof root === 'string' ? /^sha256:([0-9a-f]{64})$/.exec(root)?.[1] : undefined;
  if (typeof blockCount !== 'number' || hex === undefined) {
    throw new TransferError(
      'bad-request',
      'the body is not of the form {"blockCount":N,"root":"sha256:<hex>"}',
    );
  }
  const isFirst = options.transfer.sealed === undefined;
  const result = await sealTransfer(options.transfer, { blockCount, root: Buffer.from(hex, 'hex') }, options);
  if (result.outcome === 'verifying') {
    const response = jsonResponse({ state: 'verifying', verified: result.verified, blockCount }, 202);
    response.headers.set('retry-after', String(VERIFYING_RETRY_SECONDS));
    return response;
  }
  if (isFirst) {
    options.areaReport.report();
    options.log.info(`sealed: ${blockCount} blocks, root sha256:${hex}${unreadableIn(options)}`);
  }
  options.onSealed();
  const { json: text, signature } = result.receipt;
  return jsonResponse({ receipt: JSON.parse(text), text, signature });
}

export function postReopen(_context: AppContext, { transfer, log }: AppOptions): Response {
  if (reopen(transfer)) log.info('opened again: what could not be read at the source may be sent now');
  return jsonResponse(transfer.status());
}

function unreadableIn({ transfer }: AppOptions): string {
  const areas = transfer.opened?.table.unreadable() ?? [];
  return areas.length === 0 ? '' : `, with ${countAreas(areas)} that could not be read at the source`;
}

export function getReceipt(context: AppContext, { transfer }: AppOptions): Response {
  const { sealed } = transfer;
  if (sealed === undefined)
    throw new TransferError('not-found', 'the transfer is not sealed: there is no receipt yet');
  // The signature covers these bytes and no others.
  if (context.req.query('part') === 'signature') {
    return new Response(sealed.signature, { headers: { 'content-type': 'text/plain' } });
  }
  return new Response(sealed.json, { headers: { 'content-type': 'application/json' } });
}

async function readJson(context: AppContext, options: AppOptions): Promise<Record<string, unknown>> {
  const { incoming, outgoing } = context.env;
  if (Number(incoming.headers['content-length'] ?? 0) > JSON_BODY_BYTES_MAX) {
    throw new TransferError('too-large', `a JSON body has at most ${JSON_BODY_BYTES_MAX} bytes`);
  }
  if (incoming.headers.expect !== undefined) outgoing.writeContinue();
  const buffer = Buffer.alloc(JSON_BODY_BYTES_MAX);
  const length = await readBody(incoming, buffer, JSON_BODY_BYTES_MAX, options.bodyProgressTimeoutMs);
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
  const { size, blockSize, source, stream, digest } = body;
  if (
    (typeof size !== 'number' && size !== null) ||
    typeof blockSize !== 'number' ||
    typeof source !== 'object' ||
    source === null
  ) {
    throw new TransferError('bad-request', 'a claim is {"size":…,"blockSize":…,"source":{"description":…}}');
  }
  const without = 'without "digest" it is sha-256';
  const hint = digest === 'blake3' ? `${BLAKE3_HINT}; ${without}` : without;
  const named = digest === undefined ? undefined : digestNamed(asText(digest), digests, hint);
  const texts: Record<string, unknown> = { ...source };
  const text = (name: string): string | null => {
    const value = texts[name];
    if (typeof value !== 'string') return null;
    // Shown on terminals: nothing that could steer one.
    return value.replaceAll(/[^\u0020-\u007e\u00a0-\uffff]/g, '?').slice(0, DESCRIPTION_LENGTH_MAX);
  };
  const description = text('description') ?? 'a source';
  return {
    size,
    blockSize,
    source: {
      description,
      path: text('path') ?? '',
      model: text('model'),
      serial: text('serial'),
      byId: text('byId'),
    },
    ...(stream === true || size === null ? { stream: true } : {}),
    ...(named === undefined ? {} : { digest: named.algorithm }),
  };
}

/** For a message; what is no text is no name of anything. */
function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
