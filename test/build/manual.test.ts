/** Manual pages and completions, as man(1) and the shells themselves read them. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeCommand as makeReceiveCommand } from '../../receiver/cli.ts';
import {
  bashCompletion,
  fishCompletion,
  manualPage,
  readManual,
  zshCompletion,
} from '../../scripts/build/manual.ts';
import { makeCommand as makeSendCommand } from '../../sender/cli.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const SEND = readManual(makeSendCommand);
const RECEIVE = readManual(makeReceiveCommand);

/** The long names of all options. */
function optionsIn({ help }: typeof SEND): string[] {
  return Array.from(help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm), ([, name = '']) => name);
}

test(
  'the manual pages have every option, without a complaint of groff',
  { skip: unlessInstalled('groff') },
  async () => {
    for (const manual of [SEND, RECEIVE]) {
      const args = ['-man', '-Tutf8', '-Kutf8', '-ww', '-P-cbou'];
      const { status, stdout, stderr } = await run('groff', args, { input: manualPage(manual, '1.2.3') });
      assert.deepEqual([status, stderr], [0, '']);
      const options = optionsIn(manual);
      assert(options.length > 15);
      for (const option of options) assert.match(stdout, new RegExp(`^ +(-\\w, )?${option}( |$)`, 'm'));
      for (const title of ['NAME', 'SYNOPSIS', 'DESCRIPTION', 'OPTIONS', 'EXAMPLES', 'EXIT STATUS']) {
        assert.match(stdout, new RegExp(`^${title}\n +\\S`, 'm'));
      }
      assert.match(stdout, /^ {7}ddt-(send|receive) - \w/m);
    }
  },
);

/** What bash offers after these words. */
async function completed(...words: readonly string[]): Promise<string[]> {
  const script = `${bashCompletion(SEND)}
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _ddt_send
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const text = await runOk('bash', ['-c', script, 'bash', ...words]);
  return text.split('\n').filter((line) => line !== '');
}

test('bash completes options, their values, and files where files belong', async () => {
  await using folder = await tempDir();
  await writeFile(join(folder.path, 'ticket one'), '');
  const place = join(folder.path, 'ti');
  assert.deepEqual(await completed('ddt-send', '--check'), ['--check']);
  assert.deepEqual((await completed('ddt-send', '--')).sort(), optionsIn(SEND).sort());
  assert.deepEqual(await completed('ddt-send', '--progress', 'j'), ['json']);
  assert.deepEqual(await completed('ddt-send', '--ticket-file', place), [`${place}cket one`]);
  assert.deepEqual(await completed('ddt-send', '--memory', place), []);
  assert.deepEqual(await completed('ddt-send', place), [`${place}cket one`]);
});

test('fish completes options and their values', { skip: unlessInstalled('fish') }, async () => {
  const offered = async (line: string): Promise<string[]> => {
    const script = `${fishCompletion(SEND)}\ncomplete -C ${JSON.stringify(line)}`;
    const text = await runOk('fish', ['--no-config', '-c', script]);
    return text.split('\n').map((each) => each.split('\t')[0] ?? '');
  };
  assert((await offered('ddt-send --che')).includes('--check'));
  assert.deepEqual((await offered('ddt-send --on-read-error ')).filter((word) => word !== '').sort(), [
    'stop',
    'zero',
  ]);
});

test('zsh takes the completions', { skip: unlessInstalled('zsh') }, async () => {
  for (const manual of [SEND, RECEIVE]) {
    const text = zshCompletion(manual);
    const { status, stderr } = await run('zsh', ['-n'], { input: text });
    assert.deepEqual([status, stderr], [0, '']);
    // What _arguments is given: a word for each option, and one for the files.
    const script = `_arguments() { print -l -- "$@" }\n${text}`;
    const words = (await runOk('zsh', ['-f', '-c', script])).trim().split('\n');
    assert.equal(words.length, optionsIn(manual).length + 1);
    for (const option of optionsIn(manual))
      assert(
        words.some((word) => word.startsWith(`${option}[`)),
        option,
      );
    assert.equal(words.at(-1), '*:disk:_files');
  }
});
