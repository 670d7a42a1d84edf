/** What people see of a real fleet on a real terminal, as tmux(1) shows it. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { shellQuoted } from '../../common/text.ts';
import { FleetScene } from '../support/fleet-scene.ts';
import { KIB, MIB, SCRIPTS } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { Terminal } from '../support/terminal.ts';

const skip = unlessInstalled('tmux', 'ssh', 'sshd', 'ssh-keygen');

test('the board shows all jobs and each that runs, and ends with the sum', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(3, MIB);
  const [first] = rows;
  assert(first !== undefined);
  await writeFile(first.source, Buffer.alloc(256 * KIB, 1));
  await scene.writeTable([
    ...rows,
    { name: 'away', source: '/nowhere/x', target: `loopback:${scene.folder}/x` },
  ]);
  await using terminal = await Terminal.open(scene.folder, 100);
  const words = scene.words(['--at-once', '2', '--bwlimit', '512K', '--progress', 'auto']);
  await terminal.type([join(SCRIPTS, 'ddt-fleet'), ...words].map(shellQuoted).join(' '));
  await terminal.shows(/^fleet {4}2 running, 2 waiting of 4 /m);
  await terminal.shows(/^disk02 +\d+ % ▕█* *▏ +[\d.]+ \w+ of 1 MiB +[\d.]+ \w+\/s {2}ETA /m);
  const lines = await terminal.shows(/^receipts \S+\n\$$/m);
  const text = lines.join('\n');
  assert.match(text, /^done {5}disk01, 256 KiB: durable, read back and equal$/m);
  assert.match(text, /^failed {3}away: cannot use \/nowhere\/x: no such file/m);
  assert.equal(text.match(/^fleet {4}3 complete, 1 failed of 4 {2}2\.3 MiB of 2\.3 MiB$/gm)?.length, 1, text);
});
