/** A receiver that another one has started, by a channel of Node: it ends with that one. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { environment } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const MAIN = join(import.meta.dirname, '../../receiver/main.ts');
const END_MS_MAX = 10_000;

test('it ends when the other one is gone', async () => {
  await using folder = await tempDir();
  const state = ['--state-dir', join(folder.path, 'state'), '--listen', '127.0.0.1:0'];
  const words = [...state, '--log', 'json', '--once', join(folder.path, 'target')];
  const child = fork(MAIN, words, { silent: true, execArgv: ['--disable-sigusr1'], env: environment() });
  using _child = { [Symbol.dispose]: () => void child.kill('SIGKILL') };
  assert(child.stderr !== null);
  for await (const line of createInterface({ input: child.stderr })) if (line.includes('"listen":')) break;
  child.disconnect();
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX);
  const [status, signal] = (await once(child, 'exit')) as [number | null, string | null];
  clearTimeout(timer);
  assert.deepEqual([status, signal], [143, null]);
});
