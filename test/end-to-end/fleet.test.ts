/** A real ddt-fleet: jobs that fail, the limits, the end of its senders, receipts, the plan. */
import assert from 'node:assert/strict';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertNothingLeft, killAll } from '../support/far-machine.ts';
import { FLEET_EVENTS, FleetScene, fleetEventsOf, namesOf, type FleetEvent } from '../support/fleet-scene.ts';
import { KIB, MIB, assertEqualFiles, bounded } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';

const skip = unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const seen = new Set<unknown>();

/** Checked against the schema. */
function eventsIn(stdout: string): FleetEvent[] {
  const events = fleetEventsOf(stdout);
  for (const { event } of events) seen.add(event);
  return events;
}

test('a job that fails stops no other, and is the only one that runs again', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(3, 256 * KIB);
  await scene.writeTable(rows);
  const [bad] = rows;
  assert(bad !== undefined);
  await rename(bad.source, `${bad.source}.away`);
  const told = join(scene.folder, 'told');
  const hook = `echo "$DDT_PROGRAM $DDT_RESULT $DDT_CODE $DDT_STATUS $DDT_MESSAGE" >>${told}`;
  const ended = await scene.run(['--on-trouble', hook, '--on-done', 'false']);
  assert.equal(ended.status, 7, ended.stderr);
  const events = eventsIn(ended.stdout);
  const over = events.filter(({ event }) => event === 'over');
  assert.deepEqual(over.map(({ job, result }) => `${String(job)} ${String(result)}`).toSorted(), [
    'disk01 failed',
    'disk02 complete',
    'disk03 complete',
  ]);
  assert.match(String(over.find(({ job }) => job === 'disk01')?.['reason']), /no such file|not found/i);
  assert.match(await scene.log('disk01'), /^--- \d{4}-[^]*ddt-send: error: /);
  const [trouble = '', end] = (await readFile(told, 'utf8')).split('\n');
  assert.match(trouble, /^ddt-fleet trouble job-failed {2}disk01: /);
  assert.equal(end, 'ddt-fleet failed fleet 7 2 complete, 1 failed of 3 jobs');
  await rename(`${bad.source}.away`, bad.source);
  const again = await scene.run();
  assert.equal(again.status, 0, again.stderr);
  assert.deepEqual(namesOf(eventsIn(again.stdout), 'started'), ['disk01']);
  await scene.assertCopied(rows);
});

test('a sender that is killed is started again, after a pause', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(1, 3 * MIB);
  await scene.writeTable(rows);
  const fleet = await scene.start(['--bwlimit', '1M', '--pause', '1s']);
  await fleet.waitForLine(/"event":"progress"/);
  killAll((await scene.machine.processes(/^ddt-send/)).map(({ id }) => id));
  const ended = await bounded('the end of the fleet', fleet.ended, 60_000);
  assert.equal(ended.status, 0, ended.stderr);
  const events = eventsIn(ended.stdout);
  assert.deepEqual(namesOf(events, 'paused'), ['disk01']);
  assert.deepEqual(namesOf(events, 'started'), ['disk01', 'disk01']);
  await scene.assertCopied(rows);
});

test('Ctrl-C ends all senders, and the same command resumes', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(2, 4 * MIB);
  await scene.writeTable(rows);
  const fleet = await scene.start(['--bwlimit', '512K']);
  for (const { name } of rows) await fleet.waitForLine(new RegExp(`"job":"${name}","event":"progress"`));
  fleet.kill('SIGINT');
  const ended = await bounded('the end of the fleet', fleet.ended, 30_000);
  assert.equal(ended.status, 130, ended.stderr);
  assert.deepEqual(await scene.senders(), []);
  const events = eventsIn(ended.stdout);
  assert.deepEqual(namesOf(events, 'interrupted').toSorted(), ['disk01', 'disk02']);
  assert.equal(events.at(-1)?.['status'], 130);
  const again = await scene.run();
  assert.equal(again.status, 0, again.stderr);
  await scene.assertCopied(rows);
});

test('all jobs together stay within the limit of the line', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(3, 2 * MIB);
  await scene.writeTable(rows);
  const startMs = performance.now();
  const ended = await scene.run(['--bwlimit', '1M']);
  const seconds = (performance.now() - startMs) / 1000;
  assert.equal(ended.status, 0, ended.stderr);
  assert(seconds > 5, `6 MiB took ${seconds} s`);
  for (const { name } of rows) assert.match(await scene.log(name), /^limit {4}341\.3 KiB\/s /m, name);
  await scene.assertCopied(rows);
});

test('a second fleet on the same journal is refused', { skip }, async () => {
  await using scene = await FleetScene.make();
  await scene.writeTable(await scene.makeDisks(1, 2 * MIB));
  const first = await scene.start(['--bwlimit', '256K']);
  await first.waitForLine(/"event":"progress"/);
  const second = await scene.run();
  assert.equal(second.status, 4);
  assert.match(second.stderr, /another ddt-fleet is using the journal/);
  assert(first.isRunning);
});

test('a receipt that nobody has taken is made again by the next run', { skip }, async () => {
  await using scene = await FleetScene.make();
  const [row] = await scene.makeDisks(1, MIB);
  assert(row !== undefined);
  await scene.writeTable([row]);
  // A folder that is in the way: the receipt cannot be kept.
  const inTheWay = join(scene.receipts, 'disk01.json');
  const prepared = await scene.run(['--dry-run']);
  assert.equal(prepared.status, 3, prepared.stderr);
  await mkdir(inTheWay, { recursive: true });
  const ended = await scene.run(['--attempts', '1']);
  assert.equal(ended.status, 7, ended.stderr);
  assert.match(ended.stdout, /the receipt cannot be kept/);
  await rm(inTheWay, { recursive: true });
  const again = await scene.run();
  assert.equal(again.status, 0, again.stderr);
  // What was complete at the other machine was compared, and not sent again.
  const done = eventsIn(again.stdout).find(({ event }) => event === 'done');
  assert.equal(done?.['blocksSent'], 0);
  await scene.assertCopied([row]);
  await assertNothingLeft(scene.machine);
});

test('the plan has the sizes of all disks, and what is left out', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(2, MIB);
  const [first, second] = rows;
  assert(first !== undefined && second !== undefined);
  await writeFile(scene.targetOf('disk02'), Buffer.alloc(4 * KIB));
  await scene.writeTable([first]);
  assert.equal((await scene.run()).status, 0);
  await scene.writeTable([
    ...rows,
    { name: 'far', source: `loopback:${second.source}`, target: `loopback:${scene.folder}/nowhere/x` },
  ]);
  const ended = await scene.run(['--dry-run']);
  assert.equal(ended.status, 3, ended.stderr);
  const [skipped, planned, far, sum] = eventsIn(ended.stdout);
  assert.equal(skipped?.['isSkipped'], true);
  assert.deepEqual([planned?.['sourceBytes'], planned?.['targetBytes']], [MIB, 4 * KIB]);
  assert.deepEqual(far?.['sourceBytes'], MIB);
  assert.match(String(far?.['notes']), /target: there is no folder/);
  assert.deepEqual(sum, { event: 'plan', count: 3, skipped: 1, bytesTotal: 2 * MIB, unknown: 0 });
  assert.equal((await readFile(scene.targetOf('disk02'))).length, 4 * KIB);
  await assertEqualFiles(first.source, scene.targetOf('disk01'));
  // Another job with this name would replace the receipt of the first one.
  await scene.writeTable([{ ...second, name: 'disk01' }]);
  for (const words of [['--dry-run'], []]) {
    const refused = await scene.run(words);
    assert.equal(refused.status, 2, refused.stderr);
    assert.match(refused.stderr, /jobs\.yaml:1: the name disk01 is that of the receipt of an earlier job/);
  }
});

test('every kind of object that a fleet writes was among those of the runs above', { skip }, () => {
  for (const kind of FLEET_EVENTS) assert(seen.has(kind), kind);
});
