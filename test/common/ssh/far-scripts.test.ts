import { shellWord } from '../../../common/text.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  askScript,
  putScript,
  removeScript,
  startScript,
  stopScript,
} from '../../../common/ssh/far-scripts.ts';
import { runOk } from '../../support/run.ts';

test('a shell takes every word as it was', async () => {
  const words = fc.sample(fc.string({ unit: 'grapheme', minLength: 1 }), { numRuns: 200, seed: 7 });
  const all = [...words, "it's", '$(id)', '`id`', '-n', 'a\\b', '*', '~', '"'].filter(
    (word) => !word.includes('\0'),
  );
  const printed = await runOk('sh', [
    '-c',
    all.map((word) => `printf '%s\\0' ${shellWord(word)}`).join('\n'),
  ]);
  assert.deepEqual(printed.split('\0').slice(0, -1), all);
});

test('the scripts are those of a plain sh, whatever the paths are', async () => {
  const places = { base: "/var/lib/it's $HOME", transfer: '0123456789abcdef' };
  const digest = 'a'.repeat(64);
  const remove = stopScript(places) + removeScript(places, digest);
  const start = startScript(places, "'/a b/ddt' receive", ['--', "it's"]);
  for (const script of [
    askScript(places.base, 'send'),
    putScript(places.base, digest, true),
    start,
    remove,
  ]) {
    await runOk('dash', ['-n'], { input: script });
  }
});
