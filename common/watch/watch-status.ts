/** What the page shows beside the blocks. Only types: the page knows them too. */
import type { Area } from '../areas.ts';

export type WatchSide = 'sender' | 'receiver' | 'receipt';

export interface WatchStatus {
  readonly side: WatchSide;
  /** Of the machine that serves the page. */
  readonly nowMs: number;
  /** In words, the most important first. */
  readonly headline: string;
  readonly state: 'starting' | 'running' | 'waiting' | 'ended';
  readonly source: string | null;
  readonly target: string | null;
  /** Which of several disks: `2 of 3`. */
  readonly place: string | null;
  readonly percent: number | null;
  /** `354.2 GiB of 931.5 GiB`. */
  readonly amount: string | null;
  readonly eta: WatchEta | null;
  /** Label and value. */
  readonly figures: readonly (readonly [string, string])[];
  readonly lanes: readonly WatchLane[];
  readonly bottleneck: WatchBottleneck | null;
  /** What keeps it from moving. */
  readonly trouble: string | null;
  readonly unreadable: readonly Area[];
  readonly unreadableText: string | null;
  /** Of journal and receipt. */
  readonly facts: readonly (readonly [string, string])[];
  readonly result: WatchResult | null;
  readonly map: WatchMap | null;
  /** Blocks of each kind. */
  readonly counts: readonly number[];
}

export interface WatchEta {
  readonly text: string;
  /** How sure that is. */
  readonly range: string;
}

export interface WatchLane {
  readonly number: number;
  readonly bytesPerSecond: number;
  readonly text: string;
  /** `idle`, `block 17`. */
  readonly doing: string;
}

export interface WatchBottleneck {
  readonly text: string;
  /** Of the time of all lanes, in percent: who was waited for. */
  readonly shares: readonly (readonly [string, number])[];
}

export interface WatchResult {
  readonly kind: 'proven' | 'unproven' | 'failed';
  readonly title: string;
  readonly lines: readonly string[];
}

export interface WatchMap {
  /** Another one: its blocks are others. */
  readonly id: number;
  readonly blockCount: number;
  readonly blockSizeBytes: number;
  readonly sizeBytes: number | null;
  /** What a kind of block is called on this side; kinds that are left out do not occur. */
  readonly names: Readonly<Record<string, string>>;
}

export type WatchLevel = 'info' | 'warning' | 'error';

export interface WatchMessage {
  readonly atMs: number;
  readonly level: WatchLevel;
  readonly text: string;
}

/** Time since 1970 in seconds, then bytes a second of disk and line. */
export type WatchPoint = readonly [number, number, number];

/** What one frame says. */
export interface WatchUpdate {
  readonly status: WatchStatus;
  /** Those since the last update. */
  readonly messages: readonly WatchMessage[];
  readonly points: readonly WatchPoint[];
  /** The points replace all earlier ones. */
  readonly isAllPoints: boolean;
  /** Nothing follows. */
  readonly isLast: boolean;
}

/** Of a block that somebody points at. */
export interface WatchBlock {
  readonly index: number;
  /** `sha-256 3a7b…`; null while it is not known here. */
  readonly digest: string | null;
  readonly lane: number | null;
  /** When its state changed last; null: earlier than is remembered. */
  readonly atMs: number | null;
}
