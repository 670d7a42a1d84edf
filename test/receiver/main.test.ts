/** What ddt-receive prints and where, and what it survives. */
import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeSigningKey, publicKeyLine } from '../../common/trust/ssh-signature.ts';
import { parseTicket } from '../../common/trust/ticket.ts';
import { TicketClient } from '../support/ticket-client.ts';
import { SMALL_BLOCKS, randomSource } from '../support/copied.ts';
import {
  bounded,
  MIB,
  OWN_HOST,
  PROGRAMS,
  assertEqualFiles,
  environment,
  eventsOf,
  runReceiver,
  sendAll,
  startReceiver,
  until,
} from '../support/processes.ts';
import { run, start, type Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const hasScript = (await run('sh', ['-c', 'command -v script'])).status === 0;
const needsTerminal = { skip: hasScript ? false : 'not installed: script' };

/** `ddt-receive` on a terminal of its own. */
async function onTerminal(folder: string, ...options: readonly string[]): Promise<Started> {
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder, 'state')];
  const words = [join(PROGRAMS, 'ddt-receive'), ...place, ...options, join(folder, 'target')];
  const line = words.map((word) => `'${word}'`).join(' ');
  return await start('script', ['--quiet', '--flush', '--command', line, '/dev/null'], {
    env: environment({ TERM: 'xterm' }),
  });
}

/** With Ctrl-C: the end of its terminal would not end it. */
async function interrupt(receiver: Started): Promise<void> {
  receiver.stdin.write('\u0003');
  await bounded('the receiver to end', receiver.ended);
}

/** The id of the process that serves the only target in the state folder. */
async function receiverIn(folder: string): Promise<number> {
  const listed = await runReceiver(['--list', '--log', 'json', '--state-dir', join(folder, 'state')]);
  const [entry] = eventsOf(listed.stdout);
  assert(typeof entry?.['processId'] === 'number', listed.stdout);
  return entry['processId'];
}

test('on a terminal the whole command for the source is printed, ready to paste', needsTerminal, async () => {
  await using folder = await tempDir();
  const ticketFile = join(folder.path, 'ticket');
  await using receiver = await onTerminal(folder.path, '--ticket-file', ticketFile);
  const [, ticket = ''] = await receiver.waitForLine(/^ddt-send <source> '(https:\S+)'\r?$/);
  assert.equal(`${ticket}\n`, await readFile(ticketFile, 'utf8'));
  assert.match(receiver.stdout, /^ticket {3}written to \S+ticket\r?$/m);
  const source = await randomSource(folder.path, 8);
  await sendAll(...SMALL_BLOCKS, source, ticket);
  await assertEqualFiles(source, join(folder.path, 'target'));
  await interrupt(receiver);
});

test('on a terminal only the public ticket is printed where signers are allowed', needsTerminal, async () => {
  await using folder = await tempDir();
  const [ticketFile, allowed] = [join(folder.path, 'ticket'), join(folder.path, 'allowed')];
  await writeFile(allowed, `alice ${publicKeyLine(makeSigningKey().publicKey, '')}\n`);
  const options = ['--ticket-file', ticketFile, '--allow-signers', allowed];
  await using receiver = await onTerminal(folder.path, ...options);
  const command = /^ddt-send --identity ~\/\.ssh\/id_ed25519 <source> '(https:\S+)'\r?$/;
  const [, ticket = ''] = await receiver.waitForLine(command);
  assert.equal(`${ticket}\n`, await readFile(`${ticketFile}.pub`, 'utf8'));
  assert.match(receiver.stdout, /^ticket {3}written to \S+ticket, the public one to \S+ticket\.pub\r?$/m);
  assert(!receiver.stdout.includes('ddt1.'));
  assert.equal((await stat(ticketFile)).mode & 0o777, 0o600);
  assert.equal((await stat(`${ticketFile}.pub`)).mode & 0o777, 0o644);
  await interrupt(receiver);
});

test('a receiver outlives its terminal, and finishes the copy', needsTerminal, async () => {
  await using folder = await tempDir();
  await using terminal = await onTerminal(folder.path);
  const [, ticket = ''] = await terminal.waitForLine(/^ddt-send <source> '(https:\S+)'\r?$/);
  const processId = await receiverIn(folder.path);
  const kill = (signal: NodeJS.Signals | 0): boolean => process.kill(processId, signal);
  try {
    // As the end of an ssh session: the terminal is gone, and the kernel sends SIGHUP.
    terminal.kill('SIGKILL');
    await terminal.ended;
    const source = await randomSource(folder.path, 8);
    await sendAll(...SMALL_BLOCKS, source, ticket);
    await assertEqualFiles(source, join(folder.path, 'target'));
    assert.equal(await receiverIn(folder.path), processId);
    kill('SIGTERM');
    await until('the receiver to end', () => !isAlive(processId));
  } finally {
    if (isAlive(processId)) kill('SIGKILL');
  }
});

function isAlive(processId: number): boolean {
  try {
    return process.kill(processId, 0);
  } catch {
    return false;
  }
}

test('SIGHUP is noted once in the log, and changes nothing', async () => {
  await using folder = await tempDir();
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const { process: running } = receiver;
  running.kill('SIGHUP');
  await running.waitForLine(new RegExp(`the terminal is gone: still receiving in process ${running.pid}$`));
  running.kill('SIGHUP');
  assert.equal((await receiver.status()).state, 'unclaimed');
  const { status, stderr } = await receiver.end('SIGTERM');
  assert.equal(status, 143);
  assert.equal(stderr.split('the terminal is gone').length, 2, stderr);
});

test('without a terminal the ticket goes into its file, and nowhere else', async () => {
  await using folder = await tempDir();
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  await receiver.end('SIGTERM');
  const { stdout, stderr } = receiver.process;
  assert.match(stdout, new RegExp(`^ticket   written to ${receiver.ticketFile}$`, 'm'));
  assert(!stdout.includes('ddt1.') && !stderr.includes('ddt1.'), stdout);
  assert.equal((await stat(receiver.ticketFile)).mode & 0o777, 0o600);
});

test('without a terminal and without a file for it the ticket is a line of standard output', async () => {
  await using folder = await tempDir();
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder.path, 'state')];
  const command = join(PROGRAMS, 'ddt-receive');
  const all = [...place, join(folder.path, 'target')];
  await using receiver = await start(command, all, { env: environment() });
  const [, ticket = ''] = await receiver.waitForLine(/^ticket: (\S+)$/);
  using client = new TicketClient(ticket);
  assert.equal((await client.status()).state, 'unclaimed');
});

test('with --log json every line on standard error is an object, from the start to the end', async () => {
  await using folder = await tempDir();
  const options = ['--log', 'json'];
  const command = join(PROGRAMS, 'ddt-receive');
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder.path, 'state')];
  const target = join(folder.path, 'target');
  const all = [...place, ...options, '--ticket-file', join(folder.path, 'ticket'), target];
  await using receiver = await start(command, all, { env: environment() });
  await receiver.waitForLine(/"message":"listening on /);
  receiver.kill('SIGTERM');
  const { stdout, stderr } = await receiver.ended;
  assert.equal(stdout, '');
  const [first, ...more] = eventsOf(stderr);
  const { time, message, journal, listen, ...facts } = first ?? {};
  assert(!Number.isNaN(Date.parse(String(time))));
  const { port } = parseTicket(await readFile(join(folder.path, 'ticket'), 'utf8'));
  assert.deepEqual(listen, { host: OWN_HOST, port });
  assert.equal(message, `listening on ${OWN_HOST}:${port} for ${target}, empty`);
  assert.match(String(journal), /journal\.db$/);
  assert.deepEqual(facts, {
    level: 'info',
    target: { path: target, byId: null, description: 'regular file', serial: null, sizeBytes: null },
    content: [],
    transfer: null,
    ticketFile: join(folder.path, 'ticket'),
    signers: [],
    publicTicket: null,
  });
  assert(more.length > 0, stderr);
});

test('with --log json a refusal and a usage error are objects as well', async () => {
  await using folder = await tempDir();
  const place = ['--state-dir', join(folder.path, 'state'), '--log=json'];
  const refused = await runReceiver([...place, folder.path]);
  const usage = await runReceiver([...place, '--bogus', 'x']);
  for (const [{ status, stderr, stdout }, expected, code] of [
    [refused, 4, 'target-refused'],
    [usage, 2, 'usage'],
  ] as const) {
    assert.deepEqual([status, stdout], [expected, '']);
    const [event, ...more] = eventsOf(stderr);
    assert.deepEqual([event?.['level'], event?.['code'], more], ['error', code, []]);
    assert.equal(typeof event?.['hint'], 'string');
  }
});

test('ps shows the target, and pgrep finds the receiver by either way', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ folder: folder.path, target });
  const { pid } = receiver.process;
  const shown = await run('ps', ['-o', 'args=', '-p', String(pid)]);
  assert.equal(shown.stdout.trim(), `ddt-receive: ${target}`);
  for (const args of [
    ['-x', 'ddt-receive'],
    ['-f', `^ddt-receive: ${target}$`],
  ]) {
    const found = await run('pgrep', args);
    assert(found.stdout.split('\n').includes(String(pid)), `pgrep ${args.join(' ')}: ${found.stdout}`);
  }
});

test('a port that another program has is refused with the name and id of that program', async () => {
  await using folder = await tempDir();
  await using server = createServer().listen({ host: OWN_HOST, port: 0 });
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  const place = ['--listen', `${OWN_HOST}:${address.port}`, '--state-dir', join(folder.path, 'state')];
  const { status, stderr } = await runReceiver([...place, join(folder.path, 'target')]);
  assert.equal(status, 4);
  const own = (await readFile('/proc/self/comm', 'utf8')).trim();
  const message = `is already in use by ${own} (process ${process.pid})`;
  assert(stderr.includes(`cannot listen on ${OWN_HOST}:${address.port}: the address ${message}\n`), stderr);
  assert.match(stderr, new RegExp(`hint: choose another port: --listen ${OWN_HOST}:\\d+\n$`));
});

for (const [name, file, message, hint] of [
  [
    'in a folder that does not exist',
    'nodir/ticket',
    /: there is no folder \S+nodir$/m,
    /hint: mkdir -p \S+nodir$/m,
  ],
  ['that is a folder', '.', /: it is a directory$/m, /hint: name a file/],
  ['that is the target', 'target', /: it is the target$/m, /hint: name another file$/m],
  ['that is no regular file', '/dev/null', /: it is not a regular file$/m, /hint: name a file/],
] as const) {
  test(`a ticket file ${name} is refused before anything is done`, async () => {
    await using folder = await tempDir();
    const [target, stateDir] = [join(folder.path, 'target'), join(folder.path, 'state')];
    await writeFile(target, Buffer.alloc(MIB));
    const path = file.startsWith('/') ? file : join(folder.path, file);
    const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', stateDir, '--ticket-file', path];
    const { status, stdout, stderr } = await runReceiver([...place, '--overwrite-target', target]);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, /^ddt-receive: error: cannot write the ticket to /);
    assert.match(stderr, message);
    assert.match(stderr, hint);
    await assert.rejects(stat(stateDir), { code: 'ENOENT' });
  });
}
