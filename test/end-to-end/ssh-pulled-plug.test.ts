/** A far machine of its own, emulated, whose plug is pulled during the copy; the disk that it gets boots. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { NOWHERE } from '../support/far-machine.ts';
import { GuestSystem, unlessGuest, type Guest } from '../support/guest.ts';
import { MIB, SCRIPTS, bounded, doneOf, environment } from '../support/processes.ts';
import { runOk, start, type Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = await unlessGuest();
const SOURCE_BYTES = 64 * MIB;
const TARGET_BYTES = 72 * MIB;
/** Has room for the one file, arriving. */
const SYSTEM_BYTES = 512 * MIB;
/** An emulated machine unpacks the program in half a minute. */
const START_MS_MAX = 180_000;
const END_MS_MAX = 180_000;
const DURABLE = /"blocksDurable":[1-9]/;
/** A third of the disk has content: the copy takes some ten seconds. */
const SLOWLY = ['--bwlimit', '2M', '--compress', 'none', '--progress', 'json'];

test('a far machine whose plug is pulled twice gets a copy that boots', { skip }, async (t) => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const [source, target, own] = [at('source'), at('target'), at('own')];
  await mkdir(at('system'));
  const system = await GuestSystem.build(at('system'));
  await system.makeDisk(source, SOURCE_BYTES);
  await system.makeDisk(own, SYSTEM_BYTES);
  await runOk('truncate', ['--size', String(TARGET_BYTES), target]);
  const far = ['--ssh', `ssh -F ${system.configFile}`, ...NOWHERE];
  const words = [...far, ...SLOWLY, source, 'guest:/dev/vda'];
  // One that is killed leaves a folder there.
  const env = environment({ TMPDIR: folder.path });
  const send = async (): Promise<Started> => await start(join(SCRIPTS, 'ddt-send'), words, { env });
  const boot = async (): Promise<Guest> => await system.boot([target, own], '/dev/vdb');

  const firstGuest = await timed('boot', boot);
  await using _first = firstGuest;
  await using killed = await send();
  await timed('program, start', async () => await killed.waitForLine(DURABLE, START_MS_MAX));
  killed.kill('SIGKILL');
  await firstGuest.pullPlug();

  await using secondGuest = await timed('boot', boot);
  await using sender = await send();
  await sender.waitForLine(/"percent":[12]\d,/, START_MS_MAX);
  assert.doesNotMatch(sender.stderr, /^program/m, 'the program has survived');
  await secondGuest.pullPlug();

  await using thirdGuest = await timed('boot', boot);
  await timed('resumed', async () => await sender.waitForLine(/^note {5}resumed after/, END_MS_MAX));
  const done = doneOf(await timed('rest', async () => await bounded('the sender', sender.ended, END_MS_MAX)));
  assert(done.blocksSkipped > 0, 'the first run counts');
  assert.match(sender.stderr, /^left {5}nothing at guest$/m);
  await runOk('cmp', ['--bytes', String(SOURCE_BYTES), source, target]);
  await thirdGuest.pullPlug();

  await using copy = await timed('boot of the copy', async () => await system.boot([target], '/dev/vda'));
  const mounted = await runOk('ssh', ['-F', system.configFile, 'guest', 'grep " / " /proc/mounts']);
  assert.match(mounted, /^\/dev\/vda \/ ext4 rw/);
  await copy.pullPlug();

  async function timed<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    const startMs = performance.now();
    const result = await work();
    t.diagnostic(`${what}: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    return result;
  }
});
