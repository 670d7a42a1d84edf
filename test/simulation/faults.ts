/**
 * What goes wrong, and when: by chance, as a seed has it, or at the n-th operation, as a fault loop wants it.
 */
import type { Random } from './random.ts';

/** The operations of the ports at which something can go wrong, and what can. */
export const FAULTS = {
  /** Reading the source. */
  read: ['sourceEio', 'sourceShort', 'sourceChange', 'sourceBad'],
  write: ['writeEio', 'writeFull', 'writeLost', 'writeTorn', 'writeMisdirected', 'writeFlipped'],
  flush: ['flushEio'],
  readBack: ['readBackEio', 'readBackFlip', 'restFlip'],
  /** A transaction of the journal. */
  commit: ['commitFull', 'commitBroken', 'commitDeath'],
  /** Opening the journal, the sync of its folder included. */
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

/** The disk says that it has written what it has not. */
export const LIES: readonly Fault[] = [
  'writeLost',
  'writeTorn',
  'writeMisdirected',
  'writeFlipped',
  'restFlip',
];

export interface Faults {
  /** To be asked at each operation. */
  next(operation: Operation): Fault | undefined;
  /** Nothing goes wrong from now on. */
  readonly isCalm: boolean;
  /** What breaks stays broken. */
  readonly isForever: boolean;
  calm(): void;
  /** Something goes wrong that nobody has asked for. */
  note(fault: Fault): void;
  /** How often it has happened. */
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

/** Rare, often, or so often that nothing works for a while. */
const PROBABILITIES = [0.005, 0.02, 0.1, 0.3] as const;
/** There are few of these in a run. */
const SELDOM_PROBABILITIES = [0.03, 0.2, 0.5] as const;
/** And many of these: one with each of the others. */
const PROCESS_PROBABILITIES = [0.002, 0.006, 0.02] as const;
const PROBABILITIES_OF: Partial<Record<Operation, readonly [number, ...number[]]>> = {
  flush: SELDOM_PROBABILITIES,
  commit: SELDOM_PROBABILITIES,
  process: PROCESS_PROBABILITIES,
};
/** Blocks arrive twice, late, and while they are read back: what a sender and a person at once would do. */
const STORM: readonly Fault[] = ['lineDuplicate', 'lineZombie', 'lineReplyLost', 'lineReplyLate'];
const STORM_PROBABILITY = 0.2;
const STORM_HITS = 60;

/** How often an operation fails in a run, in all its ways; then it works. */
const HITS_MAX = [1, 2, 5, 15] as const;

interface Plan {
  readonly faults: readonly (readonly [Fault, number])[];
  left: number;
}

/** Each seed has its own few kinds of fault, each with its own frequency, and an end of all of them. */
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

/** One kind of fault at the n-th operation that it can happen to; `isForever`: and at each that follows. */
export class NthFault implements Faults {
  readonly #fault: Fault | undefined;
  readonly #n: number;
  readonly #hits = new Hits();
  readonly #counts = new Map<Operation, number>();
  readonly isForever: boolean;

  /** @param fault undefined: nothing goes wrong, and operations are only counted. @param n from 1. */
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

  /** How often the operation was asked for. */
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
