import { shellWord } from '../../../common/text.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  askScript,
  askTargetScript,
  joinScript,
  partScript,
  removeScript,
  startScript,
  stopScript,
  unjoinScript,
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
  const places = { base: "/var/lib/it's $HOME", targets: ["/dev/it's a `disk`", '/dev/vdb'] };
  const digest = 'a'.repeat(64);
  const remove = stopScript(`${places.base}/ssh/run-7-0`);
  const arriving = { base: places.base, digest, id: '01234567', count: 4 };
  const all = { journals: [`${places.base}/ssh/0123456789abcdef`], digest, newTargets: places.targets };
  const scripts = [
    askScript(places.base, 'send') + askTargetScript(places.targets[0] ?? '', 0),
    partScript(arriving, 3),
    joinScript(arriving, true),
    unjoinScript(arriving),
    startScript(places, "'/a b/ddt' receive", ['--', "it's"], '--verify none'),
    remove + removeScript(places, all),
    remove + removeScript(places, { journals: [], digest: undefined, newTargets: [] }),
  ];
  for (const script of scripts) {
    await runOk('dash', ['-n'], { input: script });
  }
});
