/** Every kind of object that `--progress json` writes, from real runs, has the form that the schema names. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ERROR_CODES } from '../../common/errors.ts';
import { MISSING_RANGES_MAX } from '../../common/protocol/protocol.ts';
import { PROGRESS_COLUMNS } from '../../sender/display/progress-columns.ts';
import { BLOCK_BYTES, SMALL_BLOCKS, randomSource } from '../support/copied.ts';
import { readDocument } from '../support/documents.ts';
import { prng } from '../support/prng.ts';
import { PROGRAMS, environment, startReceiver, type Receiver } from '../support/processes.ts';
import { progressErrors, progressEventsOf, readProgressSchema } from '../support/progress-events.ts';
import { run } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const schema = await readProgressSchema();
const KINDS = schema.oneOf.map(({ $ref }) => $ref.replace('#/$defs/', ''));

/** @returns the events of a run, without those of progress. */
async function send(words: readonly string[], input?: Buffer): Promise<Record<string, unknown>[]> {
  const all = ['--progress', 'json', ...SMALL_BLOCKS, ...words];
  const options = { env: environment(), ...(input && { input }) };
  return progressEventsOf((await run(join(PROGRAMS, 'ddt-send'), all, options)).stdout);
}

function kindsOf(events: readonly Record<string, unknown>[]): string[] {
  return [...new Set(events.map(({ event }) => String(event)))];
}

/** A copy from its dry run to the comparison of what has changed since, and a receiver that is gone. */
async function copyAndCompare(receiver: Receiver, source: string): Promise<string[]> {
  const to = [source, receiver.ticket];
  const dry = await send(['--dry-run', ...to]);
  const open = await send(['--keep-open', ...to]);
  const again = await send(['--dry-run', ...to]);
  const done = await send(to);
  await writeFile(source, prng(9).bytes(16 * BLOCK_BYTES));
  const differs = await send(to);
  const checked = await send(['--check', ...to]);
  await receiver.end('SIGKILL');
  const failed = await send(['--retry-for', '2s', ...to]);
  const ends = [dry, open, again, done, differs, checked, failed].map((events) => events.at(-1)?.['event']);
  assert.deepEqual(ends, ['dry-run', 'kept-open', 'dry-run', 'done', 'compared', 'compared', 'failed']);
  return kindsOf([dry, open, again, done, differs, checked, failed].flat());
}

test('every kind of event comes from a real run, and has the form of the schema', async () => {
  await using folder = await tempDir();
  const { path } = folder;
  const at = (name: string): string => join(path, name);
  const sources = [await randomSource(path, 16), await randomSource(path, 8)];
  const [source = ''] = sources;
  await using stack = new AsyncDisposableStack();
  const receive = async (name: string, more: readonly string[] = []): Promise<Receiver> => {
    const target = at(name);
    return stack.use(await startReceiver({ folder: stack.use(await tempDir()).path, target, more }));
  };
  const [one, two, pipe] = [await receive('one'), await receive('two', [at('three')]), await receive('pipe')];
  const found = await Promise.all([
    send(['--probe', source, pipe.ticket]).then(async (probed) => [
      ...kindsOf(probed),
      ...kindsOf(await send(['-', pipe.ticket], prng(4).bytes(5 * BLOCK_BYTES))),
    ]),
    send(['--ticket-file', two.ticketFile, ...sources])
      .then(kindsOf)
      .then(async (kinds) => [...kinds, ...(await copyAndCompare(one, source))]),
  ]);
  assert.deepEqual(new Set(found.flat()), new Set(KINDS));
});

test('the schema has the members and the codes of the code', () => {
  const { progress, code } = schema.$defs;
  const columns = PROGRESS_COLUMNS.filter(({ value }) => value !== undefined).map(({ name }) => name);
  assert.deepEqual(new Set(Object.keys(progress?.properties ?? {})), new Set(['event', ...columns]));
  const { enum: codes } = code as { enum: string[] };
  assert.deepEqual(new Set(codes), new Set([...Object.keys(ERROR_CODES), 'standstill', 'bug']));
  assert(JSON.stringify(schema).includes(`"maxItems":${MISSING_RANGES_MAX}`));
});

test('the examples of the reference are objects of the schema, one of each kind', async () => {
  const reference = await readDocument('docs/reference/ddt-send.md');
  const [, lines = ''] = /```json\n(\{"event".*?)```/s.exec(reference) ?? [];
  const kinds = kindsOf(progressEventsOf(lines));
  assert.deepEqual(new Set([...kinds, 'kept-open']), new Set(KINDS));
});

test('an object that is not in the schema, or has another member, is noticed', () => {
  const good = { event: 'disk', number: 1, count: 2, source: '/dev/sda', target: '/dev/vdb' };
  assert.equal(progressErrors(good), '');
  const { target: _target, ...less } = good;
  for (const bad of [{ ...good, more: 1 }, less, { ...good, count: '2' }, { event: 'other' }])
    assert.notEqual(progressErrors(bad), '', JSON.stringify(bad));
});
