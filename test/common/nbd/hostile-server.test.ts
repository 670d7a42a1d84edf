/** Servers that break the protocol: an error with a sentence, in time, and no byte outside of its place. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { NbdConnection, ConnectionLost } from '../../../common/nbd/nbd-connection.ts';
import { COMMAND } from '../../../common/nbd/nbd-wire.ts';
import { coded } from '../../support/coded.ts';
import {
  GREETING,
  at,
  chunk,
  infoExport,
  number32,
  openExport,
  optionReply,
  scriptedServer,
  shakeHands,
  simpleReply,
  takeOption,
  takeRequest,
} from '../../support/nbd-server.ts';
import { bounded } from '../../support/processes.ts';
import { tempDir } from '../../support/temp-dir.ts';

const SIZE_BYTES = 65_536;
const NOTHING = Buffer.alloc(0);

/** What it writes at once, as the reply to everything. */
const HANDSHAKES: readonly (readonly [name: string, reply: Buffer, message: RegExp])[] = [
  ['another protocol', Buffer.from('SSH-2.0-OpenSSH_9.2p1 Debian\r\n'), /its greeting is another one/],
  ['the old style', Buffer.from('NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53', 'latin1'), /old style/],
  ['a new style that is not fixed', Buffer.from('NBDMAGICIHAVEOPT\0\0'), /fixed new style/],
  ['a reply to another option', Buffer.concat([GREETING, optionReply(3, 1)]), /of another form/],
  ['noise', Buffer.concat([GREETING, Buffer.alloc(40, 0xff)]), /of another form/],
  ['an end', Buffer.alloc(0), /closed/],
];

for (const [name, reply, message] of HANDSHAKES) {
  test(`a handshake with ${name} is refused`, async () => {
    await using folder = await tempDir();
    await using server = await scriptedServer(join(folder.path, 's'), async (client) => {
      await Promise.resolve();
      client.end(reply);
    });
    await assert.rejects(
      bounded('the refusal', openExport(server.uri)),
      coded('connection-failed', { message }),
    );
  });
}

/** Replies to GO, after an honest beginning. */
const EXPORTS: readonly (readonly [name: string, replies: readonly Buffer[], message: RegExp])[] = [
  ['no size', [optionReply(7, 1)], /how large the export is/],
  ['a size beyond all numbers', [optionReply(7, 3, infoExport(2n ** 63n, 1)), optionReply(7, 1)], /bytes/],
  ['no flags', [optionReply(7, 3, infoExport(512n, 0)), optionReply(7, 1)], /how large the export is/],
  ['a text of a gigabyte', [Buffer.concat([optionReply(7, 3).subarray(0, 16), number32(2 ** 30)])], /bytes/],
  ['no end', Array.from({ length: 100 }, () => optionReply(7, 3, Buffer.alloc(2, 9))), /does not end/],
  [
    'a refusal',
    [optionReply(7, 0x8000_0006, Buffer.from('none \u001b[2J'))],
    /no such export \(none \?\[2J\)/,
  ],
  [
    'blocks of three bytes',
    [
      optionReply(7, 3, infoExport(512n, 1)),
      optionReply(7, 3, Buffer.concat([Buffer.from([0, 3]), ...[3, 3, 3].map(number32)])),
      optionReply(7, 1),
    ],
    /block sizes make no sense: 3, 3, 3/,
  ],
];

for (const [name, replies, message] of EXPORTS) {
  test(`an export with ${name} is refused`, async () => {
    await using folder = await tempDir();
    await using server = await scriptedServer(join(folder.path, 's'), async (client, incoming) => {
      client.write(GREETING);
      await incoming.take(4);
      for (;;) {
        const option = await takeOption(incoming);
        if (option !== 7) client.write(optionReply(option, 0x8000_0001));
        else for (const reply of replies) client.write(reply);
      }
    });
    await assert.rejects(
      bounded('the refusal', openExport(server.uri)),
      coded('connection-failed', { message }),
    );
  });
}

const DATA = at(4096n, Buffer.alloc(4096, 1));
/** Replies to a read of 4096 bytes at 4096. */
const READS: readonly (readonly [name: string, replies: (cookie: bigint) => readonly Buffer[]])[] = [
  ['to another request', (cookie) => [chunk(cookie + 1n, 1, DATA, 1)]],
  ['to a request with a larger number than any', (cookie) => [chunk(cookie + 2n ** 40n, 1, DATA, 1)]],
  ['of another magic', () => [Buffer.alloc(20, 7)]],
  ['without data', (cookie) => [chunk(cookie, 0, NOTHING, 1)]],
  ['with half of the data', (cookie) => [chunk(cookie, 1, DATA.subarray(0, 2056), 1)]],
  ['with data before its place', (cookie) => [chunk(cookie, 1, at(0n, Buffer.alloc(4096)), 1)]],
  ['with data past its place', (cookie) => [chunk(cookie, 1, at(4097n, Buffer.alloc(4096)), 1)]],
  ['with data far away', (cookie) => [chunk(cookie, 1, at(2n ** 60n, Buffer.alloc(4096)), 1)]],
  ['with more data', (cookie) => [chunk(cookie, 1, at(4096n, Buffer.alloc(8192)), 1)]],
  ['with data twice', (cookie) => [chunk(cookie, 1, DATA), chunk(cookie, 1, DATA, 1)]],
  ['with a hole of four gigabytes', (cookie) => [chunk(cookie, 2, at(4096n, number32(0xffff_ffff)), 1)]],
  ['with a hole of nothing', (cookie) => [chunk(cookie, 2, at(4096n, number32(0)), 1)]],
  ['with a hole of another form', (cookie) => [chunk(cookie, 2, at(4096n, NOTHING), 1)]],
  ['of an unknown kind', (cookie) => [chunk(cookie, 77, NOTHING, 1)]],
  ['with a status', (cookie) => [chunk(cookie, 5, Buffer.alloc(12, 1), 1)]],
  ['with an error of nothing', (cookie) => [chunk(cookie, 0x8001, Buffer.alloc(6), 1)]],
  ['with an error that is cut off', (cookie) => [chunk(cookie, 0x8001, Buffer.from([0, 0, 0, 5, 0, 9]), 1)]],
  ['with an endless error', (cookie) => [chunk(cookie, 0x8001, Buffer.alloc(70_000, 1), 1)]],
  ['in simple form', (cookie) => [Buffer.concat([simpleReply(cookie), Buffer.alloc(4096)])]],
  [
    'in more parts than there are bytes',
    (cookie) => Array.from({ length: 20_000 }, () => chunk(cookie, 0x8001, Buffer.from([0, 0, 0, 5, 0, 0]))),
  ],
];

for (const [name, replies] of READS) {
  test(`a reply ${name} ends the connection, and writes nowhere else`, async () => {
    await using folder = await tempDir();
    const socket = join(folder.path, 's');
    await using _server = await scriptedServer(socket, async (client, incoming) => {
      await shakeHands(client, incoming, SIZE_BYTES);
      for (const reply of replies((await takeRequest(incoming)).cookie)) client.write(reply);
    });
    const connection = await NbdConnection.open({ place: { path: socket }, exportName: '', tls: undefined });
    const memory = Buffer.alloc(3 * 4096, 0xaa);
    const reading = connection.request({
      command: COMMAND.read,
      offset: 4096,
      into: memory.subarray(4096, 8192),
    });
    await assert.rejects(bounded('the end', reading), (error) => {
      assert(error instanceof ConnectionLost);
      assert.match(error.message, /^the NBD server breaks the protocol: /);
      return true;
    });
    const around = Buffer.concat([memory.subarray(0, 4096), memory.subarray(8192)]);
    assert(around.equals(Buffer.alloc(8192, 0xaa)), 'nothing but its place');
    connection.close();
  });
}

/** Replies to a question for the status of 4096 bytes. */
const STATUSES: readonly (readonly [name: string, data: Buffer])[] = [
  ['of another context', Buffer.concat([number32(8), number32(4096), number32(0)])],
  ['of nothing', Buffer.concat([number32(7), number32(0), number32(0)])],
  ['without an extent', number32(7)],
  ['with half an extent', Buffer.concat([number32(7), number32(4096)])],
  ['of two megabytes', Buffer.concat([number32(7), Buffer.alloc(2 * 1024 * 1024, 1)])],
];

for (const [name, data] of STATUSES) {
  test(`a status ${name} ends the connection`, async () => {
    await using folder = await tempDir();
    const socket = join(folder.path, 's');
    await using _server = await scriptedServer(socket, async (client, incoming) => {
      await shakeHands(client, incoming, SIZE_BYTES);
      client.write(chunk((await takeRequest(incoming)).cookie, 5, data, 1));
    });
    const connection = await NbdConnection.open({ place: { path: socket }, exportName: '', tls: undefined });
    const asked = connection.request({ command: COMMAND.blockStatus, offset: 0, lengthBytes: 4096 });
    await assert.rejects(bounded('the end', asked), ConnectionLost);
    connection.close();
  });
}

test('data and holes in any order are put together, and an honest error has its name', async () => {
  await using folder = await tempDir();
  await using server = await scriptedServer(join(folder.path, 's'), async (client, incoming) => {
    await shakeHands(client, incoming, SIZE_BYTES);
    const { cookie } = await takeRequest(incoming);
    client.write(chunk(cookie, 1, at(2048n, Buffer.alloc(2048, 2))));
    client.write(chunk(cookie, 2, at(1024n, number32(1024))));
    client.write(chunk(cookie, 1, at(0n, Buffer.alloc(1024, 1))));
    client.write(chunk(cookie, 0, NOTHING, 1));
    const second = (await takeRequest(incoming)).cookie;
    client.write(chunk(second, 0x8002, Buffer.concat([Buffer.from([0, 0, 0, 5, 0, 0]), at(9n, NOTHING)]), 1));
  });
  await using disk = await openExport(server.uri);
  const into = Buffer.alloc(4096, 0xaa);
  await disk.read(into, 0);
  const wanted = [Buffer.alloc(1024, 1), Buffer.alloc(1024), Buffer.alloc(2048, 2)];
  assert(into.equals(Buffer.concat(wanted)));
  await assert.rejects(disk.read(into, 0), { name: 'NbdError', code: 'EIO' });
  assert.equal(disk.lossCount, 0);
});

test('a server that refuses STARTTLS, or continues without it, gets no name of an export', async () => {
  for (const [reply, message] of [
    [optionReply(5, 0x8000_0001), /the server does not encrypt: STARTTLS is unsupported/],
    [Buffer.concat([optionReply(5, 1), optionReply(8, 1)]), /without encryption after STARTTLS/],
  ] as const) {
    await using folder = await tempDir();
    const options: number[] = [];
    await using server = await scriptedServer(join(folder.path, 's'), async (client, incoming) => {
      client.write(GREETING);
      await incoming.take(4);
      for (;;) {
        options.push(await takeOption(incoming));
        client.write(reply);
      }
    });
    const uri = `${server.uri.replace('nbd+', 'nbds+')}&tls-hostname=vm`;
    await assert.rejects(bounded('the refusal', openExport(uri)), coded('connection-failed', { message }));
    assert.deepEqual(options, [5]);
  }
});
