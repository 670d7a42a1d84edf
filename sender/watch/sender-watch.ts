/** A run of ddt-send, as those who watch it see it. */
import { AREAS_NAMED_MAX } from '../../common/area-report.ts';
import { coarsened, countAreas, formatAreas, joinAreas, type Area } from '../../common/areas.ts';
import { steadyWallMs, type Clock } from '../../common/clock.ts';
import { UNREADABLE_AREAS_MAX } from '../../common/protocol/protocol.ts';
import { formatRate, formatSize } from '../../common/units.ts';
import type { WatchedBlocks } from '../../common/watch/block-marks.ts';
import { EventStream } from '../../common/watch/event-stream.ts';
import type { Metric } from '../../common/watch/metrics.ts';
import { WatchLog } from '../../common/watch/watch-log.ts';
import type {
  WatchBlock,
  WatchLane,
  WatchLevel,
  WatchMap,
  WatchResult,
  WatchStatus,
} from '../../common/watch/watch-status.ts';
import type { WatchedCopy } from '../../common/watch/watch-stream.ts';
import { textOf, type Waiting } from '../display/outage.ts';
import { PROGRESS_COLUMNS, type Snapshot } from '../display/progress-columns.ts';
import type { ReporterWatch, RunEnd } from '../display/reporter-watch.ts';
import type { DiskFacts } from '../display/reporter.ts';
import { EtaRange } from './eta-range.ts';
import { LaneShares } from './lane-shares.ts';
import { MarkedBlocks } from './marked-blocks.ts';
import { resultOf, resultOfSeveral, type EndedDisk } from './run-result.ts';
import { senderMetrics } from './sender-metrics.ts';

/** `source   /dev/sdc: …`: the name of a fact, and what follows. */
const FACT = /^(\w[\w ]{0,8}?) {2,}(.*)$/s;

const NAMES: WatchMap['names'] = {
  absent: 'not read yet',
  read: 'read, waiting for its turn',
  sending: 'on its way',
  written: 'written there, not known to be durable yet',
  durable: 'sent, durable on the target',
  verified: 'sent, read back, equal',
  zero: 'zeros, durable on the target',
  copied: 'copied there from an equal block',
  present: 'was there already, equal',
  unreadable: 'unreadable in part, zeros there',
  lost: 'lost there, to be sent again',
  different: 'differs from the sealed copy',
};

export class SenderWatch implements WatchedCopy, ReporterWatch {
  readonly name = 'ddt-send';
  readonly log = new WatchLog();
  readonly notes: MarkedBlocks;
  readonly #clock: Clock;
  /** Of the chart, whose course must not turn back. */
  readonly #chartMs: () => number;
  #mapId = 0;
  #disks = new Map<string, string>();
  #place: { readonly number: number; readonly count: number } | undefined;
  #ended: EndedDisk[] = [];
  #snapshot: Snapshot | undefined;
  #waiting: Waiting | undefined;
  #result: WatchResult | null = null;
  #shares = new LaneShares();
  #range = new EtaRange();
  #facts: readonly (readonly [string, string])[] = [];
  #lanes: readonly WatchLane[] = [];
  #acknowledged = new Map<number, number>();
  #busy = performance.eventLoopUtilization();
  #lastTickMs = 0;
  #unreadable: readonly Area[] = [];

  readonly events = new EventStream();
  #lostCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#chartMs = steadyWallMs(clock);
    this.notes = new MarkedBlocks(clock, () => this.#begin());
  }

  message(level: WatchLevel, text: string): void {
    const [, label = '', rest = ''] = FACT.exec(text) ?? [];
    // Of several disks, all are named before the first is sent.
    if ((label === 'source' || label === 'target') && this.#place === undefined) this.#disks.set(label, rest);
    this.log.add(this.#clock.wallMs(), level, text);
  }

  disk({ number, count, source, target }: DiskFacts): void {
    this.#place = { number, count };
    this.#unreadable = [];
    this.#disks = new Map([
      ['source', source],
      ['target', target],
    ]);
    this.#snapshot = this.#waiting = undefined;
    this.#result = null;
  }

  event(event: Readonly<Record<string, unknown>>): void {
    this.events.add(event);
  }

  lost(count: number): void {
    this.#lostCount += count;
  }

  get metrics(): Metric[] {
    const [snapshot, waiting, unreadable] = [this.#snapshot, this.#waiting, this.#unreadable];
    return senderMetrics({ snapshot, waiting, unreadable, lostCount: this.#lostCount });
  }

  waiting(waiting: Waiting | undefined): void {
    this.#waiting = waiting;
  }

  tick(snapshot: Snapshot, waiting: Waiting | undefined): void {
    const nowMs = this.#clock.monotonicMs();
    this.#snapshot = snapshot;
    this.#waiting = waiting;
    this.#result = null;
    const { bytesPerSecond, lineBytesPerSecond, limitBytesPerSecond, bytesArrived } = snapshot;
    this.log.point([this.#chartMs() / 1000, bytesPerSecond, lineBytesPerSecond]);
    this.#range.add(nowMs, bytesArrived, waiting !== undefined);
    this.#lanes = this.#lanesNow(Math.max(1, nowMs - this.#lastTickMs));
    this.#lastTickMs = nowMs;
    const busy = performance.eventLoopUtilization();
    const { utilization: busyShare } = performance.eventLoopUtilization(busy, this.#busy);
    this.#busy = busy;
    const waits = this.notes.watched?.waits();
    if (waits !== undefined && waiting === undefined)
      this.#shares.add({ waits, busyShare, lineBytesPerSecond, limitBytesPerSecond });
  }

  unreadable(areas: readonly Area[]): void {
    if (areas.length > 0)
      this.#unreadable = coarsened(joinAreas([...this.#unreadable, ...areas]), UNREADABLE_AREAS_MAX);
  }

  ended(end: RunEnd): void {
    if (end.kind === 'done' && end.facts.verified === 'read-back') this.notes.proven();
    if (end.kind === 'done')
      this.#facts = [
        ...this.#facts,
        ['root', end.facts.root],
        ...(end.facts.verifiedAt === null ? [] : [['read back', end.facts.verifiedAt] as const]),
      ];
    this.#waiting = undefined;
    const [source, target] = [this.#disks.get('source') ?? null, this.#disks.get('target') ?? ''];
    const result = resultOf(end, source);
    if (this.#place !== undefined) this.#ended.push({ name: `${source} onto ${target}`, result });
    this.#result = this.#place === undefined ? result : resultOfSeveral(this.#ended, this.#place.count);
    if (end.kind === 'failed') {
      const { message, hint } = end.error;
      this.message('error', hint === undefined ? message : `${message}; ${hint}`);
    }
  }

  get blocks(): WatchedBlocks | undefined {
    return this.notes.marks;
  }

  block(index: number): WatchBlock | undefined {
    return this.notes.block(index);
  }

  status(): WatchStatus {
    const snapshot = this.#snapshot;
    const result = this.#result;
    const unreadable = this.#unreadable;
    const percent = snapshot === undefined ? null : percentOf(snapshot);
    const isRunning = result === null && snapshot !== undefined;
    return {
      side: 'sender',
      nowMs: this.#clock.wallMs(),
      headline: this.#headline(percent),
      state:
        result !== null
          ? 'ended'
          : this.#waiting !== undefined
            ? 'waiting'
            : isRunning
              ? 'running'
              : 'starting',
      source: this.#disks.get('source') ?? null,
      target: this.#disks.get('target') ?? null,
      place: this.#place === undefined ? null : `${this.#place.number} of ${this.#place.count}`,
      percent,
      amount: snapshot === undefined ? null : amountOf(snapshot),
      eta: isRunning ? this.#eta(snapshot) : null,
      figures: snapshot === undefined ? [] : figuresOf(snapshot),
      lanes: isRunning ? this.#lanes : [],
      bottleneck: isRunning && this.#waiting === undefined ? this.#shares.bottleneck : null,
      trouble: this.#waiting === undefined ? null : troubleOf(this.#waiting),
      unreadable: unreadable.slice(0, AREAS_NAMED_MAX * 8),
      unreadableText:
        unreadable.length === 0
          ? null
          : `${countAreas(unreadable)}: ${formatAreas(unreadable, AREAS_NAMED_MAX)}`,
      facts: this.#facts,
      result,
      map: this.#map(),
      counts: this.notes.marks?.counts ?? [],
    };
  }

  #begin(): void {
    const status = this.notes.watched?.status;
    this.#mapId++;
    this.#shares = new LaneShares();
    this.#range = new EtaRange();
    if (status === undefined) return;
    const { transferId, digest, blocks, generation, blockSize } = status;
    this.#facts = [
      ['transfer', transferId],
      ['digests of blocks', digest ?? 'unknown'],
      ['block size', formatSize(blockSize ?? 0)],
      ['in the journal before this run', `${blocks.durable + blocks.verified} blocks`],
      ['generation of the receipt', String(generation)],
    ];
  }

  #headline(percent: number | null): string {
    if (this.#result !== null) return this.#result.kind === 'failed' ? 'Stopped' : 'Finished';
    if (this.#waiting !== undefined) return 'Waiting: no data is getting through';
    const snapshot = this.#snapshot;
    if (snapshot === undefined) return 'Starting: looking at both disks';
    const { counters, bytesTotal } = snapshot;
    if (bytesTotal !== null && counters.durable >= counters.total)
      return 'All of it is there. It is being read back.';
    return percent === null ? 'Copying' : `Copying: ${percent} %`;
  }

  #eta({ secondsLeft, bytesTotal, bytesArrived }: Snapshot): WatchStatus['eta'] {
    if (secondsLeft === null || bytesTotal === null) return null;
    return this.#range.eta(secondsLeft, bytesTotal - bytesArrived);
  }

  #map(): WatchMap | null {
    const { watched, marks } = this.notes;
    if (watched === undefined || marks === undefined) return null;
    const { blockSizeBytes, sizeBytes } = watched.geometry;
    return {
      id: this.#mapId,
      blockCount: marks.blockCount,
      blockSizeBytes,
      sizeBytes: watched.isSizeKnown ? sizeBytes : null,
      names: NAMES,
    };
  }

  #lanesNow(passedMs: number): WatchLane[] {
    const views = this.notes.watched?.lanes.views ?? [];
    return views.flatMap(({ client, isRunning }, at) => {
      const before = this.#acknowledged.get(at) ?? 0;
      const now = client.acknowledgedBytes;
      this.#acknowledged.set(at, now);
      if (!isRunning) return [];
      const bytesPerSecond = (Math.max(0, now - before) * 1000) / passedMs;
      const index = this.notes.sendingOf(client);
      const doing = index === undefined ? 'reading or comparing' : `sending block ${index}`;
      return [{ number: at + 1, bytesPerSecond, text: formatRate(bytesPerSecond), doing }];
    });
  }
}

function columnOf(name: string): (typeof PROGRESS_COLUMNS)[number] | undefined {
  return PROGRESS_COLUMNS.find((column) => column.name === name);
}

function percentOf(snapshot: Snapshot): number | null {
  return columnOf('percent')?.value?.(snapshot) ?? null;
}

function amountOf({ bytesArrived, bytesTotal }: Snapshot): string {
  const arrived = formatSize(Math.floor(bytesArrived));
  return bytesTotal === null ? `${arrived} of an unknown size` : `${arrived} of ${formatSize(bytesTotal)}`;
}

function figuresOf(snapshot: Snapshot): [string, string][] {
  const { counters, bytesPerSecond, lineBytesPerSecond, limitBytesPerSecond, bytesWire } = snapshot;
  const ratio = columnOf('ratio')?.text?.(snapshot)?.replace('ratio ', '');
  const limit: [string, string][] =
    limitBytesPerSecond === undefined ? [] : [['Limit of the line', formatRate(limitBytesPerSecond)]];
  return [
    ['Disk', formatRate(bytesPerSecond)],
    ['Line', formatRate(lineBytesPerSecond)],
    ...limit,
    ['Compression', ratio === undefined ? 'saves nothing' : `${ratio} times smaller on the line, with zeros`],
    ['Sent over the line', formatSize(bytesWire)],
    ['Connections', String(snapshot.connections)],
    ['Blocks sent again', String(counters.resent)],
  ];
}

function troubleOf(waiting: Waiting): string {
  const { what, since, giveUp } = textOf(waiting);
  return `${what.charAt(0).toUpperCase()}${what.slice(1)}${since}${giveUp}`;
}
