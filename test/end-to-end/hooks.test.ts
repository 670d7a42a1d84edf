/** Commands that both sides run for people, in real transfers that end well, or do not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { BLOCK_BYTES, SMALL_BLOCKS, assertCopied, randomSource } from '../support/copied.ts';
import { damagedDisk } from '../support/damaged-disk.ts';
import { examplesOf, readDocument } from '../support/documents.ts';
import { faultDisk, skipUnlessFaultDisk } from '../support/fault-disk.ts';
import {
  OWN_HOST,
  PROGRAMS,
  bounded,
  environment,
  eventsOf,
  runReceiver,
  runSender,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { run as runProcess } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCKS = 16;

interface Notes {
  /** For the shell: appends the variables, one call a line. */
  readonly command: string;
  read(): Promise<Record<string, string>[]>;
}

/** Where also a receiver that has given up its rights can write. */
async function notes(path: string): Promise<Notes> {
  await writeFile(path, '');
  await chmod(path, 0o666);
  const names = ['PROGRAM', 'RESULT', 'STATUS', 'CODE', 'MESSAGE', 'HINT', 'SOURCE', 'TARGET', 'RECEIPT'];
  const values = names.map((name) => `"$DDT_${name}"`).join(' ');
  return {
    command: `printf '%s\\t' "$(id -u)" "\${DDT_TICKET-no ticket}" ${values} >> ${path}; echo >> ${path}`,
    read: async () =>
      (await readFile(path, 'utf8'))
        .split('\n')
        .slice(0, -1)
        .map((line) => {
          const cells = line.split('\t');
          return Object.fromEntries(
            ['user', 'ticket', ...names.map((name) => name.toLowerCase())].map((name, at) => [
              name,
              cells[at] ?? '',
            ]),
          );
        }),
  };
}

interface OpenFolder extends AsyncDisposable {
  readonly path: string;
  readonly at: (name: string) => string;
}

/** Which also a receiver without rights can search. */
async function openFolder(): Promise<OpenFolder> {
  const folder = await tempDir();
  await chmod(folder.path, 0o755);
  return {
    path: folder.path,
    at: (name) => join(folder.path, name),
    [Symbol.asyncDispose]: async () => await folder[Symbol.asyncDispose](),
  };
}

test('both sides tell of the end: what is proven, of which disks, and where the receipt is', async () => {
  await using folder = await openFolder();
  const { at } = folder;
  const source = await randomSource(folder.path, BLOCKS);
  const [here, there] = [await notes(at('here')), await notes(at('there'))];
  const target = at('target $(touch pwned); "quoted"');
  const options = ['--on-done', there.command, '--on-trouble', `touch ${at('trouble')}`];
  await using receiver = await startReceiver({ folder: folder.path, target, options });
  const sending = await runSender(
    [...SMALL_BLOCKS, '--receipt', at('receipt'), '--on-done', here.command, source],
    { DDT_TICKET: receiver.ticket },
  );
  await assertCopied(sending, source, target);
  const message = `16 blocks, 1 MiB, on ${target}: durable, read back and equal`;
  const common = { user: String(process.getuid?.()), ticket: 'no ticket', hint: '', source, target };
  assert.deepEqual(await here.read(), [
    {
      ...common,
      program: 'ddt-send',
      result: 'verified',
      status: '0',
      code: 'done',
      message,
      receipt: at('receipt'),
    },
  ]);
  await until('the receiver to tell', async () => (await there.read()).length > 0);
  const [first] = await there.read();
  assert(first !== undefined);
  const { user = '', receipt = '', ...rest } = first;
  const own = { ticket: 'no ticket', hint: '', source, target, program: 'ddt-receive', status: '' };
  const sealed = `16 blocks, 1 MiB, on ${target}: sealed, read back and equal`;
  assert.deepEqual(rest, { ...own, result: 'sealed', code: 'sealed', message: sealed });
  if (process.getuid?.() === 0) assert.match(user, /^6[1-5]\d{3}$/, 'without the rights of root');
  assert.equal((JSON.parse(await readFile(receipt, 'utf8')) as { blockCount: number }).blockCount, BLOCKS);
  await assert.rejects(stat(at('trouble')));
});

test('a command that fails, or takes its time, changes neither the copy nor the status', async () => {
  await using folder = await openFolder();
  const source = await randomSource(folder.path, BLOCKS);
  const target = folder.at('target');
  const options = ['--on-done', 'echo no route >&2; exit 9', '--once'];
  await using receiver = await startReceiver({ folder: folder.path, target, options });
  const sending = await runSender([
    ...SMALL_BLOCKS,
    '--ticket-file',
    receiver.ticketFile,
    '--on-done',
    'echo no mail >&2; exit 7',
    '--progress',
    'json',
    source,
  ]);
  await assertCopied(sending, source, target);
  assert.equal(eventsOf(sending.stdout).at(-1)?.['event'], 'done');
  const text = 'the command ended with status';
  assert(sending.stderr.includes(`warning: --on-done: ${text} 7: no mail; the copy is not affected\n`));
  const { status, stderr } = await bounded('the receiver to end', receiver.process.ended);
  assert.equal(status, 0);
  assert(stderr.includes(`warning: --on-done: ${text} 9: no route; the copy is not affected\n`), stderr);
});

test('an outage that lasts is told, once, while the copy goes on; each side tells of its own', async () => {
  await using folder = await openFolder();
  const { at } = folder;
  const source = await randomSource(folder.path, 64);
  const there = await notes(at('there'));
  const after = ['--trouble-after', '2s'];
  const options = [...after, '--on-trouble', there.command];
  await using receiver = await startReceiver({ folder: folder.path, target: at('target'), options });
  const to = { host: receiver.host, port: receiver.port };
  const line = { from: Infinity, take: (socket: Socket): void => void socket.destroy() };
  await using relay = await Relay.start({ to, bytesPerSecond: 1024 * 1024, impostor: line });
  const ticketFile = await writeTicketVia(receiver, relay, at('ticket-via'));
  const here = await notes(at('here'));
  await using sending = await startSender([
    ...SMALL_BLOCKS,
    '--ticket-file',
    ticketFile,
    '--progress',
    'json',
    ...after,
    '--on-trouble',
    `${here.command}; sleep 5; touch ${at('late')}`,
    source,
  ]);
  await sending.waitForLine(/"blocksDurable":[1-9]/);
  line.from = 0;
  relay.cut();
  await until('both to tell', async () => (await here.read()).length > 0 && (await there.read()).length > 0);
  line.from = Infinity;
  await sending.waitForLine(/"event":"done"/);
  await assert.rejects(stat(at('late')), 'the copy has not waited for the command');
  const { status } = await bounded('the sender to end', sending.ended);
  assert.equal(status, 0);
  await stat(at('late'));
  const [told = {}, ...more] = await here.read();
  assert.deepEqual(more, []);
  assert.deepEqual([told['result'], told['status'], told['source']], ['trouble', '', source]);
  assert.match(`${told['code']} ${told['message']}`, /^(connection-failed|standstill) waiting .* for \d+ s$/);
  const gone = `no sender for 2 s, and the copy onto ${at('target')} is not complete`;
  assert.deepEqual(
    (await there.read()).map(({ code, message }) => [code, message]),
    [['sender-gone', gone]],
  );
});

test('a failure is told with its code, its hint and the exit status; an interruption is not', async () => {
  await using folder = await openFolder();
  const { at } = folder;
  const source = await randomSource(folder.path, BLOCKS);
  const here = await notes(at('here'));
  const hooks = ['--on-trouble', here.command, '--on-done', `touch ${at('done')}`];
  const nobody = `https://${OWN_HOST}:9/#pin=sha256//${'A'.repeat(43)}=&token=ddt1.e30.e30`;
  const ended = await runSender(['--retry-for', '1s', ...hooks, source, nobody]);
  assert.equal(ended.status, 2, ended.stderr);
  await using receiver = await startReceiver({ folder: folder.path, target: at('target') });
  const place = ['--ticket-file', receiver.ticketFile];
  await using sending = await startSender([...SMALL_BLOCKS, '--bwlimit', '64K', ...place, ...hooks, source]);
  await until('it to begin', async () => (await receiver.status()).state === 'open');
  sending.kill('SIGINT');
  assert.equal((await sending.ended).status, 130);
  await receiver.end('SIGKILL');
  const gaveUp = await runSender(['--retry-for', '1s', ...place, ...hooks, source]);
  assert.equal(gaveUp.status, 6, gaveUp.stderr);
  const told = await here.read();
  assert.deepEqual(
    told.map(({ result, status, code }) => [result, status, code]),
    [
      ['failed', '2', 'usage'],
      ['failed', '6', 'no-progress'],
    ],
  );
  assert.match(told[1]?.['hint'] ?? '', /is ddt-receive running\?$/);
  await assert.rejects(stat(at('done')));
  const refused = await runReceiver(['--state-dir', at('state'), '--on-trouble', here.command, '/dev/null']);
  assert.equal(refused.status, 4, refused.stderr);
  const { program, result, status, code, target } = (await here.read()).at(-1) ?? {};
  assert.deepEqual(
    [program, result, status, code, target],
    ['ddt-receive', 'failed', '4', 'target-refused', '/dev/null'],
  );
});

test('a block that reads back different is told by the receiver', { skip: skipUnlessFaultDisk }, async () => {
  await using folder = await openFolder();
  const source = await randomSource(folder.path, BLOCKS);
  await using disk = await faultDisk(BLOCKS * BLOCK_BYTES);
  const there = await notes(folder.at('there'));
  const options = ['--on-trouble', there.command];
  await using receiver = await startReceiver({ folder: folder.path, target: disk.path, options });
  await disk.setFault({ fault: 'flip-lies', times: 1, from: 5 * BLOCK_BYTES, end: 6 * BLOCK_BYTES });
  const sending = await runSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, source]);
  await assertCopied(sending, source, disk.medium);
  await until('the receiver to tell', async () => (await there.read()).length > 0);
  const [{ code, target, message = '' } = {}] = await there.read();
  assert.deepEqual([code, target], ['mismatch', disk.path]);
  assert.match(message, /^block 5 \(offset 327680\) of .* was read back: .* \(1 of 3\)$/);
});

test(
  'unreadable areas are told by both, and the end is not proven',
  { skip: skipUnlessFaultDisk },
  async () => {
    await using folder = await openFolder();
    const { at } = folder;
    await using disk = await damagedDisk(4 * BLOCK_BYTES);
    await disk.spoil([[512, 1024]]);
    const [here, there] = [await notes(at('here')), await notes(at('there'))];
    const options = ['--on-trouble', there.command];
    await using receiver = await startReceiver({ folder: folder.path, target: at('target'), options });
    const sending = await runSender([
      ...SMALL_BLOCKS,
      '--ticket-file',
      receiver.ticketFile,
      '--on-read-error',
      'zero',
      '--on-trouble',
      here.command,
      '--on-done',
      here.command,
      disk.path,
    ]);
    assert.equal(sending.status, 3, sending.stderr);
    const calls = await here.read();
    assert.deepEqual(
      calls.map(({ result, code, status }) => [result, code, status]),
      [
        ['trouble', 'unreadable', ''],
        ['unproven', 'done', '3'],
      ],
    );
    assert.match(calls[1]?.['message'] ?? '', /: durable, read back and equal; .*unreadable/);
    await until('the receiver to tell', async () => (await there.read()).length > 0);
    assert.equal((await there.read())[0]?.['code'], 'unreadable');
  },
);

test('what a receiver runs has no rights that it has given up', { skip: unlessRoot }, async () => {
  await using folder = await openFolder();
  const { at } = folder;
  await writeFile(at('secret'), 'of root', { mode: 0o600 });
  const source = await randomSource(folder.path, 1);
  const fields = `grep -E '^(NoNewPrivs|CapPrm|CapBnd)' /proc/self/status`;
  const command = `cat ${at('secret')}; ${fields} > ${at('out')}`;
  await writeFile(at('out'), '');
  await chmod(at('out'), 0o666);
  const options = ['--on-done', `${command}; exit 3`, '--once'];
  await using receiver = await startReceiver({ folder: folder.path, target: at('target'), options });
  const sending = await runSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, source]);
  assert.equal(sending.status, 0, sending.stderr);
  const { stderr } = await bounded('the receiver to end', receiver.process.ended);
  assert.match(stderr, /status 3: cat: .*: Permission denied; the copy is not affected/);
  assert.match(await readFile(at('out'), 'utf8'), /^CapPrm:\t0+\n(?:.*\n)?NoNewPrivs:\t1\n$/m);
});

interface Webhook extends AsyncDisposable {
  readonly url: string;
  readonly requests: { readonly title: string; readonly body: string }[];
}

async function webhook(): Promise<Webhook> {
  const requests: Webhook['requests'] = [];
  const server = createServer((request, response) => {
    const { title = '' } = request.headers;
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.once('end', () => {
      requests.push({ title: String(title), body });
      response.end();
    });
  });
  server.listen(0, OWN_HOST);
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://${OWN_HOST}:${port}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

const skip = unlessInstalled('curl');

test('the commands of the guide and of README.md reach a webhook and the mail', { skip }, async () => {
  await using folder = await openFolder();
  await using hook = await webhook();
  const source = await randomSource(folder.path, 1);
  await using receiver = await startReceiver({ folder: folder.path, target: folder.at('@target') });
  const mail = folder.at('mail');
  await writeFile(folder.at('sendmail'), `#!/bin/sh\ncat >> ${mail}\n`, { mode: 0o755 });
  const guide = examplesOf(await readDocument('docs/guide/notifications.md'), 'notify');
  const [readme = ''] = /^ddt-send --on-done .*\n.*…$/m.exec(await readDocument('README.md')) ?? [];
  const commands = guide.map(({ script }) => script);
  commands.push(readme.replace('…', '--ticket-file ticket /dev/sdc'));
  assert.equal(commands.length, 3);
  const perform = async (command: string): Promise<void> => {
    const path = `${folder.path}:${PROGRAMS}:${process.env['PATH'] ?? ''}`;
    const here = command
      .replaceAll('https://ntfy.example.org', hook.url)
      .replace('--ticket-file ticket /dev/sdc', `--retry-for 1s --ticket-file ticket ${source}`);
    await runProcess('sh', ['-c', here], { cwd: folder.path, env: environment({ PATH: path }) });
  };
  for (const command of commands) await perform(command);
  const done = `1 blocks, 64 KiB, on ${folder.at('@target')}: durable, read back and equal`;
  const titles = hook.requests.map(({ title, body }) => (body.startsWith(done) ? title : body));
  assert.deepEqual(titles, ['copied', '']);
  await receiver.end('SIGKILL');
  await Promise.all(commands.map(perform));
  const gaveUp = 'gave up after 1 s: cannot reach the receiver at ';
  const [other, one] = hook.requests.slice(2).toSorted((a, b) => a.title.localeCompare(b.title));
  assert(one !== undefined && other !== undefined);
  assert(one.title === 'no-progress' && one.body.startsWith(gaveUp), one.body);
  assert(other.body.startsWith(`no-progress: ${gaveUp}`), other.body);
  const letter = await readFile(mail, 'utf8');
  assert(letter.startsWith(`Subject: ddt-send: no-progress\n\n${gaveUp}`), letter);
});
