/**
 * What fails, and when: at random, by seed, or at the n-th operation, for a fault loop.
 */
import type { Random } from './random.ts';

/** The operations of the ports, and how each can fail. */
export const FAULTS = {
  /** Reading the source. */
  read: ['sourceEio', 'sourceShort', 'sourceChange', 'sourceBad'],
  write: ['writeEio', 'writeFull', 'writeLost', 'writeTorn', 'writeMisdirected', 'writeFlipped'],
  flush: ['flushEio'],
  readBack: ['readBackEio', 'readBackFlip', 'restFlip'],
  /** A transaction of the journal. */
  commit: ['commitFull', 'commitBroken', 'commitDeath'],
  /** Opening the journal, including the sync of its folder. */
  open: ['openRefused'],
  /** A request on the line. */
  line: [
    'lineLost',
    'lineReplyLost',
    'lineReplyLate',
    'lineDuplicate',
    'lineZombie',
    'lineCorrupt',
    'lineSilent',
    'lineBusy',
    'lineOutage',
    'bodyCut',
    'bodyStall',
  ],
  /** At any operation of either side. */
  process: [
    'receiverKill',
    'receiverStop',
    'receiverPause',
    'powerCut',
    'backgroundLoss',
    'foreignWrite',
    'senderKill',
    'senderInterrupt',
    'senderPause',
  ],
} as const;

export type Operation = keyof typeof FAULTS;
export type Fault = (typeof FAULTS)[Operation][number];

/** The disk reports writes that it has not made. */
export const LIES: readonly Fault[] = [
  'writeLost',
  'writeTorn',
  'writeMisdirected',
  'writeFlipped',
  'restFlip',
];

export interface Faults {
  /** To be called at each operation. */
  next(operation: Operation): Fault | undefined;
  /** Nothing fails from now on. */
  readonly isCalm: boolean;
  /** Whatever breaks stays broken. */
  readonly isForever: boolean;
  calm(): void;
  /** An unplanned fault. */
  note(fault: Fault): void;
  /** The number of faults so far. */
  hitsOf(...faults: readonly Fault[]): number;
  readonly hitCount: number;
}

class Hits {
  readonly #hits = new Map<Fault, number>();
  count = 0;

  add(fault: Fault): void {
    this.count++;
    this.#hits.set(fault, (this.#hits.get(fault) ?? 0) + 1);
  }

  of(faults: readonly Fault[]): number {
    return faults.reduce((sum, fault) => sum + (this.#hits.get(fault) ?? 0), 0);
  }
}

/** Rarely, often, or so often that nothing works for a while. */
const PROBABILITIES = [0.005, 0.02, 0.1, 0.3] as const;
/** A run has few of these operations. */
const SELDOM_PROBABILITIES = [0.03, 0.2, 0.5] as const;
/** And many of these: one with each of the others. */
const PROCESS_PROBABILITIES = [0.002, 0.006, 0.02] as const;
const PROBABILITIES_OF: Partial<Record<Operation, readonly [number, ...number[]]>> = {
  flush: SELDOM_PROBABILITIES,
  commit: SELDOM_PROBABILITIES,
  process: PROCESS_PROBABILITIES,
};
/** Blocks arrive twice, late, and while they are read back, as if a sender and a person sent at once. */
const STORM: readonly Fault[] = ['lineDuplicate', 'lineZombie', 'lineReplyLost', 'lineReplyLate'];
const STORM_PROBABILITY = 0.2;
const STORM_HITS = 60;

/** So often an operation fails in a run, in all ways together; then it works. */
const HITS_MAX = [1, 2, 5, 15] as const;

interface Plan {
  readonly faults: readonly (readonly [Fault, number])[];
  left: number;
}

/** Each seed has a few kinds of fault, each with its own frequency, and a time at which all of them end. */
export class RandomFaults implements Faults {
  readonly #random: Random;
  readonly #plans = new Map<Operation, Plan>();
  readonly #hits = new Hits();
  readonly isForever: boolean;
  #isCalm = false;
  #stuck: Fault | undefined;

  /** @param isReadBack without it nobody would find what others write. */
  constructor(random: Random, { isLying, isReadBack }: { isLying: boolean; isReadBack: boolean }) {
    this.#random = random;
    this.isForever = random.chance(0.05);
    const share = random.pick([0.15, 0.3, 0.5, 0.8]);
    for (const [operation, faults] of Object.entries(FAULTS) as [Operation, readonly Fault[]][]) {
      if (!random.chance(isLying && operation === 'write' ? 1 : share)) continue;
      const probabilities = PROBABILITIES_OF[operation] ?? PROBABILITIES;
      const chosen = faults
        .filter((fault) => random.chance(0.5) && (isLying || !LIES.includes(fault)))
        .filter((fault) => isReadBack || fault !== 'foreignWrite')
        .map((fault) => [fault, random.pick(probabilities)] as const);
      this.#plans.set(operation, { faults: chosen, left: random.pick(HITS_MAX) });
    }
    if (!random.chance(0.2)) return;
    const storm = STORM.filter(() => random.chance(0.7)).map((fault) => [fault, STORM_PROBABILITY] as const);
    this.#plans.set('line', { faults: storm, left: STORM_HITS });
  }

  get isCalm(): boolean {
    return this.#isCalm;
  }

  get hitCount(): number {
    return this.#hits.count;
  }

  hitsOf(...faults: readonly Fault[]): number {
    return this.#hits.of(faults);
  }

  calm(): void {
    this.#isCalm = true;
  }

  note(fault: Fault): void {
    this.#hits.add(fault);
  }

  next(operation: Operation): Fault | undefined {
    const plan = this.#isCalm ? undefined : this.#plans.get(operation);
    if (plan === undefined || plan.left === 0) return undefined;
    for (const [fault, probability] of plan.faults) {
      const isDue = this.#stuck === undefined ? this.#random.chance(probability) : fault === this.#stuck;
      if (!isDue) continue;
      this.#hits.add(fault);
      if (!this.isForever) plan.left--;
      else if (operation !== 'process') this.#stuck ??= fault;
      return fault;
    }
    return undefined;
  }
}

/** One kind of fault at the n-th operation that it can hit; with `isForever` at all that follow as well. */
export class NthFault implements Faults {
  readonly #fault: Fault | undefined;
  readonly #n: number;
  readonly #hits = new Hits();
  readonly #counts = new Map<Operation, number>();
  readonly isForever: boolean;

  /** @param fault undefined: nothing fails, and operations are only counted. @param n from 1. */
  constructor(fault: Fault | undefined, n = 1, isForever = false) {
    this.#fault = fault;
    this.#n = n;
    this.isForever = isForever;
  }

  get isCalm(): boolean {
    return this.#fault === undefined || (!this.isForever && this.#hits.count > 0);
  }

  get hitCount(): number {
    return this.#hits.count;
  }

  hitsOf(...faults: readonly Fault[]): number {
    return this.#hits.of(faults);
  }

  /** The number of calls for the operation. */
  countOf(operation: Operation): number {
    return this.#counts.get(operation) ?? 0;
  }

  calm(): void {}

  note(fault: Fault): void {
    this.#hits.add(fault);
  }

  next(operation: Operation): Fault | undefined {
    const count = this.countOf(operation) + 1;
    this.#counts.set(operation, count);
    const fault = this.#fault;
    const isIts = FAULTS[operation].some((each) => each === fault);
    if (fault === undefined || !isIts || (this.isForever ? count < this.#n : count !== this.#n))
      return undefined;
    this.#hits.add(fault);
    return fault;
  }
}
