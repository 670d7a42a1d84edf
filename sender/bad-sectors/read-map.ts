/**
 * Which parts of the source have been read and are on the target, in this run or according to a mapfile: a
 * sorted list of adjacent areas of equal status. Pure.
 */
import assert from 'node:assert/strict';
import { areasOutside, areasWithin, type Area } from '../../common/areas.ts';

/**
 * Those of GNU ddrescue: read; unreadable; not tried, or not completely. `was-` is our own: unreadable when
 * the mapfile was written, and not tried in this run.
 */
export type ReadStatus = '+' | '-' | '?' | 'was-';

export interface MapArea {
  readonly offset: number;
  readonly length: number;
  readonly status: ReadStatus;
}

interface Run {
  readonly from: number;
  readonly status: ReadStatus;
}

export class ReadMap {
  readonly sizeBytes: number;
  /** Each reaches to the next one; neighbours differ. */
  #runs: Run[];
  #changes = 0;
  #leftOut: readonly Area[] = [];

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#runs = sizeBytes === 0 ? [] : [{ from: 0, status: '?' }];
  }

  /** Incremented with each change. */
  get changes(): number {
    return this.#changes;
  }

  /** Loads a mapfile. @param areas tile the source. */
  load(areas: readonly MapArea[]): void {
    for (const { offset, length, status } of areas) {
      this.#set(offset, offset + length, status === '-' ? 'was-' : status);
    }
  }

  areas(): MapArea[] {
    return this.#runs.map(({ from, status }, at) => {
      return { offset: from, length: this.#endOf(at) - from, status };
    });
  }

  /** These are not read in this run, whatever is known of them. @param areas joined. */
  leaveOut(areas: readonly Area[]): void {
    this.#leftOut = areas;
  }

  /** Whether all of it was read, is not left out now, and was on the target then. */
  isRead(offset: number, length: number): boolean {
    return this.#isAll('+', offset, length) && areasWithin(this.#leftOut, offset, length).length === 0;
  }

  /** Whether nothing is known of any part of it: no mapfile spares it, and none found it unreadable. */
  isUntried(offset: number, length: number): boolean {
    return this.#isAll('?', offset, length);
  }

  /** @returns how many bytes in a row, including these, were unreadable in this run. */
  noteUnreadable(offset: number, length: number): number {
    this.#set(offset, offset + length, '-');
    const at = this.#at(offset);
    return this.#endOf(at) - (this.#runs[at]?.from ?? offset);
  }

  /** It was read, or the target keeps it from an earlier run. */
  noteRead(offset: number, length: number): void {
    this.#set(offset, offset + length, '+');
  }

  /**
   * The block is on the target: all of it counts as read, except what was unreadable in this run or was left
   * out of it.
   */
  noteDurable(offset: number, length: number): void {
    for (const [start, bytes] of areasOutside([[offset, length]], this.#leftOut)) {
      this.#noteDurable(start, bytes);
    }
  }

  #noteDurable(offset: number, length: number): void {
    const end = offset + length;
    const bad: MapArea[] = [];
    for (let at = this.#at(offset); (this.#runs[at]?.from ?? end) < end; at++) {
      const { from, status } = this.#runs[at] ?? { from: end, status: '?' };
      if (status !== '-') continue;
      const start = Math.max(from, offset);
      bad.push({ offset: start, length: Math.min(this.#endOf(at), end) - start, status });
    }
    this.#set(offset, end, '+');
    for (const each of bad) this.#set(each.offset, each.offset + each.length, '-');
  }

  #isAll(status: ReadStatus, offset: number, length: number): boolean {
    const at = this.#at(offset);
    return this.#runs[at]?.status === status && this.#endOf(at) >= offset + length;
  }

  #endOf(at: number): number {
    return this.#runs[at + 1]?.from ?? this.sizeBytes;
  }

  /** The index of the run with this byte. */
  #at(offset: number): number {
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#runs[middle]?.from ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #set(from: number, end: number, status: ReadStatus): void {
    assert(from >= 0 && from < end && end <= this.sizeBytes, `${from} to ${end} of ${this.sizeBytes}`);
    const first = this.#at(from);
    const last = this.#at(end - 1);
    const before = this.#runs[first];
    const after = this.#runs[last];
    assert(before !== undefined && after !== undefined);
    if (first === last && before.status === status) return;
    this.#changes++;
    const isJoined = before.from === from && this.#runs[first - 1]?.status === status;
    const keepsStart = before.from < from;
    const replaced: Run[] = keepsStart ? [before] : [];
    if (!isJoined && !(keepsStart && before.status === status)) replaced.push({ from, status });
    const endOfLast = this.#endOf(last);
    if (endOfLast > end && after.status !== status) replaced.push({ from: end, status: after.status });
    const joinsNext = endOfLast === end && this.#runs[last + 1]?.status === status;
    this.#runs.splice(first, last - first + 1 + (joinsNext ? 1 : 0), ...replaced);
  }
}
