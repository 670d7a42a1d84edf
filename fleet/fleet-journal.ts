/**
 * What has become of each job, in SQLite: each change is synced when the call returns (WAL,
 * synchronous=FULL).
 * `locking_mode=EXCLUSIVE` keeps a second ddt-fleet out, and ends with the process.
 */
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { TransferError } from '../common/errors.ts';
import { syncFolder } from '../common/io/durable-file.ts';
import { printable } from '../common/text.ts';
import type { Job } from './job.ts';

const JOURNAL_VERSION = 1;
const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;

/** `complete`: proven. `unproven`: finished, with a receipt, but not proven. */
export type JobResult = 'complete' | 'unproven' | 'failed';

export interface JobRecord {
  readonly result: JobResult;
  /** Exit status of its ddt-send; null: it had none. */
  readonly status: number | null;
  /** Why it failed. */
  readonly reason: string | null;
  /** Of the source. */
  readonly bytes: number | null;
  /** Name in the folder of receipts. */
  readonly receipt: string | null;
}

/** The file of a receipt in its folder. */
export function receiptNameOf({ name }: Pick<Job, 'name'>): string {
  return `${name}.json`;
}

/** Complete, or finished as well as it can be: such a job is not run again. */
export function isFinished(result: JobResult | undefined): boolean {
  return result === 'complete' || result === 'unproven';
}

const SCHEMA = `
  CREATE TABLE job (
    key TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    result TEXT NOT NULL CHECK (result IN ('complete', 'unproven', 'failed')),
    status INTEGER,
    reason TEXT,
    bytes INTEGER,
    receipt TEXT
  ) STRICT;
  PRAGMA user_version = ${JOURNAL_VERSION};
`;

export class FleetJournal implements Disposable {
  readonly #path: string;
  readonly #db: DatabaseSync;

  private constructor(path: string, db: DatabaseSync) {
    this.#path = path;
    this.#db = db;
  }

  /**
   * Opens or makes it; its folder must exist.
   * @throws TransferError `journal-in-use`, `state-refused`, `no-space`, `journal-error`.
   */
  static async open(path: string): Promise<FleetJournal> {
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(path);
      db.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;');
      const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
      if (version === 0) db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
      else if (version !== JOURNAL_VERSION) {
        const message = `the journal ${path} has version ${version}, not ${JOURNAL_VERSION}`;
        throw new TransferError('state-refused', message, {
          hint: 'use the version of dd-transfer that made it, or another --state',
        });
      }
      // Takes the lock now rather than at the first write.
      db.exec('BEGIN IMMEDIATE; COMMIT;');
      await syncFolder(dirname(path));
      return new FleetJournal(path, db);
    } catch (error) {
      db?.close();
      throw asTransferError('open', error, path);
    }
  }

  /** What is known of all jobs of this folder, also those that are in the table no more. */
  records(): ReadonlyMap<string, JobRecord> {
    const rows = this.#tried('read', () =>
      this.#db.prepare('SELECT key, result, status, reason, bytes, receipt FROM job').all(),
    );
    return new Map(rows.map(({ key, ...record }) => [String(key), record as unknown as JobRecord] as const));
  }

  /** Durable when it returns. @throws TransferError `no-space`, `journal-error`. */
  record({ key, source, target }: Job, { result, status, reason, bytes, receipt }: JobRecord): void {
    const values = [key, source.text, target.text, result, status, reason, bytes, receipt];
    this.#tried('write', () =>
      this.#db.prepare('INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?)').run(...values),
    );
  }

  /** As if it had never run. */
  forget(key: string): void {
    this.#tried('write', () => this.#db.prepare('DELETE FROM job WHERE key = ?').run(key));
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  #tried<Result>(action: 'read' | 'write', work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw asTransferError(action, error, this.#path);
    }
  }
}

function asTransferError(action: 'open' | 'read' | 'write', error: unknown, path: string): TransferError {
  if (error instanceof TransferError) return error;
  const errcode = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0;
  const reason = printable(error instanceof Error ? error.message : String(error));
  const message = `cannot ${action} the journal ${path}: ${reason}`;
  if (errcode === SQLITE_BUSY) {
    return new TransferError('journal-in-use', `another ddt-fleet is using the journal ${path}`, {
      cause: error,
      hint: 'wait for it, or name another folder with --state',
    });
  }
  if (errcode === SQLITE_FULL) return new TransferError('no-space', message, { cause: error });
  if (action === 'write') return new TransferError('journal-error', message, { cause: error });
  return new TransferError('state-refused', message, {
    cause: error,
    hint: 'if it is damaged, name another folder with --state; targets that were copied are then refused',
  });
}
