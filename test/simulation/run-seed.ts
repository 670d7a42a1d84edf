/**
 * Runs seeds one after the other; some of them with the real journal and real signatures beside the simulated
 * ones.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signSsh } from '../../common/trust/ssh-signature.ts';
import { SqliteJournal } from '../../receiver/journal/sqlite-journal.ts';
import { BlockDigests } from './contents.ts';
import type { TraceListener } from './scheduler.ts';
import { Simulation, type SimulationResult } from './simulation.ts';

/** SQLite costs little, a signature as much as a whole run. */
const REAL_JOURNAL_EVERY = 16;
const REAL_SIGNATURE_EVERY = 64;

/** What a run takes from the real world; none of it may change the run. */
export interface RealParts {
  readonly journal: boolean;
  readonly signature: boolean;
}

export class SeedRunner implements AsyncDisposable {
  readonly #folder: string;
  readonly #digests = new BlockDigests();
  #journals = 0;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<SeedRunner> {
    // In memory if possible, where syncing costs nothing.
    const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
    return new SeedRunner(await mkdtemp(join(base, 'ddt-simulation-')));
  }

  async run(
    seed: number,
    onTrace?: TraceListener,
    real: RealParts = realPartsOf(seed),
  ): Promise<SimulationResult> {
    const path = join(this.#folder, `${this.#journals++}.db`);
    const journal = real.journal ? await SqliteJournal.open(path) : undefined;
    try {
      const simulation = new Simulation({
        seed,
        digests: this.#digests,
        ...(journal === undefined ? {} : { journal }),
        ...(real.signature ? { sign: signSsh } : {}),
        ...(onTrace === undefined ? {} : { onTrace }),
      });
      const result = await simulation.run();
      if (journal !== undefined)
        assert.deepEqual(listed(journal.blocks()), listed(simulation.journal.entries()));
      return result;
    } finally {
      journal?.close();
      if (journal !== undefined) await this.#remove(path);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #remove(path: string): Promise<void> {
    for (const suffix of ['', '-wal', '-shm']) await rm(path + suffix, { force: true });
  }
}

function realPartsOf(seed: number): RealParts {
  return { journal: seed % REAL_JOURNAL_EVERY === 0, signature: seed % REAL_SIGNATURE_EVERY === 0 };
}

function listed(blocks: Iterable<{ index: number; digest: Buffer }>): string[] {
  return [...blocks].map(({ index, digest }) => `${index} ${digest.toString('hex')}`).sort();
}
