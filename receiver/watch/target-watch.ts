/** A transfer onto one target, as those who watch ddt-receive see it. */
import { AREAS_NAMED_MAX } from '../../common/area-report.ts';
import { countAreas, formatAreas } from '../../common/areas.ts';
import { steadyWallMs, type Clock } from '../../common/clock.ts';
import { diskKind, diskName } from '../../common/disk/disk-line.ts';
import type { TransferError } from '../../common/errors.ts';
import {
  BLOCK_STATES,
  isAbsentDigest,
  type BlockState,
  type SealReceipt,
} from '../../common/protocol/protocol.ts';
import { RateMeter } from '../../common/rate.ts';
import { formatDuration, formatRate, formatSize } from '../../common/units.ts';
import { sealedResult } from '../../common/watch/sealed-result.ts';
import { WatchLog } from '../../common/watch/watch-log.ts';
import type { WatchBlock, WatchMap, WatchResult, WatchStatus } from '../../common/watch/watch-status.ts';
import type { WatchedCopy } from '../../common/watch/watch-stream.ts';
import type { Activity } from '../console/activity.ts';
import type { OpenTransfer, Transfer } from '../transfer/transfer.ts';
import type { BadReason, TargetFigures } from './receiver-metrics.ts';
import { TableBlocks } from './table-blocks.ts';

const NAMES: WatchMap['names'] = {
  absent: 'not on the target',
  written: 'written, not flushed yet',
  durable: 'durable: flushed and journalled',
  verified: 'read back, equal',
  listed: 'durable from before, to be read back',
  unreadable: 'unreadable at the source in part, zeros here',
  lost: 'read back different, to be sent again',
  different: 'changed since it was sealed',
};
/** Others may have changed millions of blocks. */
const LOST_MAX = 10_000;
/** A sender that is back sooner was not gone. */
const ABSENT_MS = 10_000;

export interface WatchedTransfer {
  readonly transfer: Transfer;
  readonly activity: Pick<Activity, 'receivedBytes' | 'absentMs' | 'targetErrorCount'>;
  /** Why it refuses everything. */
  readonly failure: () => TransferError | undefined;
}

export class TargetWatch implements WatchedCopy {
  readonly name: string;
  readonly log = new WatchLog();
  readonly #clock: Clock;
  /** Of the chart, whose course must not turn back. */
  readonly #chartMs: () => number;
  readonly #lost = new Set<number>();
  readonly #rates = { disk: new RateMeter(), line: new RateMeter() };
  #watched: WatchedTransfer | undefined;
  #open: OpenTransfer | undefined;
  #blocks: TableBlocks | undefined;
  #mapId = 0;

  readonly #badCounts: Record<BadReason, number> = { mismatch: 0, changed: 0, unstable: 0 };

  constructor(name: string, clock: Clock) {
    this.name = name;
    this.#clock = clock;
    this.#chartMs = steadyWallMs(clock);
  }

  opened(watched: WatchedTransfer): void {
    this.#watched = watched;
  }

  /** A block was read back, and is not as it should be. */
  bad(index: number, reason: BadReason): void {
    this.#badCounts[reason]++;
    if (reason === 'unstable') return;
    if (this.#lost.size < LOST_MAX) this.#lost.add(index);
  }

  get figures(): TargetFigures {
    const { transfer, activity, failure } = this.#watched ?? {};
    const table = transfer?.opened?.table;
    const counts = table && BLOCK_STATES.map((state) => [state, table.countOf(state)] as const);
    return {
      name: this.name,
      progress: transfer?.progress(),
      stateCounts: counts && (Object.fromEntries(counts) as Record<BlockState, number>),
      receivedBytes: activity?.receivedBytes ?? 0,
      badCounts: this.#badCounts,
      errorCount: activity?.targetErrorCount ?? 0,
      unreadableCount: table?.unreadable.listed().length ?? 0,
      senderAbsentMs: activity?.absentMs,
      isSealed: transfer?.sealed !== undefined,
      isFailed: failure?.() !== undefined,
    };
  }

  /** To be called once a second. */
  tick(): void {
    if (this.#watched === undefined) return;
    const { transfer, activity } = this.#watched;
    const nowMs = this.#clock.monotonicMs();
    const { disk, line } = this.#rates;
    disk.add(nowMs, transfer.progress()?.durableBytes ?? 0);
    line.add(nowMs, activity.receivedBytes);
    if (transfer.opened !== undefined && transfer.sealed === undefined)
      this.log.point([this.#chartMs() / 1000, disk.bytesPerSecond, line.bytesPerSecond]);
    for (const index of this.#lost) {
      if (transfer.opened?.table.stateOf(index) !== 'absent') this.#lost.delete(index);
    }
  }

  get blocks(): TableBlocks | undefined {
    const open = this.#watched?.transfer.opened;
    if (open?.table === undefined) return undefined;
    if (this.#open?.table !== open.table) {
      this.#open = open;
      this.#blocks = new TableBlocks(open.table, this.#lost);
      this.#mapId++;
    }
    return this.#blocks;
  }

  block(index: number): WatchBlock | undefined {
    const open = this.#watched?.transfer.opened;
    if (open === undefined || index >= open.table.blockCount) return undefined;
    const digest = open.table.digestOf(index);
    const isKnown = open.table.stateOf(index) !== 'absent' && !isAbsentDigest(digest);
    return {
      index,
      digest: isKnown ? `${open.digest.algorithm} ${digest.toString('hex')}` : null,
      lane: null,
      atMs: null,
    };
  }

  status(): WatchStatus {
    const transfer = this.#watched?.transfer;
    const open = transfer?.opened;
    const blocks = this.blocks;
    const result = this.#result();
    const unreadable = open?.table.unreadable.listed() ?? [];
    const sizeBytes = open?.claim.size ?? null;
    const progress = transfer?.progress();
    const percent = sizeBytes === null || progress === undefined ? null : percentOf(progress, sizeBytes);
    const trouble = this.#trouble();
    const isEnded = result !== null;
    return {
      side: 'receiver',
      nowMs: this.#clock.wallMs(),
      headline: this.#headline(percent),
      state: isEnded ? 'ended' : trouble !== null ? 'waiting' : open === undefined ? 'starting' : 'running',
      source: open === undefined ? null : sourceText(open),
      target: transfer === undefined ? this.name : targetText(transfer),
      place: null,
      percent: transfer?.sealed === undefined ? percent : 100,
      amount: progress === undefined ? null : amountOf(progress, sizeBytes),
      eta: null,
      figures: open === undefined ? [] : this.#figures(open),
      lanes: [],
      bottleneck: null,
      trouble,
      unreadable: unreadable.slice(0, AREAS_NAMED_MAX),
      unreadableText:
        unreadable.length === 0
          ? null
          : `${countAreas(unreadable)}: ${formatAreas(unreadable, AREAS_NAMED_MAX)}`,
      facts: transfer === undefined ? [] : factsOf(transfer),
      result,
      map:
        open === undefined || blocks === undefined
          ? null
          : {
              id: this.#mapId,
              blockCount: blocks.blockCount,
              blockSizeBytes: open.geometry.blockSizeBytes,
              sizeBytes,
              names: NAMES,
            },
      counts: blocks?.counts ?? [],
    };
  }

  #headline(percent: number | null): string {
    const transfer = this.#watched?.transfer;
    if (transfer === undefined) return 'Starting: looking at the target';
    if (this.#watched?.failure() !== undefined) return 'Stopped';
    const adopting = transfer.adoption?.progress;
    if (adopting !== undefined)
      return `Reading what the target holds: ${adopting.done} of ${adopting.total} blocks`;
    if (transfer.sealed !== undefined) return 'Finished';
    const open = transfer.opened;
    if (open === undefined) return 'Waiting for a sender';
    const { table, claim } = open;
    const isThere = table.countOf('absent') + table.countOf('written') === 0;
    if (claim.size !== null && isThere) return 'All of it is there. It is being read back.';
    return percent === null ? 'Receiving' : `Receiving: ${percent} %`;
  }

  #figures({ table, verifier }: OpenTransfer): [string, string][] {
    const { disk, line } = this.#rates;
    const behind = table.countOf('durable');
    return [
      ['Becomes durable', formatRate(disk.bytesPerSecond)],
      ['Received', formatRate(line.bytesPerSecond)],
      ['Received so far', formatSize(this.#watched?.activity.receivedBytes ?? 0)],
      verifier === undefined
        ? ['Reading back', 'off (--verify none)']
        : ['To be read back', behind === 0 ? 'nothing' : `${behind} durable blocks`],
    ];
  }

  #trouble(): string | null {
    const transfer = this.#watched?.transfer;
    const absentMs = this.#watched?.activity.absentMs;
    if (transfer?.sealed !== undefined || absentMs === undefined || absentMs < ABSENT_MS) return null;
    return `No sender is connected, for ${formatDuration(absentMs)}. When it is started again, it resumes.`;
  }

  #result(): WatchResult | null {
    const failure = this.#watched?.failure();
    if (failure !== undefined)
      return {
        kind: 'failed',
        title: 'Not complete',
        lines: [failure.message, ...(failure.hint === undefined ? [] : [failure.hint])],
      };
    const sealed = this.#watched?.transfer.sealed;
    const changed = this.#watched?.transfer.opened?.table.differentCount ?? 0;
    if (sealed === undefined) return null;
    return sealedResult(JSON.parse(sealed.json) as SealReceipt, changed);
  }
}

interface Bytes {
  readonly durableBytes: number;
}

/** As the terminal of the sender rounds it. */
function percentOf({ durableBytes }: Bytes, sizeBytes: number): number {
  if (durableBytes >= sizeBytes) return 99;
  const percent = (durableBytes * 100) / sizeBytes;
  return percent < 10 ? Math.floor(percent * 10) / 10 : Math.floor(percent);
}

function amountOf({ durableBytes }: Bytes, sizeBytes: number | null): string {
  const of = sizeBytes === null ? 'an unknown size' : formatSize(sizeBytes);
  return `${formatSize(durableBytes)} of ${of} durable`;
}

function sourceText({ claim: { source, size } }: OpenTransfer): string {
  const length = size === null ? 'size unknown' : formatSize(size);
  return source.path === ''
    ? `${source.description}, ${length}`
    : `${diskName(source)}: ${diskKind(source)}, ${length}`;
}

function targetText({ target: { identity } }: Transfer): string {
  const size = identity.sizeBytes === null ? '' : `, ${formatSize(identity.sizeBytes)}`;
  return `${diskName(identity)}: ${diskKind(identity)}${size}`;
}

function factsOf(transfer: Transfer): [string, string][] {
  const { opened, sealed } = transfer;
  const facts: [string, string][] = [
    ['journal', transfer.journal.path],
    ['transfer', transfer.id],
    ['generation of the receipt', String(transfer.generation)],
  ];
  if (opened !== undefined) {
    facts.push(
      ['digests of blocks', opened.digest.algorithm],
      ['block size', formatSize(opened.geometry.blockSizeBytes)],
    );
  }
  if (sealed !== undefined) {
    const { root, sealedAt, verifiedAt, receiverKey } = JSON.parse(sealed.json) as SealReceipt;
    facts.push(['root', root], ['sealed', sealedAt], ['read back', verifiedAt], ['signed by', receiverKey]);
  }
  return facts;
}
