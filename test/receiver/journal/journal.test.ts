import assert from 'node:assert/strict';
import { copyFile, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import type { DurableBlock, JournalledBlock } from '../../../receiver/journal/journal.ts';
import { JOURNAL_VERSION, SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { coded } from '../../support/coded.ts';
import { fastTempDir, listedIn } from '../../support/open-transfer.ts';
import { freshSeed, prng } from '../../support/prng.ts';
import { start } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

function digest(version: number): Buffer {
  return digestNow(Buffer.from([version]));
}

function block(index: number, version = 1): DurableBlock {
  return { index, digest: digest(version) };
}

/** A block as the journal lists it. */
function asListed(of: DurableBlock): JournalledBlock {
  return { unreadable: [], ...of };
}

const isDamaged = coded('state-refused', {
  message: /^cannot (open|read) the journal .*: /,
  hint: /--discard-transfer/,
});

test('what was recorded, replaced and forgotten is found when the journal is opened again', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'journal.db');
  const journal = await SqliteJournal.open(path);
  assert.deepEqual([journal.path, journal.property('claim'), [...journal.blocks()]], [path, undefined, []]);
  journal.setProperties({ claim: 'first', transferId: 't' });
  journal.setProperties({ claim: 'ä\n"second"' });
  journal.recordDurable([block(7), block(0), block(2 ** 32 - 1), block(3)]);
  journal.recordDurable([block(0), block(7, 2)]);
  journal.forgetBlocks([3, 4]);
  journal.close();
  const again = await SqliteJournal.open(path);
  assert.deepEqual([again.property('claim'), again.property('transferId')], ['ä\n"second"', 't']);
  assert.deepEqual(
    [...again.blocks()],
    [asListed(block(0)), asListed(block(7, 2)), asListed(block(2 ** 32 - 1))],
  );
  again.close();
});

test('a change that fails has changed nothing, and the next one works', async () => {
  await using folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  const short = { index: 2, digest: Buffer.alloc(31) };
  const message = /^cannot write the journal .*: CHECK constraint failed/;
  assert.throws(() => journal.recordDurable([block(1), short]), coded('journal-error', { message }));
  assert.throws(() => journal.recordDurable([block(1), block(-1)]), coded('journal-error', { message }));
  assert.deepEqual([...journal.blocks()], []);
  journal.recordDurable([block(1)]);
  assert.deepEqual([...journal.blocks()], [asListed(block(1))]);
  journal.close();
});

/** A journal as version 0.1.0 made it, with one block that it had read back. */
function makeVersion2(path: string): void {
  using database = new DatabaseSync(path);
  database.exec(`
    PRAGMA journal_mode=WAL;
    CREATE TABLE property (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE block (
      block_index INTEGER PRIMARY KEY CHECK (block_index >= 0),
      digest BLOB NOT NULL CHECK (length(digest) = 32),
      verified INTEGER NOT NULL DEFAULT 0 CHECK (verified IN (0, 1)),
      unreadable TEXT CHECK (json_valid(unreadable))
    ) STRICT;
    INSERT INTO property VALUES ('transferId', 't'), ('readBackMethod', 'cache-dropped');
    PRAGMA user_version = 2;
  `);
  const insert = database.prepare('INSERT INTO block VALUES (?, ?, ?, ?)');
  insert.run(3, digest(1), 1, null);
  insert.run(9, digest(2), 0, '[[0,512]]');
}

test('a journal of version 2 is brought up to date and keeps its blocks', async () => {
  await using folder = await fastTempDir();
  const path = join(folder.path, 'journal.db');
  makeVersion2(path);
  for (const _ of ['migrated', 'opened again']) {
    const journal = await SqliteJournal.open(path);
    const kept = [journal.property('transferId'), journal.property('readBackMethod')];
    assert.deepEqual(kept, ['t', undefined]);
    const marked = { index: 9, digest: digest(2), unreadable: [[0, 512]] as const };
    assert.deepEqual([...journal.blocks()], [asListed({ index: 3, digest: digest(1) }), marked]);
    journal.close();
  }
  using database = new DatabaseSync(path);
  assert.equal(database.prepare('PRAGMA user_version').get()?.['user_version'], JOURNAL_VERSION);
});

test('a journal of another version is refused and stays as it is', async () => {
  await using folder = await fastTempDir();
  const path = join(folder.path, 'journal.db');
  (await SqliteJournal.open(path)).close();
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA user_version = ${JOURNAL_VERSION + 1}`);
  database.close();
  const before = await readFile(path);
  const message = new RegExp(`journal .* has version ${JOURNAL_VERSION + 1}, not ${JOURNAL_VERSION}`);
  await assert.rejects(
    SqliteJournal.open(path),
    coded('state-refused', { message, hint: /--discard-transfer/ }),
  );
  assert((await readFile(path)).equals(before));
});

test('a second receiver is kept out while the first is alive, in another process too', async () => {
  await using folder = await fastTempDir();
  const path = join(folder.path, 'journal.db');
  const isTaken = coded('journal-in-use', { message: /^another ddt-receive is using the journal / });
  const journal = await SqliteJournal.open(path);
  await assert.rejects(SqliteJournal.open(path), isTaken);
  const module = new URL('../../../receiver/journal/sqlite-journal.ts', import.meta.url).href;
  const script = `
    import { SqliteJournal } from ${JSON.stringify(module)};
    const journal = await SqliteJournal.open(${JSON.stringify(path)}).catch((error) => error);
    if (journal.code === undefined) journal.recordDurable([{ index: 5, digest: Buffer.alloc(32, 5) }]);
    console.log(journal.code ?? 'recorded');
    setInterval(() => journal, 1000);`;
  const node = ['--input-type=module', '--eval', script];
  await using refused = await start(process.execPath, node);
  await refused.waitForLine(/^journal-in-use$/);
  journal.close();
  await using other = await start(process.execPath, node);
  await other.waitForLine(/^recorded$/);
  await assert.rejects(SqliteJournal.open(path), isTaken);
  other.kill('SIGKILL');
  await other.ended;
  const again = await SqliteJournal.open(path);
  assert.deepEqual([...again.blocks()], [asListed({ index: 5, digest: Buffer.alloc(32, 5) })]);
  again.close();
});

test('what is no journal, or a damaged one, is refused with what to do', async () => {
  await using folder = await fastTempDir();
  const path = join(folder.path, 'journal.db');
  for (const content of [Buffer.from('a text\n'.repeat(1000)), prng(1).bytes(8192)]) {
    await writeFile(path, content);
    await assert.rejects(SqliteJournal.open(path), isDamaged);
    assert((await readFile(path)).equals(content));
  }
});

/** Lists what a journal says; undefined when it is refused as damaged. Anything else is a failure. */
async function listIfGood(path: string): Promise<Map<number, string> | undefined> {
  try {
    const journal = await SqliteJournal.open(path);
    try {
      journal.property('claim');
      return listedIn(journal);
    } finally {
      journal.close();
    }
  } catch (error) {
    isDamaged(error);
    return undefined;
  }
}

test('a journal that lost its end is refused, or lists no other block than was recorded', async () => {
  await using folder = await fastTempDir();
  const [path, cut] = [join(folder.path, 'journal.db'), join(folder.path, 'cut.db')];
  const journal = await SqliteJournal.open(path);
  journal.setProperties({ claim: '{}' });
  for (let index = 0; index < 300; index++) journal.recordDurable([block(index * 3, index)]);
  const recorded = listedIn(journal);
  journal.close();
  const { size } = await stat(path);
  let refusedCount = 0;
  for (let length = 100; length < size; length += 397) {
    await copyFile(path, cut);
    await truncate(cut, length);
    const listed = await listIfGood(cut);
    if (listed === undefined) refusedCount++;
    // A digest may end in zeros, as SQLite reads the end of a page that is not there: a sender compares it.
    for (const index of listed?.keys() ?? [])
      assert(recorded.has(index), `block ${index} at ${length} bytes`);
  }
  assert.ok(refusedCount > 0);
});

test('a journal with a spoilt page is refused when that is read', async () => {
  await using folder = await fastTempDir();
  const [path, spoilt] = [join(folder.path, 'journal.db'), join(folder.path, 'spoilt.db')];
  const journal = await SqliteJournal.open(path);
  journal.setProperties({ claim: '{}' });
  journal.recordDurable(Array.from({ length: 300 }, (_, index) => block(index)));
  journal.close();
  const whole = await readFile(path);
  for (let at = 4096; at < whole.length; at += 4096) {
    const damaged = Buffer.from(whole);
    damaged.writeUInt8(0xff, at);
    await writeFile(spoilt, damaged);
    assert.equal(await listIfGood(spoilt), undefined, `page at ${at}`);
  }
});

/** The state after each transaction; the log of the last one's file has them all. */
async function writeLog(path: string): Promise<{ states: Map<number, string>[]; journal: SqliteJournal }> {
  const journal = await SqliteJournal.open(path);
  const random = prng(7);
  const states = [listedIn(journal)];
  for (let version = 1; version <= 40; version++) {
    const index = random.below(12);
    if (version % 5 === 0) journal.forgetBlocks([index, index + 1]);
    else journal.recordDurable([block(index, version), block(index + 1, version)]);
    states.push(listedIn(journal));
  }
  return { states, journal };
}

test('a journal whose log is cut or spoilt lists what it once listed, or is refused', async () => {
  await using folder = await fastTempDir();
  const [path, cut] = [join(folder.path, 'journal.db'), join(folder.path, 'cut.db')];
  const { states, journal } = await writeLog(path);
  const log = await readFile(`${path}-wal`);
  const known = states.map((state) => JSON.stringify([...state]));
  const seed = freshSeed();
  const random = prng(seed);
  const seen = new Set<number>();
  for (let round = 0; round < 200; round++) {
    const damaged = Buffer.from(log);
    const at = random.below(log.length);
    if (round % 2 === 0) damaged.writeUInt8((damaged[at] ?? 0) ^ (1 + random.below(255)), at);
    await copyFile(path, cut);
    await writeFile(`${cut}-wal`, round % 2 === 0 ? damaged : damaged.subarray(0, at));
    const listed = await listIfGood(cut);
    if (listed === undefined) continue;
    const moment = known.lastIndexOf(JSON.stringify([...listed]));
    assert.notEqual(moment, -1, `seed ${seed}, byte ${at}: ${JSON.stringify([...listed])}`);
    seen.add(moment);
  }
  assert.ok(seen.size > 10, `only ${seen.size} moments were met`);
  await copyFile(path, cut);
  await writeFile(`${cut}-wal`, log);
  assert.deepEqual(await listIfGood(cut), states.at(-1));
  journal.close();
});

test('a hundred thousand blocks come back in order', async () => {
  await using folder = await fastTempDir();
  const path = join(folder.path, 'journal.db');
  const journal = await SqliteJournal.open(path);
  const count = 100_000;
  journal.recordDurable(
    Array.from({ length: count }, (_, index) => ({ index, digest: Buffer.alloc(32, index) })),
  );
  journal.close();
  const again = await SqliteJournal.open(path);
  let next = 0;
  for (const { index, digest: found } of again.blocks()) {
    assert.ok(index === next && found.length === 32 && found[31] === index % 256);
    next++;
  }
  assert.equal(next, count);
  again.close();
});

test('a journal in a folder that cannot be written is refused', async () => {
  const message = /^cannot open the journal \/proc\/journal\.db: unable to open database file$/;
  await assert.rejects(SqliteJournal.open('/proc/journal.db'), coded('state-refused', { message }));
});
