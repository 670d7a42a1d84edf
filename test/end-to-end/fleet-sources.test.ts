/** A real ddt-fleet: disks of other machines, their logins and programs, and the guide. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeProgram } from '../support/far-machine.ts';
import { FleetScene, SENDERS_END_MS_MAX, fleetEventsOf, namesOf } from '../support/fleet-scene.ts';
import { KIB, MIB, SCRIPTS, environment, until } from '../support/processes.ts';
import { findProgram, unlessInstalled } from '../support/requires.ts';
import { runOk, start } from '../support/run.ts';
import { recipe, runScript } from '../support/documents.ts';

const skip = unlessInstalled('ssh', 'sshd', 'ssh-keygen', 'ssh-agent', 'ssh-add');

test('a disk of another machine is sent from there, straight to the target', { skip }, async () => {
  await using scene = await FleetScene.make();
  const [row] = await scene.makeDisks(1, MIB);
  assert(row !== undefined);
  const { configFile, folder } = scene.machine;
  // The machine of the source reaches that of the target in its own way.
  const options = ['--ssh', `ssh -F ${configFile} -o ConnectTimeout=9`];
  await scene.writeTable([{ ...row, source: `loopback:${row.source}`, options }]);
  const fleet = await scene.start(['--remote-program', join(SCRIPTS, 'ddt-send'), '--bwlimit', '512K']);
  await fleet.waitForLine(/"event":"progress"/);
  const [title = ''] = await scene.senders();
  assert(title.includes(folder), title);
  fleet.kill('SIGKILL');
  await fleet.ended;
  // Standard input of the sender ends with the login.
  await until('the end of the sender', async () => (await scene.senders()).length === 0, SENDERS_END_MS_MAX);
  const ended = await scene.run(['--remote-program', join(SCRIPTS, 'ddt-send')]);
  assert.equal(ended.status, 0, ended.stderr);
  await scene.assertCopied([row]);
});

test('a complete job runs again only when it is named', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(2, 256 * KIB);
  const [first] = rows;
  assert(first !== undefined);
  await scene.writeTable(rows);
  assert.equal((await scene.run()).status, 0);
  await writeFile(first.source, Buffer.alloc(256 * KIB, 7));
  const wrong = await scene.run(['--again', 'disk01,disk09']);
  assert.equal(wrong.status, 2);
  assert.match(wrong.stderr, /error: --again: no job is called 'disk09'/);
  assert.equal((await scene.run(['--again', 'disk01', '--bwlimit', 'fast'])).status, 2);
  const still = await scene.run();
  assert.deepEqual([still.status, namesOf(fleetEventsOf(still.stdout), 'started')], [0, []]);
  const again = await scene.run(['--again', 'disk01'], ['--overwrite-target']);
  assert.equal(again.status, 0, again.stderr);
  assert.deepEqual(namesOf(fleetEventsOf(again.stdout), 'started'), ['disk01']);
  await scene.assertCopied(rows);
});

test(
  'the program is brought to a machine with sources once, and removed unless it is kept',
  { skip },
  async () => {
    await using scene = await FleetScene.make();
    const rows = await scene.makeDisks(2, 256 * KIB);
    const { configFile } = scene.machine;
    const far = rows.map((row) => ({
      ...row,
      source: `loopback:${row.source}`,
      options: ['--ssh', `ssh -F ${configFile}`],
    }));
    await scene.writeTable(far);
    const place = join(scene.folder, 'programs');
    const program = ['--program', await writeProgram(scene.machine), '--remote-dir', place];
    const ended = await scene.run([...program, '--keep', '--progress', 'plain']);
    assert.equal(ended.status, 0, ended.stderr);
    assert.equal(ended.stderr.match(/^program {2}bringing /gm)?.length, 1, ended.stderr);
    assert.equal((await readdir(join(place, 'bin'))).length, 1);
    await rm(place, { recursive: true });
    const [first] = rows;
    const words = [...program, '--again', first?.name ?? ''];
    assert.equal((await scene.run(words, ['--overwrite-target'])).status, 0);
    assert(!existsSync(place), 'nothing is left');
    await scene.assertCopied(rows);
  },
);

test('the machine of a source logs in with the agent of this one only if it may', { skip }, async () => {
  await using scene = await FleetScene.make();
  const [row] = await scene.makeDisks(1, 256 * KIB);
  assert(row !== undefined);
  const { configFile } = scene.machine;
  const socket = join(scene.folder, 'agent');
  await using agent = await start('ssh-agent', ['-D', '-a', socket]);
  await agent.waitForLine(/SSH_AUTH_SOCK/);
  await runOk('ssh-add', ['-q', join(scene.folder, 'ssh/user-key')], {
    env: environment({ SSH_AUTH_SOCK: socket }),
  });
  const config = await readFile(configFile, 'utf8');
  await writeFile(configFile, config.replace('IdentityAgent none\n', ''));
  // That of the machine of the source, which has no key of its own.
  const keyless = join(scene.folder, 'keyless');
  await writeFile(keyless, `${config.replaceAll(/^Identit.*\n/gm, '')}IdentityFile none\n`);
  const options = ['--ssh', `ssh -F ${keyless}`];
  await scene.writeTable([{ ...row, source: `loopback:${row.source}`, options }]);
  const program = ['--remote-program', join(SCRIPTS, 'ddt-send')];
  const env = { SSH_AUTH_SOCK: socket };
  const without = await scene.runIn(env, program);
  assert.equal(without.status, 7, without.stderr);
  assert.match(without.stdout, /Permission denied.*\(login-refused\)/);
  const ended = await scene.runIn(env, [...program, '--forward-agent']);
  assert.equal(ended.status, 0, ended.stderr);
  await scene.assertCopied([row]);
});

test('the examples of the guide run', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(2, 256 * KIB);
  await scene.writeTable(rows.map((row) => ({ ...row, options: scene.targetOptions })));
  const folder = join(scene.folder, 'bin');
  await mkdir(folder);
  const { configFile } = scene.machine;
  // The table of the guide has names that every ssh knows.
  const ssh = `#!/bin/sh\nexec ${findProgram('ssh')} -F ${configFile} "$@"\n`;
  await writeFile(join(folder, 'ssh'), ssh, { mode: 0o755 });
  const script = await recipe('docs/guide/fleet.md', 'fleet');
  const ended = await runScript(`PATH=${folder}:$PATH\n${script}`, scene.folder);
  assert.match(ended.stdout, /^run {6}disk01: [^]*^plan {5}2 of 2 jobs, 512 KiB; nothing was sent$/m);
  assert.match(ended.stdout, /^fleet {4}2 complete of 2 {2}512 KiB of 512 KiB$/m);
  assert.match(ended.stderr, /^done {5}disk01, 256 KiB: durable, read back and equal$/m);
  await scene.assertCopied(rows);
});
