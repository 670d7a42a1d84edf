/** `--show`: a finished copy, from its receipt and the digests of its blocks, without a running copy. */
import { once } from 'node:events';
import { AREAS_NAMED_MAX } from '../../common/area-report.ts';
import { countAreas, formatAreas } from '../../common/areas.ts';
import type { Clock } from '../../common/clock.ts';
import { DIGEST_BYTES, ZeroDigests } from '../../common/digest/digest.ts';
import { diskKind, diskName, type DiskToName } from '../../common/disk/disk-line.ts';
import { TransferError } from '../../common/errors.ts';
import { readReceipt, type SignedReceipt } from '../../common/receipt/signed-receipt.ts';
import { formatSize } from '../../common/units.ts';
import { BlockMarks } from '../../common/watch/block-marks.ts';
import { pageRoutes } from '../../common/watch/page-routes.ts';
import { sealedResult } from '../../common/watch/sealed-result.ts';
import type { WatchAddress } from '../../common/watch/watch-address.ts';
import { WatchLog } from '../../common/watch/watch-log.ts';
import { startWatchServer } from '../../common/watch/watch-server.ts';
import type { WatchBlock, WatchStatus } from '../../common/watch/watch-status.ts';
import { WatchStreams, type WatchedCopy } from '../../common/watch/watch-stream.ts';

/** Disposing it ends it. */
export interface OpenShow extends AsyncDisposable {
  readonly url: string;
  /** Resolves when the signal has come. */
  readonly until: (signal: AbortSignal) => Promise<void>;
}

/** @throws TransferError `usage` of the receipt; `listen-failed`. */
export async function openShow(path: string, address: WatchAddress, clock: Clock): Promise<OpenShow> {
  const copy = new ReceiptCopy(path, await readReceipt(path), clock);
  try {
    // Anyone can sign a receipt with a key of their own: it may lack anything.
    copy.status();
  } catch (cause) {
    throw new TransferError('usage', `cannot show the receipt ${path}: it is not complete`, { cause });
  }
  const streams = new WatchStreams([copy], clock);
  const server = await startWatchServer(address, [...(await pageRoutes()), ...streams.routes]);
  return {
    url: server.url,
    until: async (signal) => {
      // The server itself keeps no process alive.
      const alive = setInterval(() => {}, 60_000);
      if (!signal.aborted) await once(signal, 'abort');
      clearInterval(alive);
    },
    [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose](),
  };
}

class ReceiptCopy implements WatchedCopy {
  readonly name: string;
  readonly log = new WatchLog();
  readonly blocks: BlockMarks;
  readonly #signed: SignedReceipt;
  readonly #clock: Clock;
  readonly #path: string;

  constructor(path: string, signed: SignedReceipt, clock: Clock) {
    this.name = path;
    this.#path = path;
    this.#signed = signed;
    this.#clock = clock;
    this.blocks = markedBlocks(signed);
    const { sealedAt, target } = signed.receipt;
    this.log.add(Date.parse(sealedAt), 'info', `sealed: ${target.path}`);
  }

  block(index: number): WatchBlock | undefined {
    const { digests, receipt } = this.#signed;
    if (index >= receipt.blockCount) return undefined;
    const digest = digests.toString('hex', index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
    return { index, digest: `${receipt.digest} ${digest}`, lane: null, atMs: null };
  }

  status(): WatchStatus {
    const { receipt, fingerprint } = this.#signed;
    const { unreadable, verified } = receipt;
    const equal = verified === 'read-back' ? 'read back, equal' : 'durable, not read back';
    return {
      side: 'receipt',
      nowMs: this.#clock.wallMs(),
      headline: 'A finished copy',
      state: 'ended',
      source: receipt.source === null ? null : diskText(receipt.source),
      target: diskText(receipt.target),
      place: null,
      percent: null,
      amount: formatSize(receipt.size),
      eta: null,
      figures: [],
      lanes: [],
      bottleneck: null,
      trouble: null,
      unreadable: unreadable.slice(0, AREAS_NAMED_MAX),
      unreadableText:
        unreadable.length === 0
          ? null
          : `${countAreas(unreadable)}: ${formatAreas(unreadable, AREAS_NAMED_MAX)}`,
      facts: [
        ['receipt', this.#path],
        ['signed by', fingerprint],
        ['sealed', receipt.sealedAt],
        ['read back', verified === 'none' ? 'no' : receipt.verifiedAt],
        ['generation', String(receipt.generation)],
        ['root', receipt.root],
        ['transfer', receipt.transferId],
        ['digests of blocks', receipt.digest],
        ['block size', formatSize(receipt.blockSize)],
      ],
      result: sealedResult(receipt),
      map: {
        id: 1,
        blockCount: receipt.blockCount,
        blockSizeBytes: receipt.blockSize,
        sizeBytes: receipt.size,
        names: {
          verified: equal,
          durable: equal,
          zero: `zeros, ${equal}`,
          unreadable: 'unreadable in part, zeros there',
        },
      },
      counts: this.blocks.counts,
    };
  }
}

function diskText(disk: DiskToName): string {
  return disk.path === '' ? disk.description : `${diskName(disk)}: ${diskKind(disk)}`;
}

function markedBlocks({ receipt, digests, digest }: SignedReceipt): BlockMarks {
  const { blockCount, blockSize, size, unreadable } = receipt;
  const zeros = new ZeroDigests({ sizeBytes: size, blockSizeBytes: blockSize }, digest);
  const marks = new BlockMarks(blockCount);
  const kind = receipt.verified === 'read-back' ? 'verified' : 'durable';
  for (let index = 0; index < blockCount; index++) {
    const own = digests.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
    marks.set(index, own.equals(zeros.of(index)) ? 'zero' : kind);
  }
  for (const [offset, length] of unreadable) {
    const first = Math.floor(offset / blockSize);
    const end = Math.min(blockCount, Math.ceil((offset + length) / blockSize));
    for (let index = first; index < end; index++) marks.set(index, 'unreadable');
  }
  return marks;
}
