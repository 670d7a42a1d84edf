/** The journal of a fleet on a real file: what it keeps, who is kept out, what a damaged one does. */
import assert from 'node:assert/strict';
import { open, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FleetJournal, isFinished, type JobRecord } from '../../fleet/fleet-journal.ts';
import { readJobs, type Job } from '../../fleet/job.ts';
import { readTable } from '../../fleet/table.ts';
import { run, start } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

function jobsOf(count: number): readonly Job[] {
  const rows = Array.from(
    { length: count },
    (_, at) => `- { source: /dev/sd${at}, target: "vm:/dev/vd${at}" }`,
  );
  return readJobs(readTable(rows.join('\n'), 'yaml'), []).jobs;
}

const COMPLETE: JobRecord = { result: 'complete', status: 0, reason: null, bytes: 7, receipt: 'x.json' };
const FAILED: JobRecord = { result: 'failed', status: 4, reason: 'why', bytes: null, receipt: null };

/** Records one job after the other, and prints each that is durable, until it is killed. */
const WRITER = `
const { FleetJournal } = await import(process.argv[1] + '/fleet/fleet-journal.ts');
const journal = await FleetJournal.open(process.argv[2]);
for (let at = 0; ; at++) {
  const job = { key: 'key' + at, source: { text: 's' }, target: { text: 't' } };
  journal.record(job, { result: 'complete', status: 0, reason: null, bytes: at, receipt: 'r' });
  process.stdout.write(at + '\\n');
}
`;

test('records are there after it was closed and opened again, the latest of each job', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'journal.db');
  const [first, second] = jobsOf(2);
  assert(first !== undefined && second !== undefined);
  {
    using journal = await FleetJournal.open(path);
    journal.record(first, FAILED);
    journal.record(first, COMPLETE);
    journal.record(second, FAILED);
  }
  using journal = await FleetJournal.open(path);
  assert.deepEqual({ ...journal.records().get(first.key) }, COMPLETE);
  assert.deepEqual({ ...journal.records().get(second.key) }, FAILED);
  journal.forget(second.key);
  assert.deepEqual([...journal.records().keys()], [first.key]);
  assert.deepEqual(
    (['complete', 'unproven', 'failed', undefined] as const).map((result) => isFinished(result)),
    [true, true, false, false],
  );
});

test('what was recorded before a process was killed is there, also with a torn end of the log', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'journal.db');
  const words = ['--input-type=module', '-e', WRITER, join(import.meta.dirname, '../..'), path];
  await using writer = await start(process.execPath, words);
  await writer.waitForLine(/^20$/);
  writer.kill('SIGKILL');
  const { stdout } = await writer.ended;
  const last = Number(stdout.trim().split('\n').at(-1));
  // The last page of the log, cut in the middle: of a record that nobody knows of yet.
  const log = `${path}-wal`;
  const { size } = await stat(log);
  await using file = await open(log, 'a');
  await file.write(Buffer.alloc(1000, 0xee));
  await file.close();
  {
    using journal = await FleetJournal.open(path);
    const keys = new Set(journal.records().keys());
    for (let at = 0; at <= last; at++) assert(keys.has(`key${at}`), `key${at} of ${last}`);
  }
  assert(size > 0);
});

test('a second process is kept out as long as the first one runs', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'journal.db');
  const words = ['--input-type=module', '-e', WRITER, join(import.meta.dirname, '../..'), path];
  await using writer = await start(process.execPath, words);
  await writer.waitForLine(/^0$/);
  await assert.rejects(async () => await FleetJournal.open(path), {
    code: 'journal-in-use',
    message: `another ddt-fleet is using the journal ${path}`,
  });
  writer.kill('SIGKILL');
  await writer.ended;
  using journal = await FleetJournal.open(path);
  assert(journal.records().size > 0);
});

test('a file that is not a journal, and one of another version, are refused and left alone', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'journal.db');
  await writeFile(path, 'not a database, but a text of some length');
  await assert.rejects(async () => await FleetJournal.open(path), { code: 'state-refused' });
  await truncate(path, 0);
  const made = await run(process.execPath, [
    '-e',
    `new (require('node:sqlite').DatabaseSync)(process.argv[1]).exec('PRAGMA user_version = 99')`,
    path,
  ]);
  assert.equal(made.status, 0, made.stderr);
  await assert.rejects(async () => await FleetJournal.open(path), { message: /has version 99, not 1$/ });
});
