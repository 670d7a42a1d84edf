/** `GET /blocks`: state and digest of many blocks, in three media types. */
import { areasWithin, formatAreas } from '../../common/areas.ts';
import { digestText } from '../../common/digest/digest-names.ts';
import { TransferError } from '../../common/errors.ts';
import { LISTING_COUNT_MAX, TYPE_DIGESTS, type BlockState } from '../../common/protocol/protocol.ts';
import type { OpenTransfer } from '../transfer/transfer.ts';

const STATES = ['any', 'missing', 'written', 'durable', 'verified'] as const;
type WantedState = (typeof STATES)[number];

interface ListingRequest {
  readonly from: number;
  readonly count: number;
  readonly state: WantedState;
}

/** @throws TransferError `bad-request`. */
export function listBlocks(
  open: OpenTransfer,
  query: (name: string) => string | undefined,
  accept: string | undefined,
): { type: string; body: string | Uint8Array<ArrayBuffer> } {
  const request = parseListingRequest(open, query);
  if (accept?.includes(TYPE_DIGESTS) === true) {
    if (request.state !== 'any') {
      throw new TransferError('bad-request', 'the binary listing has all blocks: leave out state=');
    }
    const digests = open.table.durableDigests(request.from, request.count);
    return { type: TYPE_DIGESTS, body: new Uint8Array(digests) };
  }
  const ranges = open.table
    .statesByRange(request.from, request.count)
    .filter(({ state }) => isWanted(state, request.state));
  if (accept?.includes('text/plain') !== true) {
    return { type: 'application/json', body: `${JSON.stringify(withUnreadable(open, ranges))}\n` };
  }
  const lines: string[] = [];
  for (const { first, count, state } of ranges) {
    for (let index = first; index < first + count; index++) {
      const digest = state === 'absent' ? '-' : digestText(open.digest.algorithm, open.table.digestOf(index));
      const areas = open.table.unreadableOf(index);
      const unreadable = areas.length === 0 ? '' : ` ${formatAreas(areas).replaceAll(' ', '')}`;
      lines.push(`${index} ${state} ${digest}${unreadable}\n`);
    }
  }
  return { type: 'text/plain; charset=utf-8', body: lines.join('') };
}

type StateRange = ReturnType<OpenTransfer['table']['statesByRange']>[number];

/** Adds the unreadable areas to each range that has any. */
function withUnreadable({ table, geometry }: OpenTransfer, ranges: readonly StateRange[]): readonly object[] {
  const all = table.unreadable();
  if (all.length === 0) return ranges;
  return ranges.map((range) => {
    const { blockSizeBytes } = geometry;
    const unreadable = areasWithin(all, range.first * blockSizeBytes, range.count * blockSizeBytes);
    return unreadable.length === 0 ? range : { ...range, unreadable };
  });
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
