/** The state of copies as routes: a stream for each that begins with all of it, and details of blocks. */
import { othersTurn } from '../event-loop.ts';
import type { Clock } from '../clock.ts';
import type { WatchedBlocks } from './block-marks.ts';
import { printable, redact } from '../text.ts';
import { encodeFrame, encodeRuns, FRAME_BLOCKS, FRAME_STATUS } from './watch-frames.ts';
import type { LogPosition, WatchLog } from './watch-log.ts';
import type { WatchRoute } from './watch-server.ts';
import type { WatchBlock, WatchStatus, WatchUpdate } from './watch-status.ts';

/** One copy, for those who watch. */
export interface WatchedCopy {
  /** Its name among several. */
  readonly name: string;
  readonly log: WatchLog;
  status(): WatchStatus;
  /** undefined before the size of a block is known. */
  readonly blocks: WatchedBlocks | undefined;
  block(index: number): WatchBlock | undefined;
}

/** Often enough to see blocks move. */
const INTERVAL_MS = 500;
/** Chunks with random states take 4 KiB each. */
const CHUNKS_PER_FRAME = 64;

export class WatchStreams {
  readonly #copies: readonly WatchedCopy[];
  readonly #clock: Clock;
  readonly #end = new AbortController();
  readonly #open = new Set<Promise<void>>();

  constructor(copies: readonly WatchedCopy[], clock: Clock) {
    this.#copies = copies;
    this.#clock = clock;
  }

  get routes(): readonly WatchRoute[] {
    return [
      {
        path: '/copies',
        answer: () => ({
          type: 'application/json',
          body: JSON.stringify(this.#copies.map(({ name }) => name)),
        }),
      },
      {
        path: '/copies/:copy',
        answer: ({ copy: number }) => {
          const copy = this.#copyOf(number);
          return copy && { type: 'application/octet-stream', body: this.#updates(copy) };
        },
      },
      {
        path: '/copies/:copy/blocks/:index',
        answer: ({ copy: number, index = '' }) => {
          const block = /^\d{1,10}$/.test(index) ? this.#copyOf(number)?.block(Number(index)) : undefined;
          return block && { type: 'application/json', body: JSON.stringify(block) };
        },
      },
    ];
  }

  /** Sends the last state to all who watch. @param graceMs for those who are slow. */
  async finish(graceMs: number): Promise<void> {
    this.#end.abort();
    const grace = new AbortController();
    const waiting = this.#clock.sleep(graceMs, grace.signal).catch(() => {});
    await Promise.race([Promise.all(this.#open), waiting]);
    grace.abort();
  }

  #copyOf(number: string | undefined): WatchedCopy | undefined {
    return /^\d{1,4}$/.test(number ?? '') ? this.#copies[Number(number)] : undefined;
  }

  async *#updates(copy: WatchedCopy): AsyncGenerator<Uint8Array> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#open.add(promise);
    const position: LogPosition = { messages: 0, points: 0, halvings: -1 };
    const had = { map: -1, version: -1 };
    try {
      for (;;) {
        const isLast = this.#end.signal.aborted;
        const status = copy.status();
        const { messages, points, isAllPoints } = copy.log.since(position);
        const update: WatchUpdate = { status, messages, points, isAllPoints, isLast: false };
        yield statusFrame(update);
        if (copy.blocks !== undefined && status.map !== null) {
          if (had.map !== status.map.id) had.version = -1;
          had.map = status.map.id;
          yield* changedChunks(copy.blocks, had);
        }
        if (isLast) {
          const last: WatchUpdate = { ...update, messages: [], points: [], isAllPoints: false, isLast };
          yield statusFrame(last);
          return;
        }
        await this.#clock.sleep(INTERVAL_MS, this.#end.signal).catch(() => {});
      }
    } finally {
      this.#open.delete(promise);
      resolve();
    }
  }
}

/** Whatever disks, paths and messages of the other side hold, it is one line of text, and not a secret. */
function statusFrame(update: WatchUpdate): Uint8Array {
  const safe = (_name: string, value: unknown): unknown =>
    typeof value === 'string' ? printable(redact(value)) : value;
  return encodeFrame(FRAME_STATUS, new TextEncoder().encode(JSON.stringify(update, safe)));
}

/** @param had the version up to which the client has them; it is moved. */
async function* changedChunks(blocks: WatchedBlocks, had: { version: number }): AsyncGenerator<Uint8Array> {
  const { version, blockCount, chunkBlocks } = blocks;
  let frames: Uint8Array[] = [];
  for (let chunk = 0; chunk * chunkBlocks < blockCount; chunk++) {
    if (blocks.changedAt(chunk) <= had.version) continue;
    frames.push(encodeFrame(FRAME_BLOCKS, encodeRuns(chunk * chunkBlocks, blocks.codesOf(chunk))));
    if (frames.length < CHUNKS_PER_FRAME) continue;
    yield Buffer.concat(frames);
    frames = [];
    // A million blocks take some milliseconds, which the copy needs as well.
    await othersTurn();
  }
  if (frames.length > 0) yield Buffer.concat(frames);
  had.version = version;
}
