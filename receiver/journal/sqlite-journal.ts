/**
 * The receiver's durable record of one transfer, in SQLite: what the transfer is, and which blocks are
 * durable with which digest. Each change is one transaction that has been synced when the call returns (WAL,
 * synchronous=FULL). The calls block the event loop on purpose: between "the data is flushed" and "the record
 * says so" nothing else may happen. `locking_mode=EXCLUSIVE` keeps a second receiver out and needs no shared
 * memory file.
 */
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Area } from '../../common/areas.ts';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { syncFolder } from '../../common/io/durable-file.ts';
import { TransferError } from '../../common/errors.ts';
import { printable } from '../../common/text.ts';
import type { DurableBlock, Journal, JournalledBlock } from './journal.ts';
import { PAGE, blocksOf } from './journal-pages.ts';

/** Changes with the tables. A journal of the previous version is migrated; any other is refused. */
export const JOURNAL_VERSION = 3;
/** Version 2 also recorded which blocks had been read back; now only the process that read them knows. */
const MIGRATED_VERSION = 2;
const MIGRATION = `
  ALTER TABLE block DROP COLUMN verified;
  DELETE FROM property WHERE name = 'readBackMethod';
  PRAGMA user_version = ${JOURNAL_VERSION};
`;
const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;

const SCHEMA = `
  CREATE TABLE property (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE block (
    block_index INTEGER PRIMARY KEY CHECK (block_index >= 0),
    digest BLOB NOT NULL CHECK (length(digest) = ${DIGEST_BYTES}),
    unreadable TEXT CHECK (json_valid(unreadable))
  ) STRICT;
  PRAGMA user_version = ${JOURNAL_VERSION};
`;

export class SqliteJournal implements Journal {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  readonly #mark: StatementSync;

  private constructor(path: string, db: DatabaseSync) {
    this.path = path;
    this.#db = db;
    const columns = 'block_index, digest, unreadable';
    this.#insert = db.prepare(`INSERT OR REPLACE INTO block (${columns}) VALUES (?, ?, ?)`);
    this.#mark = db.prepare('UPDATE block SET unreadable = ? WHERE block_index = ?');
    this.#delete = db.prepare('DELETE FROM block WHERE block_index = ?');
  }

  /**
   * Opens or makes the journal; its folder must exist.
   * @throws TransferError `state-refused` (another receiver has it, another version, damaged),
   * `journal-error`.
   */
  static async open(path: string): Promise<SqliteJournal> {
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(path);
      db.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;');
      const row = db.prepare('PRAGMA user_version').get();
      const version = Number(row?.['user_version']);
      if (version === 0) db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
      else if (version === MIGRATED_VERSION) db.exec(`BEGIN IMMEDIATE; ${MIGRATION} COMMIT;`);
      else if (version !== JOURNAL_VERSION) {
        throw new TransferError(
          'state-refused',
          `journal ${path} has version ${version}, not ${JOURNAL_VERSION}`,
          {
            hint: 'use the version of dd-transfer that made it, or --discard-transfer to start over',
          },
        );
      }
      // Takes the exclusive lock now rather than at the first write.
      db.exec('BEGIN IMMEDIATE; COMMIT;');
      const journal = new SqliteJournal(path, db);
      // A new file is only there after a crash when its folder was synced (fsync(2), NOTES).
      await syncFolder(dirname(path));
      return journal;
    } catch (error) {
      db?.close();
      throw asReadError('open', error, path);
    }
  }

  property(name: string): string | undefined {
    try {
      const value = this.#db.prepare('SELECT value FROM property WHERE name = ?').get(name)?.['value'];
      return typeof value === 'string' ? value : undefined;
    } catch (error) {
      throw asReadError('read', error, this.path);
    }
  }

  setProperties(properties: Readonly<Record<string, string>>): void {
    this.#transaction(() => this.#set(properties));
  }

  #set(properties: Readonly<Record<string, string>>): void {
    const statement = this.#db.prepare('INSERT OR REPLACE INTO property (name, value) VALUES (?, ?)');
    for (const [name, value] of Object.entries(properties)) statement.run(name, value);
  }

  removeProperties(names: readonly string[]): void {
    this.#transaction(() => {
      const statement = this.#db.prepare('DELETE FROM property WHERE name = ?');
      for (const name of names) statement.run(name);
    });
  }

  recordDurable(blocks: Iterable<DurableBlock>, properties: Readonly<Record<string, string>> = {}): void {
    this.#transaction(() => {
      this.#set(properties);
      for (const { index, digest, unreadable } of blocks) {
        this.#insert.run(index, digest, asColumn(unreadable));
      }
    });
  }

  recordUnreadable(index: number, unreadable: readonly Area[]): void {
    this.#transaction(() => this.#mark.run(asColumn(unreadable), index));
  }

  forgetBlocks(indexes: Iterable<number>): void {
    this.#transaction(() => {
      for (const index of indexes) this.#delete.run(index);
    });
  }

  *blocks(): Iterable<JournalledBlock> {
    try {
      const pages = this.#db.prepare(PAGE);
      for (let from = 0; ;) {
        const { rows, last, unreadable } = pages.get(from) ?? {};
        if (typeof rows !== 'string') return;
        yield* blocksOf(rows, unreadable);
        from = Number(last) + 1;
      }
    } catch (error) {
      throw asReadError('read', error, this.path);
    }
  }

  close(): void {
    if (!this.#db.isOpen) return;
    try {
      // SQLite does this itself only where the process still has the right to the path.
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // A full disk: the next process to open it reads the log.
    }
    this.#db.close();
  }

  #transaction(work: () => void): void {
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      work();
      this.#db.exec('COMMIT');
    } catch (error) {
      // A full disk may have ended the transaction already; what is left of it is undone.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw asJournalError(error, this.path);
    }
  }
}

/** NULL for none, as in nearly every block. */
function asColumn(unreadable: readonly Area[] = []): string | null {
  return unreadable.length === 0 ? null : JSON.stringify(unreadable);
}

function sqliteCodeOf(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number'
    ? error.errcode & 0xff
    : undefined;
}

function asReadError(action: 'open' | 'read', error: unknown, path: string): TransferError {
  if (error instanceof TransferError) return error;
  if (sqliteCodeOf(error) === SQLITE_BUSY) {
    return new TransferError('journal-in-use', `another ddt-receive is using the journal ${path}`, {
      cause: error,
    });
  }
  if (sqliteCodeOf(error) === SQLITE_FULL) return asJournalError(error, path);
  // SQLite quotes the damaged bytes.
  const reason = printable(error instanceof Error ? error.message : String(error));
  const message = `cannot ${action} the journal ${path}: ${reason}`;
  return new TransferError('state-refused', message, {
    cause: error,
    hint: 'if it is damaged, use --discard-transfer to start over',
  });
}

function asJournalError(error: unknown, path: string): TransferError {
  const reason = error instanceof Error ? error.message : String(error);
  const isFull = sqliteCodeOf(error) === SQLITE_FULL;
  return new TransferError(
    isFull ? 'no-space' : 'journal-error',
    `cannot write the journal ${path}: ${reason}`,
    {
      cause: error,
    },
  );
}
