/** What people read when they make the usual mistakes: a sentence and, perhaps, the next command to type. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import {
  KIB,
  MIB,
  OWN_HOST,
  type Receiver,
  runReceiver,
  runSender,
  startReceiver,
} from '../support/processes.ts';
import type { Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Scene {
  readonly folder: string;
  /** 1 MiB, for which the receiver's transfer was claimed, in blocks of 64 KiB. */
  readonly source: string;
  readonly receiver: Receiver;
}

interface Mistake {
  readonly name: string;
  readonly run: (scene: Scene) => Promise<Ended>;
  readonly status: number;
  /** The lines of standard error, with DIR, HOST and PORT for what differs from run to run. */
  readonly stderr: readonly string[];
}

const MISTAKES: readonly Mistake[] = [
  {
    name: 'a wrong path of the source',
    run: async ({ folder, receiver }) => await runSender([join(folder, 'sorce'), receiver.ticket]),
    status: 4,
    stderr: ['ddt-send: error: cannot use DIR/sorce: no such file or directory'],
  },
  {
    name: 'no ticket',
    run: async ({ source }) => await runSender([source]),
    status: 2,
    stderr: [
      'ddt-send: error: no ticket given',
      `ddt-send: hint: start ddt-receive on the target's machine and paste what it prints: ` +
        `ddt-send <source> '<ticket>'`,
    ],
  },
  {
    name: 'a ticket without quotes, cut at &',
    run: async ({ source, receiver }) => await runSender([source, receiver.ticket.replace(/&.*/, '')]),
    status: 2,
    stderr: [
      'ddt-send: error: cannot read the ticket: its token is missing, as when a shell cuts ' +
        'the line at "&"',
      'ddt-send: hint: put the whole ticket between single quotes: ddt-send <source> ' +
        `'https://…#pin=…&token=…'`,
    ],
  },
  {
    name: 'a folder as the source',
    run: async ({ folder, receiver }) => await runSender([folder, receiver.ticket]),
    status: 4,
    stderr: [
      'ddt-send: error: cannot use DIR: it is a directory, not a disk or a regular file',
      'ddt-send: hint: name a disk, which lsblk lists, or a file in it',
    ],
  },
  {
    name: 'another block size when going on',
    run: async ({ source, receiver }) => await runSender(['--block-size', '1MiB', source, receiver.ticket]),
    status: 4,
    stderr: [
      'source   DIR/source: regular file, 1 MiB',
      'ddt-send: error: this target belongs to another transfer: it uses blocks of 64 KiB, not 1 MiB',
      'ddt-send: hint: leave --block-size out to resume with the block size of the transfer',
    ],
  },
  {
    name: 'a source of another size when going on',
    run: async ({ folder, receiver }) => {
      const other = join(folder, 'other');
      await writeFile(other, Buffer.alloc(2 * MIB));
      return await runSender([other, receiver.ticket]);
    },
    status: 4,
    stderr: [
      'source   DIR/other: regular file, 2 MiB',
      'ddt-send: error: this target belongs to another transfer: its source has 1048576 ' +
        'bytes (1 MiB), this one has 2097152',
      'ddt-send: hint: if the earlier transfer is not needed, start ddt-receive with --discard-transfer',
    ],
  },
  {
    name: 'a port that is in use',
    run: async ({ folder, receiver }) => {
      const place = ['--listen', `${OWN_HOST}:${receiver.port}`, '--state-dir', join(folder, 'other-state')];
      return await runReceiver([...place, join(folder, 'other-target')]);
    },
    status: 4,
    stderr: ['ddt-receive: error: cannot listen on HOST:PORT: the address is already in use'],
  },
  {
    name: 'an option that ddt-send does not have',
    run: async ({ source, receiver }) => await runSender(['--conections', '4', source, receiver.ticket]),
    status: 2,
    stderr: [
      `ddt-send: error: unknown option '--conections'`,
      'ddt-send: hint: did you mean --connections? ddt-send --help',
    ],
  },
  {
    name: 'an option that ddt-receive does not have',
    run: async ({ folder }) => await runReceiver(['--destroy-everything', join(folder, 'x')]),
    status: 2,
    stderr: [
      `ddt-receive: error: unknown option '--destroy-everything'`,
      'ddt-receive: hint: ddt-receive --help',
    ],
  },
  {
    name: 'a size that is none',
    run: async ({ source, receiver }) => await runSender(['--block-size', '100', source, receiver.ticket]),
    status: 2,
    stderr: ['ddt-send: error: --block-size 100 is not a power of two from 64 KiB to 16 MiB'],
  },
  {
    name: 'a ticket that is not quoted well, with its token as a third argument',
    run: async ({ source, receiver }) => await runSender([source, 'https://x/', receiver.token]),
    status: 2,
    stderr: [
      'ddt-send: error: too many arguments. Expected 2 arguments but got 3: DIR/source, ' +
        'https://x/, ddt1.…',
      'ddt-send: hint: ddt-send --help',
    ],
  },
];

test('the usual mistakes are answered with one sentence and a hint', async (t) => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, Buffer.alloc(MIB, 1));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const claim = { size: MIB, blockSize: 64 * KIB, source: { description: 'regular file' } };
  const { status } = await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  assert.equal(status, 201);
  for (const mistake of MISTAKES) {
    await t.test(mistake.name, async () => {
      const ended = await mistake.run({ folder: folder.path, source, receiver });
      const stderr = ended.stderr
        .replaceAll(folder.path, 'DIR')
        .replaceAll(`${OWN_HOST}:${receiver.port}`, 'HOST:PORT');
      const expected = `${mistake.stderr.join('\n')}\n`;
      assert.deepEqual([ended.status, stderr, ended.stdout], [mistake.status, expected, '']);
    });
  }
});

test(
  'a source that is larger than the target is answered with both sizes',
  { skip: skipUnlessLoop },
  async () => {
    await using folder = await tempDir();
    await using device = await loopDevice(MIB);
    const source = join(folder.path, 'source');
    await writeFile(source, Buffer.alloc(3 * MIB, 1));
    await using receiver = await startReceiver({ folder: folder.path, target: device.path });
    const ended = await runSender(['--ticket-file', receiver.ticketFile, source]);
    assert.equal(ended.status, 4);
    assert.equal(
      ended.stderr.replaceAll(folder.path, 'DIR'),
      'source   DIR/source: regular file, 3 MiB\n' +
        `ddt-send: error: ${device.path} at ${OWN_HOST} is too small: ` +
        'it has 1048576 bytes (1 MiB), the source has 3145728 (3 MiB)\n',
    );
  },
);

test('without arguments both commands print their usage and end with status 2', async () => {
  const commands = [
    ['ddt-send', runSender, 'no source given', '<source> [ticket]'],
    ['ddt-receive', runReceiver, 'no target given', '<target>'],
  ] as const;
  for (const [name, run, what, usage] of commands) {
    const { status, stdout, stderr } = await run([]);
    assert.deepEqual([status, stdout], [2, '']);
    assert(stderr.startsWith(`${name}: error: ${what}\nUsage: ${name} [options] ${usage}\n`), stderr);
    assert.match(stderr, /^Examples:$/m);
    const help = await run(['--help']);
    assert.deepEqual([help.status, help.stderr], [0, '']);
    assert.equal(stderr.trimEnd(), `${name}: error: ${what}\n${help.stdout}`.trimEnd());
    assert(help.stdout.split('\n').every((line) => line.length <= 110));
  }
});
