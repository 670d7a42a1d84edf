/** One receiver with several targets: each transfer by its own ticket, on one port, in one process. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { parseTicket } from '../../common/trust/ticket.ts';
import { blockOf, claimByHand, putByHand } from '../support/by-hand.ts';
import {
  BLOCK_BYTES,
  SMALL_BLOCKS,
  assertCopied,
  assertJournalTrue,
  assertOnMedium,
  randomSource,
} from '../support/copied.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import {
  MIB,
  OWN_HOST,
  Receiver,
  assertEqualFiles,
  bounded,
  eventsOf,
  runReceiver,
  runSender,
  sendAll,
  startReceiver,
  startSender,
  until,
} from '../support/processes.ts';
import { connectRaw } from '../support/raw-exchange.ts';
import { skipUnlessStrace, strace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';
import { TicketClient } from '../support/ticket-client.ts';
import { skipUnlessTmpfs, tmpfs } from '../support/tmpfs.ts';

const [SMALL, LARGE] = [16, 40];

/** Two sources of different sizes, and the names of their targets. */
async function makeDisks(folder: string): Promise<{ sources: [string, string]; targets: [string, string] }> {
  const sources: [string, string] = [await randomSource(folder, LARGE), await randomSource(folder, SMALL)];
  return { sources, targets: [join(folder, 'one'), join(folder, 'two')] };
}

/** The folder of a target's journal. */
function journalFolder({ stateDir }: Receiver, target: string): string {
  return join(stateDir, hash('sha256', target).slice(0, 16));
}

test('two disks at once on one port, each with its ticket, journal, receipt and lines', async () => {
  await using folder = await tempDir();
  const { sources, targets } = await makeDisks(folder.path);
  const [one, two] = targets;
  await using receiver = await startReceiver({ folder: folder.path, target: one, more: [two] });
  const { stdout } = receiver.process;
  const journals = targets.map((target) => join(journalFolder(receiver, target), 'journal.db'));
  assert.deepEqual(
    stdout
      .replace(/:\d+\n/, '\n')
      .split('\n')
      .slice(0, 6),
    [
      `target   ${one}: regular file, takes the size of the source, empty`,
      `journal  ${journals[0]} (new)`,
      `target   ${two}: regular file, takes the size of the source, empty`,
      `journal  ${journals[1]} (new)`,
      `listening on ${OWN_HOST}`,
      `tickets  written, a line for each target, to ${receiver.ticketFile}`,
    ],
  );
  const tickets = receiver.tickets.map((ticket) => parseTicket(ticket));
  assert.equal(new Set(tickets.map(({ token }) => token)).size, 2);
  assert.equal(new Set(tickets.map(({ origin, pin }) => `${origin} ${pin}`)).size, 1);
  await Promise.all(
    sources.map(async (source, at) => await sendAll(...SMALL_BLOCKS, source, receiver.tickets[at] ?? '')),
  );
  for (const [at, source] of sources.entries()) {
    await assertEqualFiles(source, targets[at] ?? '');
    const kept = await readFile(join(journalFolder(receiver, targets[at] ?? ''), 'receipt-1.json'), 'utf8');
    const receipt = JSON.parse(kept) as { target: { path: string }; source: { path: string } };
    assert.deepEqual([receipt.source.path, receipt.target.path], [source, targets[at]]);
  }
  process.kill(receiver.process.pid, 'SIGUSR1');
  await receiver.process.waitForLine(/two: 16 blocks, sealed: 16 verified/);
  const { status, stderr } = await receiver.end('SIGTERM');
  assert.equal(status, 0, stderr);
  assert.match(stderr, /ddt-receive: \S+one: claimed by /);
  assert.match(stderr, /ddt-receive: \S+two: sealed by /);
});

test('both are killed again and again, and the same commands end in two equal copies', async () => {
  await using folder = await tempDir();
  const { sources, targets } = await makeDisks(folder.path);
  const [one, two] = targets;
  await using receiver = await startReceiver({ folder: folder.path, target: one, more: [two] });
  const { tickets } = receiver;
  const slow = [...SMALL_BLOCKS, '--bwlimit', '1MiB'];
  for (const at of [0, 1]) {
    const senders = await Promise.all(
      sources.map(async (source, which) => await startSender([...slow, source, tickets[which] ?? ''])),
    );
    using client = new TicketClient(tickets[at] ?? '');
    await until('some blocks', async () => (await client.durableCount()) > 3);
    await receiver.end('SIGKILL');
    for (const sender of senders) {
      sender.kill('SIGKILL');
      await bounded('the sender to end', sender.ended);
    }
    for (const target of targets) await assertJournalTrue(journalFolder(receiver, target), target);
    await receiver.start();
    assert.deepEqual(receiver.tickets, tickets);
  }
  await Promise.all(
    sources.map(async (source, at) => await sendAll(...SMALL_BLOCKS, source, tickets[at] ?? '')),
  );
  for (const [at, source] of sources.entries()) await assertEqualFiles(source, targets[at] ?? '');
});

/** Every request that changes anything, or shows anything. */
const REQUESTS: readonly (readonly [method: string, path: string, body?: string])[] = [
  ['GET', '/transfer'],
  ['GET', '/blocks'],
  ['HEAD', '/blocks/0'],
  ['GET', '/blocks/0'],
  ['GET', '/receipt'],
  ['POST', '/zero?flush=y', '{"ranges":[[0,2]]}'],
  ['POST', '/copy?flush=y', `{"from":0,"to":1,"digest":"sha256:${'0'.repeat(64)}"}`],
  ['POST', '/flush'],
  ['POST', '/verify'],
  ['POST', '/prove', `{"nonce":"${'0'.repeat(64)}","areas":[[0,4096]]}`],
  ['POST', '/probe', 'bytes'],
  ['POST', '/probe/target'],
  ['POST', '/complete', `{"blockCount":${SMALL},"root":"sha256:${'0'.repeat(64)}"}`],
  ['POST', '/reopen'],
];

test('with the ticket of one transfer nothing can be done to the other, or learned of it', async () => {
  await using folder = await tempDir();
  const { sources, targets } = await makeDisks(folder.path);
  const [source, other] = [await readFile(sources[1]), sources[0]];
  const options = ['--read-ticket-file', join(folder.path, 'read')];
  await using receiver = await startReceiver({
    folder: folder.path,
    target: targets[0],
    more: [targets[1]],
    options,
  });
  await sendAll(...SMALL_BLOCKS, other, receiver.ticket);
  const readTickets = (await readFile(join(folder.path, 'read'), 'utf8')).trim().split('\n');
  const [first, second, reader] = [...receiver.tickets, readTickets[1] ?? ''].map(
    (ticket) => new TicketClient(ticket),
  );
  assert(first !== undefined && second !== undefined && reader !== undefined);
  using _clients = {
    [Symbol.dispose]: () => [first, second, reader].forEach((one) => one[Symbol.dispose]()),
  };
  const before = await first.status();
  assert.equal(before.state, 'sealed');
  const { transferId } = await second.status();
  assert.notEqual(transferId, before.transferId);
  await claimByHand({ request: async (...all) => await second.request(...all) }, source.length, '/dev/sdx');
  for (let at = 0; at < SMALL; at++) assert.equal(await putByHand(second, at, blockOf(source, at)), 201);
  for (const client of [second, reader]) {
    for (const [method, path, body] of REQUESTS) {
      const answer = await client.request(method, path, body === undefined ? undefined : Buffer.from(body));
      const text = answer.body.toString('latin1');
      assert(!text.includes(before.transferId) && !text.includes(targets[0]), `${method} ${path}: ${text}`);
    }
  }
  assert.equal((await reader.request('POST', '/verify')).status, 403);
  assert.deepEqual(await first.status(), before);
  await assertEqualFiles(other, targets[0]);
});

test('a good token that names no transfer of this process is refused', async () => {
  await using folder = await tempDir();
  const { targets } = await makeDisks(folder.path);
  const third = join(folder.path, 'three');
  await using receiver = await startReceiver({ folder: folder.path, target: third });
  const stranger = parseTicket(receiver.ticket).token;
  await receiver.end('SIGTERM');
  await using both = await startReceiver({ folder: folder.path, target: targets[0], more: [targets[1]] });
  const ticket = both.ticket.replace(/token=.*$/, `token=${stranger}`);
  using client = new TicketClient(ticket);
  // Strangers have few connections, and each request is one.
  for (const [method, path] of REQUESTS.slice(3, 9)) {
    assert.equal((await client.request(method, path)).status, 401, `${method} ${path}`);
  }
  await until('the log', () => /refused .* from /.test(both.process.stderr));
  assert.doesNotMatch(both.process.stderr, /(one|two): refused/);
});

test(
  'a journal that fails ends its transfer only, and the process says so in its status',
  { skip: skipUnlessLoop || skipUnlessStrace },
  async () => {
    await using folder = await tempDir();
    await using disk = await loopDevice(SMALL * BLOCK_BYTES, { directIo: true });
    const { sources, targets } = await makeDisks(folder.path);
    await using receiver = new Receiver({
      folder: folder.path,
      target: targets[0],
      more: [disk.path],
      options: ['--once'],
    });
    await receiver.start();
    const source = await readFile(sources[1]);
    using client = new TicketClient(receiver.tickets[1] ?? '');
    await claimByHand(client, source.length, sources[1]);
    for (let at = 0; at < 4; at++) await putByHand(client, at, blockOf(source, at));
    await receiver.end('SIGTERM');
    const wal = join(journalFolder(receiver, disk.path), 'journal.db-wal');
    const inject = 'fsync:error=EIO:when=1+';
    await receiver.start(strace({ log: join(folder.path, 'log'), trace: 'fsync', paths: [wal], inject }));
    const failed = await runSender([...SMALL_BLOCKS, sources[1], receiver.tickets[1] ?? '']);
    assert.equal(failed.status, 5, failed.stderr);
    assert.match(failed.stderr, /error: .*cannot write the journal \S+: disk I\/O error/);
    using again = new TicketClient(receiver.tickets[1] ?? '');
    for (const [method, path] of [
      ['GET', '/transfer'],
      ['POST', '/flush'],
      ['GET', '/blocks/0'],
    ] as const) {
      const { status, body } = await again.request(method, path);
      assert.deepEqual(
        [status, /"code":"([\w-]+)"/.exec(body.toString())?.[1]],
        [500, 'journal-error'],
        path,
      );
    }
    const sent = await runSender([...SMALL_BLOCKS, sources[0], receiver.ticket]);
    await assertCopied(sent, sources[0], targets[0]);
    for (const one of [client, again]) one[Symbol.dispose]();
    const { status, stderr } = await bounded('the receiver to end', receiver.process.ended);
    assert.equal(status, 5, stderr);
    assert.match(stderr, /error: cannot write the journal \S+: disk I\/O error\n/);
    assert.match(
      stderr,
      new RegExp(`warning: ${disk.path}: its journal has failed, so it refuses everything`),
    );
    await assertJournalTrue(journalFolder(receiver, disk.path), disk.path);
    await receiver.start();
    await sendAll(...SMALL_BLOCKS, sources[1], receiver.tickets[1] ?? '');
    await assertOnMedium(sources[1], disk.path);
  },
);

test(
  'a target that is full does not keep the other from being finished',
  { skip: skipUnlessTmpfs },
  async () => {
    await using folder = await tempDir();
    await using small = await tmpfs('1m');
    const { sources, targets } = await makeDisks(folder.path);
    const full = join(small.path, 'disk.img');
    await using receiver = await startReceiver({ folder: folder.path, target: full, more: [targets[1]] });
    await using waiting = await startSender([...SMALL_BLOCKS, sources[0], receiver.ticket]);
    await waiting.waitForLine(/no space left on device/);
    await sendAll(...SMALL_BLOCKS, sources[1], receiver.tickets[1] ?? '');
    await assertEqualFiles(sources[1], targets[1]);
    assert.match(receiver.process.stderr, /warning: \S+disk\.img: .*no space left on device/);
  },
);

test('--once ends when all are sealed, whoever was first', async () => {
  await using folder = await tempDir();
  const { sources, targets } = await makeDisks(folder.path);
  const options = ['--once'];
  const place = { folder: folder.path, target: targets[0], more: [targets[1]] };
  await using receiver = await startReceiver({ ...place, options });
  await sendAll(...SMALL_BLOCKS, sources[1], receiver.tickets[1] ?? '');
  // Longer than it would wait for somebody who connects again.
  await delay(6000);
  await sendAll(...SMALL_BLOCKS, sources[0], receiver.ticket);
  const { status, stderr } = await bounded('the receiver to end', receiver.process.ended);
  assert.equal(status, 0, stderr);
});

test('what was stopped before all were sealed names the journals that are left', async () => {
  await using folder = await tempDir();
  const { sources, targets } = await makeDisks(folder.path);
  await using receiver = await startReceiver({ folder: folder.path, target: targets[0], more: [targets[1]] });
  await sendAll(...SMALL_BLOCKS, sources[1], receiver.tickets[1] ?? '');
  const { status, stderr } = await receiver.end('SIGTERM');
  assert.equal(status, 143, stderr);
  const left = join(journalFolder(receiver, targets[0]), 'journal.db');
  assert.match(stderr, new RegExp(`before all transfers were complete; .* \\(journal: ${left}\\)\n$`));
});

test('--update, --adopt and the list hold for all of them', async () => {
  await using folder = await tempDir();
  const { sources, targets } = await makeDisks(folder.path);
  const place = { folder: folder.path, target: targets[0], more: [targets[1]] };
  for (const [at, source] of sources.entries()) {
    await writeFile(targets[at] ?? '', await readFile(source));
  }
  await using receiver = await startReceiver({ ...place, options: ['--adopt'] });
  for (const [at, source] of sources.entries()) {
    const done = await sendAll(...SMALL_BLOCKS, source, receiver.tickets[at] ?? '');
    assert.equal(done.blocksSent, 0);
  }
  const { pid } = receiver.process;
  const expected = new Set(targets.map((target) => `${target} sealed ${pid}`));
  await until('the list, which may be some seconds old', async () => {
    const listed = await runReceiver(['--list', '--log', 'json', '--state-dir', receiver.stateDir]);
    const all = eventsOf(listed.stdout).map(({ transfer, processId }) => {
      const { target, state } = transfer as { target: { path: string }; state: string };
      return `${target.path} ${state} ${String(processId)}`;
    });
    return expected.symmetricDifference(new Set(all)).size === 0;
  });
  await receiver.end('SIGTERM');
  await using updating = await startReceiver({ ...place, options: ['--update'] });
  for (const [at, source] of sources.entries()) {
    await writeFile(source, Buffer.alloc(10, 7), { flag: 'r+' });
    const done = await sendAll(...SMALL_BLOCKS, source, updating.tickets[at] ?? '');
    assert.equal(done.blocksSent, 1);
    await assertEqualFiles(source, targets[at] ?? '');
  }
});

test('all blocks that are on their way share the memory, whichever disk they are for', async () => {
  await using folder = await tempDir();
  const targets = [join(folder.path, 'one'), join(folder.path, 'two')];
  const options = ['--memory', '64MiB'];
  await using receiver = await startReceiver({
    folder: folder.path,
    target: targets[0] ?? '',
    more: targets.slice(1),
    host: '127.0.0.1',
    options,
  });
  const blockBytes = 16 * MIB;
  const source = { description: 'regular file', path: '/x', model: null, serial: null };
  const claim = JSON.stringify({ size: 8 * blockBytes, blockSize: blockBytes, source });
  const tokens = receiver.tickets.map((ticket) => parseTicket(ticket).token);
  for (const ticket of receiver.tickets) {
    using client = new TicketClient(ticket);
    assert.equal((await client.request('PUT', '/transfer', Buffer.from(claim))).status, 201);
  }
  await using stack = new AsyncDisposableStack();
  /** Asks to send a block, and waits for the memory for it. */
  const ask = async (at: number, index: number): Promise<{ text: string; end: () => void }> => {
    const socket = await connectRaw(receiver.port);
    const asked = { text: '', end: () => void socket.destroy() };
    stack.defer(asked.end);
    socket.setEncoding('latin1').on('data', (piece: string) => (asked.text += piece));
    socket.write(
      `PUT /blocks/${index}?digest=sha256:${'0'.repeat(64)} HTTP/1.1\r\nhost: x\r\n` +
        `authorization: Bearer ${tokens[at]}\r\ncontent-length: ${blockBytes}\r\n` +
        'expect: 100-continue\r\n\r\n',
    );
    return asked;
  };
  // 64 MiB hold three blocks, as they may be somewhat larger on their way.
  const held = [await ask(0, 0), await ask(0, 1), await ask(1, 0)];
  await until('three to be asked for', () => held.every(({ text }) => text.startsWith('HTTP/1.1 100 ')));
  const fourth = [await ask(1, 1), await ask(0, 2)];
  await delay(500);
  assert.deepEqual(
    fourth.map(({ text }) => text),
    ['', ''],
  );
  held[0]?.end();
  await until('the next in line', () => fourth.some(({ text }) => text.startsWith('HTTP/1.1 100 ')));
});
