/**
 * Checks invariant I5 without the receiver's own code: every block that a journal lists is on the medium.
 * dd(1) reads the blocks past the page cache, and SQLite opens the journal as the receiver left it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtempDisposable, readdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { digestNameOf } from '../../common/protocol/claim.ts';
import { DIGESTS, digestIn, type DigestAlgorithm } from '../../common/digest/digest.ts';
import type { Claim } from '../../common/protocol/protocol.ts';

export interface JournalCheck {
  /** Listed. */
  readonly durable: readonly number[];
  /** Listed, and not what is on the medium. */
  readonly wrong: readonly number[];
}

interface ListedBlock {
  readonly index: number;
  readonly digest: string;
}

export interface Listed {
  /** undefined until a sender has claimed the transfer. */
  readonly blockSizeBytes: number | undefined;
  readonly algorithm: DigestAlgorithm;
  readonly blocks: readonly ListedBlock[];
}

/**
 * To be called while no receiver runs. Changes nothing, not even the journal's write-ahead log.
 * @param stateDir holds the state of one transfer. @param medium a file or device.
 */
export async function checkJournal(stateDir: string, medium: string): Promise<JournalCheck> {
  const { blocks, blockSizeBytes, algorithm } = await readJournal(stateDir);
  const durable = blocks.map(({ index }) => index);
  if (blockSizeBytes === undefined || blocks.length === 0) return { durable, wrong: durable };
  const digests = await digestsOf(medium, blockSizeBytes, algorithm);
  const wrong = blocks.filter(({ index, digest }) => digests[index] !== digest).map(({ index }) => index);
  return { durable, wrong };
}

/** What the only journal in the state folder lists; no blocks if there is no journal yet. */
export async function readJournal(stateDir: string): Promise<Listed> {
  const nothing: Listed = { blockSizeBytes: undefined, algorithm: 'sha-256', blocks: [] };
  return (await withJournal(stateDir, listedIn)) ?? nothing;
}

/** The receipt in the only journal; undefined before the seal. */
export async function readReceipt(stateDir: string): Promise<string | undefined> {
  return await withJournal(stateDir, (db) => propertyOf(db, 'receipt'));
}

/** Opens a copy of the journal; undefined if there is none yet. */
async function withJournal<T>(
  stateDir: string,
  read: (db: DatabaseSync) => T | undefined,
): Promise<T | undefined> {
  const names = await readdir(stateDir, { recursive: true }).catch((): string[] => []);
  const journal = names.find((name) => name.endsWith('journal.db'));
  if (journal === undefined) return undefined;
  await using folder = await mkdtempDisposable(join(tmpdir(), 'ddt-journal-'));
  for (const name of names.filter((each) => each.startsWith(journal))) {
    const suffix = name.slice(journal.length);
    await copyFile(join(stateDir, name), join(folder.path, `journal.db${suffix}`));
  }
  if ((await stat(join(folder.path, 'journal.db'))).size === 0) return undefined;
  using db = new DatabaseSync(join(folder.path, 'journal.db'));
  // The receiver was killed before it had made the tables.
  if (db.prepare('PRAGMA user_version').get()?.['user_version'] === 0) return undefined;
  return read(db);
}

function propertyOf(db: DatabaseSync, name: string): string | undefined {
  const value = db.prepare('SELECT value FROM property WHERE name = ?').get(name)?.['value'];
  return typeof value === 'string' ? value : undefined;
}

function listedIn(db: DatabaseSync): Listed | undefined {
  const claim = propertyOf(db, 'claim');
  if (claim === undefined) return undefined;
  const claimed: Claim = JSON.parse(claim);
  const rows = db.prepare('SELECT block_index, lower(hex(digest)) AS digest FROM block').all();
  const blocks = rows.map((row) => ({
    index: Number(row['block_index']),
    digest: String(row['digest']),
  }));
  return { blockSizeBytes: claimed.blockSize, algorithm: digestNameOf(claimed), blocks };
}

/**
 * Arguments with which dd(1) reads past the page cache. Old kernels have no O_DIRECT on a tmpfs, which has
 * nothing below the page cache anyway.
 */
export async function ddArguments(medium: string): Promise<string[]> {
  const usual = [`if=${medium}`, 'bs=1M', 'status=none'];
  const trial = spawn('dd', [...usual, 'iflag=direct', 'of=/dev/null', 'count=1'], { stdio: 'ignore' });
  const [status] = await once(trial, 'close');
  return status === 0 ? [...usual, 'iflag=direct'] : usual;
}

/** The digest of each block of a file or device, in lower-case hex. */
async function digestsOf(
  medium: string,
  blockSizeBytes: number,
  algorithm: DigestAlgorithm,
): Promise<string[]> {
  const digest = digestIn(DIGESTS, algorithm);
  if (digest === undefined) throw new Error(`cannot compute ${algorithm} here`);
  const hexOf = (bytes: Buffer): string => digest.now(bytes).toString('hex');
  const dd = spawn('dd', await ddArguments(medium), { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(dd, 'close');
  const digests: string[] = [];
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of dd.stdout as AsyncIterable<Buffer>) {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (; bytes.length >= blockSizeBytes; bytes = bytes.subarray(blockSizeBytes)) {
      digests.push(hexOf(bytes.subarray(0, blockSizeBytes)));
    }
    rest = bytes;
  }
  if (rest.length > 0) digests.push(hexOf(rest));
  const [status] = await closed;
  if (status !== 0) throw new Error(`dd if=${medium} ended with ${status}`);
  return digests;
}
