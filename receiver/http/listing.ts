/**
 * `GET /blocks`: state and digest of many blocks, in three media types. A listing is made in chunks, as
 * the client takes it: as a whole it has megabytes, and making it takes a tenth of a second.
 */
import { areasWithin, formatAreas } from '../../common/areas.ts';
import { digestText } from '../../common/digest/digest-names.ts';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { LISTING_COUNT_MAX, TYPE_DIGESTS, type BlockState } from '../../common/protocol/protocol.ts';
import type { OpenTransfer } from '../transfer/transfer.ts';

/** Some 20 KB of text, made in a fraction of a millisecond. */
const CHUNK_BLOCKS = 256;
/** No chunk is much longer, whatever is in it. */
const CHUNK_CHARACTERS = 64 * 1024;
const AREAS_AT_ONCE = 1024;

const STATES = ['any', 'missing', 'written', 'durable', 'verified'] as const;
type WantedState = (typeof STATES)[number];

interface ListingRequest {
  readonly from: number;
  readonly count: number;
  readonly state: WantedState;
}

export interface BlockListing {
  readonly type: string;
  /** Where it is known before. */
  readonly lengthBytes?: number;
  /** Each is as the blocks are when it is made. */
  readonly chunks: Iterable<Uint8Array>;
}

/** @throws TransferError `bad-request`. */
export function listBlocks(
  open: OpenTransfer,
  query: (name: string) => string | undefined,
  accept: string | undefined,
): BlockListing {
  const request = parseListingRequest(open, query);
  if (accept?.includes(TYPE_DIGESTS) === true) {
    if (request.state !== 'any') {
      throw new TransferError('bad-request', 'the binary listing has all blocks: leave out state=');
    }
    const lengthBytes = request.count * DIGEST_BYTES;
    return { type: TYPE_DIGESTS, lengthBytes, chunks: digestChunks(open, request) };
  }
  return accept?.includes('text/plain') === true
    ? { type: 'text/plain; charset=utf-8', chunks: encoded(textChunks(open, request)) }
    : { type: 'application/json', chunks: encoded(jsonChunks(open, request)) };
}

function* parts({ from, count }: ListingRequest): Iterable<[first: number, count: number]> {
  for (let at = 0; at < count; at += CHUNK_BLOCKS) yield [from + at, Math.min(CHUNK_BLOCKS, count - at)];
}

/** Short texts are joined. */
function* encoded(texts: Iterable<string>): Iterable<Uint8Array> {
  let joined = '';
  for (const text of texts) {
    joined += text;
    if (joined.length < CHUNK_CHARACTERS) continue;
    yield Buffer.from(joined);
    joined = '';
  }
  yield Buffer.from(joined);
}

function* digestChunks({ table }: OpenTransfer, request: ListingRequest): Iterable<Uint8Array> {
  for (const [first, count] of parts(request)) yield table.durableDigests(first, count);
}

function* textChunks(open: OpenTransfer, request: ListingRequest): Iterable<string> {
  const { table, digest } = open;
  for (const [first, count] of parts(request)) {
    let lines = '';
    for (let index = first; index < first + count; index++) {
      const state = table.stateOf(index);
      if (!isWanted(state, request.state)) continue;
      const text = state === 'absent' ? '-' : digestText(digest.algorithm, table.digestOf(index));
      const areas = table.unreadable.of(index);
      const unreadable = areas.length === 0 ? '' : ` ${formatAreas(areas).replaceAll(' ', '')}`;
      lines += `${index} ${state} ${text}${unreadable}\n`;
      // Unreadable areas make long lines.
      if (lines.length < CHUNK_CHARACTERS) continue;
      yield lines;
      lines = '';
    }
    yield lines;
  }
}

type StateRange = ReturnType<OpenTransfer['table']['statesByRange']>[number];

/** Ranges of equal state, joined across the parts; each with its unreadable areas, if there are any. */
function* jsonChunks(open: OpenTransfer, request: ListingRequest): Iterable<string> {
  let separator = '[';
  let last: StateRange | undefined;
  function* format(range: StateRange | undefined): Iterable<string> {
    if (range === undefined || !isWanted(range.state, request.state)) return;
    const { first, count, state } = range;
    yield `${separator}{"first":${first},"count":${count},"state":"${state}"`;
    yield* unreadableChunks(open, range);
    yield '}';
    separator = ',';
  }
  for (const part of parts(request)) {
    for (const range of open.table.statesByRange(...part)) {
      if (last?.state === range.state) last.count += range.count;
      else {
        yield* format(last);
        last = range;
      }
    }
  }
  yield* format(last);
  yield separator === '[' ? '[]\n' : ']\n';
}

function* unreadableChunks({ table, geometry }: OpenTransfer, range: StateRange): Iterable<string> {
  if (table.unreadable.count === 0) return;
  const { blockSizeBytes } = geometry;
  const [offset, lengthBytes] = [range.first * blockSizeBytes, range.count * blockSizeBytes];
  const areas = areasWithin(table.unreadable.joined(), offset, lengthBytes);
  if (areas.length === 0) return;
  for (let at = 0; at < areas.length; at += AREAS_AT_ONCE) {
    const list = JSON.stringify(areas.slice(at, at + AREAS_AT_ONCE)).slice(1, -1);
    yield at === 0 ? `,"unreadable":[${list}` : `,${list}`;
  }
  yield ']';
}

function isWanted(state: BlockState, wanted: WantedState): boolean {
  switch (wanted) {
    case 'any':
      return true;
    case 'missing':
      return state === 'absent' || state === 'written';
    case 'durable':
      return state === 'durable' || state === 'verified';
    case 'written':
    case 'verified':
      return state === wanted;
  }
}

function parseListingRequest(
  open: OpenTransfer,
  query: (name: string) => string | undefined,
): ListingRequest {
  const from = wholeNumber('from', query('from') ?? '0');
  const count = wholeNumber('count', query('count') ?? String(LISTING_COUNT_MAX));
  if (from > open.blockCount || count > LISTING_COUNT_MAX) {
    const limits = `from 0 to ${open.blockCount}, count up to ${LISTING_COUNT_MAX}`;
    throw new TransferError('bad-request', `from=${from}&count=${count} is out of range: ${limits}`);
  }
  const wanted = query('state') ?? 'any';
  const state = STATES.find((name) => name === wanted);
  if (state === undefined)
    throw new TransferError('bad-request', `state must be one of ${STATES.join(', ')}`);
  return { from, count: Math.min(count, open.blockCount - from), state };
}

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new TransferError('bad-request', `${name}=${text.slice(0, 20)} is not a whole number`);
}
