/**
 * The mistakes that people make with disks, tickets and receivers, as both commands answer them, to the
 * letter.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { formatTicket, parseTicket } from '../../common/trust/ticket.ts';
import { mintToken } from '../../common/trust/token.ts';
import { loadOrMakeSigningKey } from '../../receiver/identity/certificate.ts';
import { loopDevice, mounted, skipUnlessLoop } from '../support/loop-device.ts';
import { MIB, OWN_HOST, type Receiver, runReceiver, runSender, startReceiver } from '../support/processes.ts';
import { runOk, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Scene {
  readonly folder: string;
  /** 1 MiB. */
  readonly source: string;
  /** Onto DIR/one/target and DIR/two/target. */
  readonly one: Receiver;
  readonly two: Receiver;
  /** 8 MiB, with a file system; the second is mounted on MOUNT. */
  readonly filled: string;
  readonly used: string;
}

interface Mistake {
  readonly name: string;
  readonly run: (scene: Scene) => Promise<Ended>;
  readonly status: number;
  /** Of standard error, with names for what differs from run to run. */
  readonly lines: readonly string[];
}

const SOURCE = 'source   DIR/source: regular file, 1 MiB';

async function receive({ folder }: Scene, ...args: readonly string[]): Promise<Ended> {
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder, 'other-state')];
  return await runReceiver([...place, ...args]);
}

/** A ticket of the receiver's own key that was good until yesterday. */
async function expiredTicket({ one }: Scene): Promise<string> {
  const ticket = parseTicket(one.ticket);
  const key = await loadOrMakeSigningKey(one.stateDir);
  const exp = Math.floor(systemClock.wallMs() / 1000) - 86_400;
  const tid = (await one.status()).transferId;
  const payload = { v: 1, aud: ticket.pin, tid, scope: ['write'], iat: exp - 86_400, exp } as const;
  return formatTicket({ ...ticket, token: mintToken({ ...payload, scope: ['write'] }, key) });
}

const MISTAKES: readonly Mistake[] = [
  {
    name: 'a wrong path of the target',
    run: async (scene) => await receive(scene, '/dev/ddt-no-such-disk'),
    status: 4,
    lines: [
      'ddt-receive: error: cannot use /dev/ddt-no-such-disk: there is no such device, and no file is ' +
        'ever created under /dev',
      'ddt-receive: hint: lsblk --output PATH,SIZE,MODEL,SERIAL,FSTYPE,LABEL,MOUNTPOINTS',
    ],
  },
  {
    name: 'a directory as the target',
    run: async (scene) => await receive(scene, scene.folder),
    status: 4,
    lines: [
      'ddt-receive: error: cannot use DIR: it is a directory, not a disk or a regular file',
      'ddt-receive: hint: name a file in it, or a disk: lsblk lists them',
    ],
  },
  {
    name: 'a mounted target',
    run: async (scene) => await receive(scene, '--overwrite-target', scene.used),
    status: 4,
    lines: [
      'ddt-receive: error: cannot write to USED (loop device FILE, 8 MiB): it is in use: mounted on ' +
        'MOUNT',
      'ddt-receive: hint: lsblk --output PATH,SIZE,MODEL,SERIAL,FSTYPE,LABEL,MOUNTPOINTS USED',
    ],
  },
  {
    name: 'a target with something on it',
    run: async (scene) => await receive(scene, scene.filled),
    status: 4,
    lines: [
      'ddt-receive: error: cannot write to FILLED (loop device FILE, 8 MiB): it is not empty: ext4 ' +
        'file system "photos"',
      'ddt-receive: hint: add --overwrite-target if all of that may be destroyed',
    ],
  },
  {
    name: 'a second receiver on the same target',
    run: async (scene) => await receive(scene, join(scene.folder, 'one', 'target')),
    status: 4,
    lines: [
      'ddt-receive: error: cannot write to DIR/one/target (regular file, 0 bytes): it is in use: open for ' +
        'writing in ddt-receive (process PID)',
      'ddt-receive: hint: stop the process that uses it, or name another target',
    ],
  },
  {
    name: 'source and target the same',
    run: async ({ folder, one }) =>
      await runSender(['--ticket-file', one.ticketFile, join(folder, 'one', 'target')]),
    status: 4,
    lines: [
      'source   DIR/one/target: regular file, 0 bytes',
      'ddt-send: warning: DIR/one/target is in use: open for writing in ddt-receive (process PID); the ' +
        'copy will be inconsistent if it is written meanwhile',
      'ddt-send: hint: stop the process that uses it, or send a snapshot of it',
      'target   DIR/one/target at HOST: regular file, empty, new transfer',
      'ddt-send: error: cannot send DIR/one/target to DIR/one/target: they are the same disk',
      'ddt-send: hint: lsblk --output PATH,SIZE,MODEL,SERIAL',
    ],
  },
  {
    name: 'a file with the ticket that does not exist',
    run: async ({ folder, source }) => await runSender(['--ticket-file', join(folder, 'tikcet'), source]),
    status: 2,
    lines: ['ddt-send: error: cannot read the ticket from DIR/tikcet: no such file or directory'],
  },
  {
    name: 'the ticket of another receiver',
    run: async ({ source, one, two }) => {
      const ticket = { ...parseTicket(two.ticket), port: one.port, origin: parseTicket(one.ticket).origin };
      return await runSender([source, formatTicket(ticket)]);
    },
    status: 4,
    lines: [
      SOURCE,
      'ddt-send: error: HOST:ONE is not the receiver of this ticket: its pin is sha256//PIN, not sha256//PIN',
      'ddt-send: hint: check the address; if the receiver was reinstalled, use the ticket ' +
        'that it prints now',
    ],
  },
  {
    name: 'a ticket that has expired',
    run: async (scene) => await runSender([scene.source, await expiredTicket(scene)]),
    status: 4,
    lines: [
      SOURCE,
      'ddt-send: error: the receiver says: the token has expired',
      'ddt-send: hint: restart ddt-receive on the same target: it prints a new ticket for the same transfer',
    ],
  },
  {
    name: 'a receiver that does not run',
    run: async ({ source, one }) => {
      const ticket = { ...parseTicket(one.ticket), port: 1, origin: `https://${OWN_HOST}:1` };
      return await runSender(['--retry-for', '0s', source, formatTicket(ticket)]);
    },
    status: 6,
    lines: [
      SOURCE,
      'ddt-send: error: gave up after 0 s: cannot reach the receiver at HOST:1: connection refused',
      'ddt-send: hint: is TCP 1 open in the firewall, and is ddt-receive running?',
    ],
  },
];

/** Standard error, with the names of the table. */
async function linesOf({ folder, one, filled, used }: Scene, ended: Ended): Promise<string[]> {
  const point = (await runOk('findmnt', ['--noheadings', '--output', 'TARGET', used])).trim();
  const text = ended.stderr
    .replaceAll(point, 'MOUNT')
    .replaceAll(folder, 'DIR')
    .replaceAll(/(?<=loop device )[^,]+/g, 'FILE')
    .replaceAll(filled, 'FILLED')
    .replaceAll(used, 'USED')
    .replaceAll(OWN_HOST, 'HOST')
    .replaceAll(`HOST:${one.port}`, 'HOST:ONE')
    .replaceAll(/process \d+/g, 'process PID')
    .replaceAll(/sha256\/\/[\w+/=]+/g, 'sha256//PIN');
  return text.split('\n').slice(0, -1);
}

test(
  'ten mistakes with disks and tickets are answered to the letter',
  { skip: skipUnlessLoop },
  async (t) => {
    await using folder = await tempDir();
    await using filled = await loopDevice(8 * MIB);
    await using used = await loopDevice(8 * MIB);
    await runOk('mkfs.ext4', ['-q', '-L', 'photos', filled.path]);
    await runOk('mkfs.ext4', ['-q', used.path]);
    await using _mount = await mounted(used.path);
    const [source, oneFolder, twoFolder] = ['source', 'one', 'two'].map((name) => join(folder.path, name));
    assert(source !== undefined && oneFolder !== undefined && twoFolder !== undefined);
    await writeFile(source, Buffer.alloc(MIB, 1));
    await runOk('mkdir', [oneFolder, twoFolder]);
    await using one = await startReceiver({ folder: oneFolder, target: join(oneFolder, 'target') });
    await using two = await startReceiver({ folder: twoFolder, target: join(twoFolder, 'target') });
    const scene = { folder: folder.path, source, one, two, filled: filled.path, used: used.path };
    for (const { name, run, status, lines } of MISTAKES) {
      await t.test(name, async () => {
        const ended = await run(scene);
        assert.deepEqual(await linesOf(scene, ended), lines);
        assert.deepEqual([ended.status, ended.stdout], [status, '']);
      });
    }
    assert.equal((await one.status()).state, 'unclaimed');
    assert.equal((await readFile(join(oneFolder, 'target'))).length, 0);
  },
);
