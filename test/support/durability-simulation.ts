/**
 * The durability contract under a storm: puts, zeros, flushes, faults, held operations and crashes on a
 * target in memory, with the real journal. After each step it is compared with what a sender may believe
 * and with what the medium holds.
 */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { TransferError } from '../../common/errors.ts';
import { BLOCK_STATES, type BlockState } from '../../common/protocol/protocol.ts';
import { FLUSH_ERRORS_PAUSE_MS } from '../../receiver/durability/durability.ts';
import { SqliteJournal } from '../../receiver/journal/sqlite-journal.ts';
import { writeZeroBlocks } from '../../receiver/transfer/write-block.ts';
import { digestNow } from '../../common/digest/digest.ts';
import { SIMULATED_BLOCKS, type Step } from './durability-steps.ts';
import { FakeClock } from './fake-clock.ts';
import { MemoryTarget, type Operation } from './memory-target.ts';
import {
  contentOf,
  digestOn,
  listedIn,
  openTransfer,
  putBlock,
  settle,
  type TestTransfer,
} from './open-transfer.ts';
import { recordedJournal } from './recorded.ts';

/** What a reply promised: these digests, at once or when this generation of this epoch is published. */
interface Reply {
  readonly digests: ReadonlyMap<number, string>;
  /** Number of the request. */
  readonly serial: number;
  readonly state: BlockState;
  readonly epoch: string;
  readonly generation: number;
}

interface JournalFault {
  isFull: boolean;
}

interface Machine {
  readonly memory: MemoryTarget;
  readonly sqlite: SqliteJournal;
  readonly opened: TestTransfer;
}

async function openMachine(
  memory: MemoryTarget,
  path: string,
  fault: JournalFault,
  clock: FakeClock,
): Promise<Machine> {
  const sqlite = await SqliteJournal.open(path);
  const journal = recordedJournal(sqlite, (text) => {
    if (fault.isFull) throw new TransferError('no-space', `cannot ${text}: no room`);
  });
  const opened = await openTransfer({ target: memory, journal, clock, blockCount: SIMULATED_BLOCKS });
  return { memory, sqlite, opened };
}

export class DurabilitySimulation implements AsyncDisposable {
  readonly #folder: string;
  readonly #clock: FakeClock;
  readonly #journalFault: JournalFault;
  #machine: Machine;
  #starts = 0;
  #requests = 0;
  #pending = new Set<Promise<void>>();
  #replies: Reply[] = [];
  /** Block → number of the last request that was started for it. */
  readonly #lastRequest = new Map<number, number>();
  /** What a sender was told is durable: block → digest. */
  readonly #believed = new Map<number, string>();
  /** Outcomes other than refusals for faults. */
  readonly #surprises: unknown[] = [];

  private constructor(folder: string, clock: FakeClock, journalFault: JournalFault, machine: Machine) {
    this.#folder = folder;
    this.#clock = clock;
    this.#journalFault = journalFault;
    this.#machine = machine;
  }

  /** @param folder for the journals. */
  static async start(folder: string): Promise<DurabilitySimulation> {
    const clock = new FakeClock();
    const fault: JournalFault = { isFull: false };
    const machine = await openMachine(new MemoryTarget(), join(folder, '0.db'), fault, clock);
    return new DurabilitySimulation(folder, clock, fault, machine);
  }

  async run(step: Step): Promise<void> {
    const { memory, opened } = this.#machine;
    switch (step.kind) {
      case 'put':
        this.#put(step);
        break;
      case 'zero':
        this.#zero(step);
        break;
      case 'flush':
        this.#follow(opened.open.durability.flush());
        break;
      case 'tick':
        await this.#clock.advance(step.ms);
        break;
      case 'fault':
        memory.arm(step);
        break;
      case 'hold':
        memory.release(step.operation);
        memory.hold(step.operation);
        break;
      case 'release':
        memory.release(step.operation);
        break;
      case 'journal':
        this.#journalFault.isFull = step.isFull;
        break;
      case 'crash':
        await this.#crash(step.writtenBack);
        break;
    }
    await settle();
    this.check();
  }

  /** Ends all faults: from here on everything that is asked for succeeds. */
  async recover(): Promise<void> {
    const { memory, opened } = this.#machine;
    memory.clearFaults();
    this.#journalFault.isFull = false;
    for (const operation of ['write', 'flush'] as const) memory.release(operation);
    await Promise.all(this.#pending);
    this.check();
    await this.#clock.advance(FLUSH_ERRORS_PAUSE_MS);
    await opened.open.durability.flush();
    for (let index = 0; index < SIMULATED_BLOCKS; index++) this.#put({ index, version: 9, isFlushed: true });
    await Promise.all(this.#pending);
    this.check();
    assert.equal(opened.open.table.countOf('durable'), SIMULATED_BLOCKS);
    assert.equal(this.#believed.size, SIMULATED_BLOCKS);
  }

  check(): void {
    const { memory, opened, sqlite } = this.#machine;
    const { table, durability } = opened.open;
    const listed = listedIn(sqlite);
    // I5: whatever else is or is not written back, what the journal lists is on the medium.
    for (const media of [memory.crash('none'), memory.crash('all')]) {
      for (const [index, digest] of listed)
        assert.equal(digestOn(media, opened.open, index), digest, `${index}`);
    }
    const states = Array.from({ length: SIMULATED_BLOCKS }, (_, index) => table.stateOf(index));
    for (const state of BLOCK_STATES) {
      assert.equal(table.countOf(state), states.filter((other) => other === state).length);
    }
    const durable = [...states.keys()].filter((index) => table.isDurable(index));
    assert.deepEqual(durable, [...listed.keys()]);
    for (const index of durable) assert.equal(table.digestOf(index).toString('hex'), listed.get(index));
    // A sender that follows the protocol ticks these off.
    for (const { digests, serial, state, epoch, generation } of this.#replies) {
      const isPublished = epoch === durability.epoch && generation <= durability.durableGeneration;
      if (state !== 'durable' && !isPublished) continue;
      for (const [index, digest] of digests) {
        if (this.#lastRequest.get(index) === serial) this.#believed.set(index, digest);
      }
    }
    this.#replies = this.#replies.filter(
      ({ epoch, generation }) => epoch === durability.epoch && generation > durability.durableGeneration,
    );
    for (const [index, digest] of this.#believed) assert.equal(listed.get(index), digest, `block ${index}`);
    assert.deepEqual(this.#surprises, []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop(this.#machine);
  }

  #put({ index, version, isFlushed }: { index: number; version: number; isFlushed: boolean }): void {
    const { opened } = this.#machine;
    const digest = digestNow(contentOf(opened.open, index, version)).toString('hex');
    const serial = this.#begin([index]);
    this.#follow(
      (async () => {
        const receipt = await putBlock(opened, index, version, isFlushed);
        this.#replies.push({ digests: new Map([[index, digest]]), serial, ...receipt });
      })(),
    );
  }

  #zero({ first, count, isFlushed }: { first: number; count: number; isFlushed: boolean }): void {
    const { opened } = this.#machine;
    const indexes = Array.from({ length: Math.min(count, SIMULATED_BLOCKS - first) }, (_, at) => first + at);
    const zeros = opened.open.zeroDigests;
    const digests = new Map(indexes.map((index) => [index, zeros.of(index).toString('hex')]));
    const serial = this.#begin(indexes);
    this.#follow(
      (async () => {
        const receipt = await writeZeroBlocks(opened.transfer, [[first, indexes.length]], isFlushed);
        this.#replies.push({ digests, serial, ...receipt });
      })(),
    );
  }

  /** A sender that sends a block again does not believe anything of it any more. */
  #begin(indexes: readonly number[]): number {
    const serial = ++this.#requests;
    for (const index of indexes) {
      this.#lastRequest.set(index, serial);
      this.#believed.delete(index);
    }
    return serial;
  }

  #follow(work: Promise<void>): void {
    const followed = work
      .catch((error: unknown) => {
        const isFault = error instanceof TransferError && /^(io-error|no-space)$/.test(error.code);
        if (!isFault) this.#surprises.push(error);
      })
      .finally(() => this.#pending.delete(followed));
    this.#pending.add(followed);
  }

  /** The power goes; another process starts with what the medium and the journal's files hold. */
  async #crash(writtenBack: 'none' | 'all'): Promise<void> {
    const before = this.#machine;
    const path = join(this.#folder, `${++this.#starts}.db`);
    for (const suffix of ['', '-wal']) {
      if (existsSync(before.sqlite.path + suffix)) copyFileSync(before.sqlite.path + suffix, path + suffix);
    }
    const memory = before.memory.crash(writtenBack);
    await this.#stop(before);
    this.#replies = [];
    this.#machine = await openMachine(memory, path, this.#journalFault, this.#clock);
  }

  async #stop({ memory, opened, sqlite }: Machine): Promise<void> {
    for (const operation of ['write', 'flush'] satisfies Operation[]) memory.release(operation);
    await Promise.all(this.#pending);
    await opened[Symbol.asyncDispose]();
    sqlite.close();
  }
}
