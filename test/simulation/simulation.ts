/**
 * One run: the real operations of a sender and a receiver over a simulated disk, journal, line and clock. The
 * source is a disk or, for two seeds of eleven, a pipe. The seed determines everything.
 */
import type { signSsh } from '../../common/trust/ssh-signature.ts';
import type { Journal } from '../../receiver/journal/journal.ts';
import { BlockDigests, Contents } from './contents.ts';
import { RandomFaults, type Fault, type Faults, type Operation } from './faults.ts';
import { Invariants } from './invariants.ts';
import { randomProfile, randomVersions } from './profile.ts';
import { Random } from './random.ts';
import { Scheduler, type TraceListener } from './scheduler.ts';
import { SimDisk } from './sim-disk.ts';
import { JournalStore } from './sim-journal.ts';
import { Strikes } from './strikes.ts';
import { Supervisor } from './supervisor.ts';
import { AFTERMATH_MS } from './verdict.ts';
import type { End, Profile, ReceiverProcess, SenderProcess, SourceDisk, World } from './world.ts';

export interface SimulationOptions {
  readonly seed: number;
  /** Those of the seed by default. */
  readonly profile?: Profile;
  readonly faults?: Faults;
  /** Shared by runs, to compute the digests of zeros once. */
  readonly digests?: BlockDigests;
  /** By default nothing is signed: a signature takes as long as the whole run. */
  readonly sign?: typeof signSsh;
  /** An empty journal, used beside the simulated one. */
  readonly journal?: Journal;
  readonly onTrace?: TraceListener;
}

export interface SimulationResult {
  readonly seed: number;
  /** How it ended: `sealed`, or the code of a failure that fits what has happened. */
  readonly outcome: string;
  /** The violated invariant, if any. */
  readonly violation: string | undefined;
  /** Equal for two runs with the same events in the same order. */
  readonly traceDigest: string;
  readonly eventCount: number;
  readonly virtualMs: number;
  readonly faultCount: number;
  /** Runs of the sender. */
  readonly copies: number;
  readonly sends: number;
}

/** All faults end by then, except those that last for ever. */
const FAULTY_MS = 3_600_000;
const FOREVER_MS = 50 * FAULTY_MS;
/** Far more than any run has, unless it loops. */
const EVENTS_MAX = 300_000;
/** Some runs turn the event loop after each event, like a real process, others less often. */
const FAITHFUL_EVERY = 8;
const EVENTS_A_TURN = 32;

/** A disk or a line that needs longer for one operation is dead, and waiting for it may be given up. */
const LATENCY_MS_MAX = 120_000;

export class Simulation implements World {
  readonly profile: Profile;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly faults: Faults;
  readonly contents: Contents;
  readonly source: SourceDisk;
  readonly disk: SimDisk;
  readonly journal: JournalStore;
  readonly sign: typeof signSsh | undefined;
  readonly waiting = new Set<(end: End) => void>();
  outageUntilMs = 0;
  lastFaultMs = 0;
  epochEnds = 0;
  mismatches = 0;
  changes = 0;
  copies = 0;
  readonly #seed: number;
  readonly #invariants: Invariants;
  readonly #supervisor: Supervisor;
  readonly #strikes: Strikes;
  #violation: string | undefined;

  constructor(options: SimulationOptions) {
    const { seed } = options;
    const random = new Random(seed);
    this.#seed = seed;
    this.random = random;
    this.profile = options.profile ?? randomProfile(random, seed);
    this.faults = options.faults ?? new RandomFaults(random, this.profile);
    const eventsATurn = seed % FAITHFUL_EVERY === 0 ? 1 : EVENTS_A_TURN;
    this.scheduler = new Scheduler(random, { eventsATurn, onTrace: options.onTrace });
    this.contents = new Contents(
      this.profile.geometry,
      options.digests ?? new BlockDigests(),
      this.profile.distinctBlocks,
    );
    this.source = {
      versions: randomVersions(random, this.contents.blockCount),
      sizesBytes: new Set([this.contents.sizeBytes]),
      unreadable: new Set(),
    };
    for (const [block, version] of this.source.versions.entries()) this.contents.of(block, version);
    const { geometry, pipe } = this.profile;
    const room = { ...geometry, sizeBytes: pipe?.sizeBytesMax ?? geometry.sizeBytes };
    this.disk = new SimDisk(room, random, pipe?.isFile === true);
    this.journal = new JournalStore(options.journal);
    this.sign = options.sign ?? (() => Buffer.from('signature'));
    this.#invariants = new Invariants(this);
    this.#supervisor = new Supervisor(this);
    this.#strikes = new Strikes(this, this.#supervisor);
    if (options.faults === undefined) this.#strikes.plan();
  }

  get receiver(): ReceiverProcess | undefined {
    return this.#supervisor.receiver;
  }

  get sender(): SenderProcess | undefined {
    return this.#supervisor.sender;
  }

  async run(): Promise<SimulationResult> {
    const supervisor = this.#supervisor;
    const unhandled = (reason: unknown): void => this.violate(`an unhandled rejection: ${String(reason)}`);
    process.on('unhandledRejection', unhandled);
    try {
      supervisor.startReceiver();
      supervisor.startSender();
      await this.scheduler.run(
        () => supervisor.outcome !== undefined || this.#violation !== undefined,
        () => this.#afterEach(),
      );
    } finally {
      process.off('unhandledRejection', unhandled);
    }
    if (supervisor.outcome === undefined) this.violate('no event is left, and the run has not ended');
    return {
      seed: this.#seed,
      outcome: supervisor.outcome ?? 'violation',
      violation: this.#violation,
      traceDigest: this.scheduler.traceDigest,
      eventCount: this.scheduler.eventCount,
      virtualMs: this.scheduler.nowMs,
      faultCount: this.faults.hitCount,
      sends: supervisor.sends,
      copies: this.copies,
    };
  }

  violate(what: string): void {
    this.#violation ??= what;
  }

  ask(operation: Operation): Fault | undefined {
    const strike = this.faults.next('process');
    const fault = this.faults.next(operation);
    if (strike !== undefined || fault !== undefined) this.lastFaultMs = this.scheduler.nowMs;
    if (strike !== undefined) this.#strikes.strikeSoon(strike);
    if (fault !== undefined) this.scheduler.trace(fault);
    return fault;
  }

  latency(scaleMs: number): number {
    const { random } = this;
    const kind = random.unit();
    if (kind < 0.25) return 0.01 * random.unit() * scaleMs;
    if (kind < 0.95 || this.faults.isCalm) return (0.5 + random.unit()) * scaleMs;
    return Math.min(LATENCY_MS_MAX, (kind < 0.995 ? 20 : 200) * random.unit() * scaleMs);
  }

  endReceiver(end: End): void {
    this.#supervisor.endReceiver(end);
  }

  #afterEach(): void {
    const { scheduler, faults } = this;
    this.#invariants.check();
    if (scheduler.eventCount > EVENTS_MAX) this.violate(`more than ${EVENTS_MAX} events`);
    if (scheduler.nowMs > FAULTY_MS && !faults.isForever) faults.calm();
    const quietMs = this.lastFaultMs + this.profile.retryForMs + 3 * AFTERMATH_MS;
    const limitMs = faults.isForever ? FOREVER_MS : Math.max(FAULTY_MS, quietMs);
    if (scheduler.nowMs > limitMs) this.violate('it does not end');
  }
}
