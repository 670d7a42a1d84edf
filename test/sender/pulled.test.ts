/** `ddt-send --pulled`, with this test in place of the ddt-receive that starts it. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { bounded, runSender, startSender } from '../support/processes.ts';
import type { Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

async function startOn(folder: string): Promise<Started> {
  const source = join(folder, 'source');
  await writeFile(source, 'something');
  const sender = await startSender(['--pulled', source]);
  sender.stdin.write('{"name":"vm","terminal":null}\n');
  await sender.waitForLine(/^\{"ready":true\}$/);
  return sender;
}

test('the source is shown before there is a ticket', async () => {
  await using folder = await tempDir();
  await using sender = await startOn(folder.path);
  assert.match(sender.stdout, /^\{"err":"source {3}\S+source: .*\\n"\}\n\{"ready":true\}\n$/);
  assert.equal(sender.stderr, '');
});

test('it says how far it is when somebody there asks', async () => {
  await using folder = await tempDir();
  await using sender = await startOn(folder.path);
  sender.stdin.write('{"isProgressAsked":true}\n');
  await sender.waitForLine(/^\{"err":"ddt-send: nothing is being sent now\\n"\}$/);
});

test('it ends when nobody is there any more', async () => {
  await using folder = await tempDir();
  await using sender = await startOn(folder.path);
  sender.stdin.end();
  const { status, stdout } = await bounded('the sender', sender.ended);
  assert.equal(status, 143, stdout);
  assert.match(stdout, /"err":"ddt-send: error: the ddt-receive that has started this ddt-send is gone\\n/);
});

test('a ticket from elsewhere, a target or a pipe is refused beside it', async () => {
  for (const words of [['--ticket-file', 'x', 'a'], ['a', 'vm:b'], ['-']]) {
    const { status, stderr } = await runSender(['--pulled', ...words]);
    assert.equal(status, 2, stderr);
    assert.match(
      stderr,
      /error: --pulled (and --ticket-file exclude each other|takes a disk or a file, and no target)$/m,
    );
  }
});
