/** What people read when they make the usual mistakes: one sentence, and perhaps the next command to type. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
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
    name: 'a source that does not exist',
    run: async ({ folder, receiver }) => await runSender([join(folder, 'sorce'), receiver.ticket]),
    status: 4,
    stderr: [
      'ddt-send: error: cannot use DIR/sorce: no such file or directory',
      'ddt-send: hint: lsblk --output PATH,SIZE,MODEL,SERIAL',
    ],
  },
  {
    name: 'no ticket',
    run: async ({ source }) => await runSender([source]),
    status: 2,
    stderr: [
      'ddt-send: error: no target given',
      'ddt-send: hint: ddt-send <source> root@vm:/dev/vdd; or with the ticket that ddt-receive prints: ' +
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
      'ddt-send: hint: put the whole ticket in single quotes: ddt-send <source> ' +
        `'https://…#pin=…&token=…'`,
    ],
  },
  {
    name: 'a folder as the source',
    run: async ({ folder, receiver }) => await runSender([folder, receiver.ticket]),
    status: 4,
    stderr: [
      'ddt-send: error: cannot use DIR: it is a directory, not a disk or a regular file',
      'ddt-send: hint: name a file in it, or a disk: lsblk lists them',
    ],
  },
  {
    name: 'another block size when resuming',
    run: async ({ source, receiver }) => await runSender(['--block-size', '1MiB', source, receiver.ticket]),
    status: 4,
    stderr: [
      'source   DIR/source: regular file, 1 MiB',
      'ddt-send: error: this target belongs to another transfer: it uses blocks of 64 KiB, not 1 MiB',
      'ddt-send: hint: leave --block-size out to resume with the block size of the transfer',
    ],
  },
  {
    name: 'a source of another size when resuming',
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
      'ddt-send: hint: if the earlier transfer is not needed, start ddt-receive with --discard-transfer ' +
        '--overwrite-target, in a script also with --yes',
    ],
  },
  {
    name: 'a port that is in use',
    run: async ({ folder, receiver }) => {
      const place = ['--listen', `${OWN_HOST}:${receiver.port}`, '--state-dir', join(folder, 'other-state')];
      return await runReceiver([...place, join(folder, 'other-target')]);
    },
    status: 4,
    stderr: [
      'ddt-receive: error: cannot listen on HOST:PORT: the address is already in use by ddt-receive: ' +
        'DIR/target (process PID)',
      'ddt-receive: hint: choose another port: --listen HOST:NEXT',
    ],
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
    name: 'an invalid size',
    run: async ({ source, receiver }) => await runSender(['--block-size', '100', source, receiver.ticket]),
    status: 2,
    stderr: ['ddt-send: error: --block-size 100 is not a power of two from 64 KiB to 16 MiB'],
  },
  {
    name: 'a ticket that was torn apart, its token a third argument',
    run: async ({ source, receiver }) => await runSender([source, 'https://x/', receiver.token]),
    status: 2,
    stderr: [
      'ddt-send: error: cannot read the ticket: there is a path in its address',
      'ddt-send: hint: copy the whole line that ddt-receive printed after "ticket:"',
    ],
  },
  {
    name: 'more arguments than a source and a ticket',
    run: async ({ source, receiver }) => await runSender([source, 'x', receiver.token]),
    status: 2,
    stderr: [
      'ddt-send: error: expected a source and a ticket, got 3 arguments',
      'ddt-send: hint: an unquoted & or a blank splits the ticket, so put it in single quotes: ' +
        `ddt-send <source> '<ticket>'`,
    ],
  },
  {
    name: 'a ticket and no source',
    run: async ({ receiver }) => await runSender([receiver.ticket]),
    status: 2,
    stderr: [
      'ddt-send: error: no source given: the only argument is a ticket',
      `ddt-send: hint: ddt-send <source> '<ticket>'`,
    ],
  },
  {
    name: 'source and ticket both from standard input',
    run: async () => await runSender(['--ticket-file', '-', '-']),
    status: 2,
    stderr: [
      'ddt-send: error: source and ticket cannot both come from standard input',
      'ddt-send: hint: put the ticket into a file: --ticket-file ticket.txt',
    ],
  },
  {
    name: 'a disk image in place of the file with the ticket',
    run: async ({ source }) => await runSender(['--ticket-file', source, source]),
    status: 2,
    stderr: ['ddt-send: error: cannot read the ticket from DIR/source: it is too large to be a ticket'],
  },
  {
    name: 'the size of a file',
    run: async ({ source, receiver }) => await runSender(['--source-size', '1M', source, receiver.ticket]),
    status: 2,
    stderr: [
      'ddt-send: error: --source-size is for standard input: the size of DIR/source is known',
      `ddt-send: hint: zcat disk.img.gz | ddt-send --source-size 931G - '<ticket>'`,
    ],
  },
  ...['--dry-run', '--mapfile', '--on-read-error zero'].map((option): Mistake => {
    const args = option === '--mapfile' ? [option, '/tmp/ddt.map'] : option.split(' ');
    return {
      name: `${option} for a pipe`,
      run: async ({ receiver }) => await runSender([...args, '-', receiver.ticket]),
      status: 2,
      stderr: [
        `ddt-send: error: ${option} is for disks and files, not for standard input`,
        `ddt-send: hint: leave ${option} out, or name a disk or a file`,
      ],
    };
  }),
  ...(
    [
      ['--receipt', 'nodir/x', 'nodir/x: there is no folder DIR/nodir'],
      ['--receipt', 'taken.sig', 'taken.sig: it is a directory'],
      ['--receipt', 'source', 'source: it is the source'],
      ['--receipt', 'taken', 'taken.sig: it is a directory'],
      ['--receipt', 'source/x', 'source/x: DIR/source: a part of the path is not a directory'],
      ['--mapfile', 'nodir/x', 'nodir/x: there is no folder DIR/nodir'],
    ] as const
  ).map(([option, path, reason]): Mistake => ({
    name: `${option} ${path}`,
    run: async ({ folder, source, receiver }) =>
      await runSender([option, join(folder, path), source, receiver.ticket]),
    status: 2,
    stderr: [`ddt-send: error: cannot write ${option} DIR/${reason}`],
  })),
];

test('the usual mistakes get one sentence and a hint', async (t) => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, Buffer.alloc(MIB, 1));
  await mkdir(join(folder.path, 'taken.sig'));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const claim = { size: MIB, blockSize: 64 * KIB, source: { description: 'regular file' } };
  const { status } = await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  assert.equal(status, 201);
  for (const mistake of MISTAKES) {
    await t.test(mistake.name, async () => {
      const ended = await mistake.run({ folder: folder.path, source, receiver });
      const stderr = ended.stderr
        .replaceAll(folder.path, 'DIR')
        .replaceAll(`${OWN_HOST}:${receiver.port}`, 'HOST:PORT')
        .replaceAll(`${OWN_HOST}:${receiver.port + 1}`, 'HOST:NEXT')
        .replaceAll(String(receiver.process.pid), 'PID');
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

test('an output path that is a device is refused: it would be replaced by a file', async () => {
  for (const option of ['--receipt', '--mapfile']) {
    const { status, stderr } = await runSender([option, '/dev/null', '/dev/zero', 'https://x/']);
    assert.deepEqual(
      [status, stderr],
      [2, `ddt-send: error: cannot write ${option} /dev/null: it is not a regular file\n`],
    );
  }
});

test('a receipt and a mapfile in one place are refused', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'out');
  const { status, stderr } = await runSender([
    '--receipt',
    path,
    '--mapfile',
    path,
    '/dev/zero',
    'https://x/',
  ]);
  assert.deepEqual(
    [status, stderr],
    [2, `ddt-send: error: cannot write --mapfile ${path}: --receipt is written there\n`],
  );
});

test('without arguments ddt-send prints one error and one hint, and no help', async () => {
  const { status, stdout, stderr } = await runSender([]);
  assert.deepEqual([status, stdout], [2, '']);
  assert.equal(stderr, 'ddt-send: error: no source given\nddt-send: hint: ddt-send --help\n');
  const help = await runSender(['--help']);
  assert.deepEqual([help.status, help.stderr], [0, '']);
  assert.match(
    help.stdout,
    /^Usage: ddt-send \[options\] <source>\.\.\. \[\[user@\]host:target\[,target\]\.\.\. \| ticket\]\n/,
  );
});

test('without arguments ddt-receive says what is missing, in two lines, and ends with status 2', async () => {
  const { status, stdout, stderr } = await runReceiver([]);
  assert.deepEqual([status, stdout], [2, '']);
  assert.equal(stderr, 'ddt-receive: error: no target given\nddt-receive: hint: ddt-receive --help\n');
});
