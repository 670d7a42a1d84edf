/** A receiver that has only digests cannot prove that it has the blocks, whatever it signs. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { digestNow } from '../../common/digest/digest.ts';
import type { ProveRequest } from '../../common/protocol/protocol.ts';
import { MemoryTarget } from '../support/memory-target.ts';
import { prng } from '../support/prng.ts';
import { KIB, MIB, PROGRAMS, runSender, startReceiver, type Receiver } from '../support/processes.ts';
import { startReceiverApp, type Lie } from '../support/receiver-app.ts';
import { run } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';

const ALWAYS = ['--block-size', '64KiB', '--digest', 'sha-256'];
const PROVEN = /^proof {4}16 random blocks, read from the target once more, are those of the source$/m;

async function sourceIn(folder: TempDir): Promise<string> {
  const path = join(folder.path, 'source');
  await writeFile(path, prng(9).bytes(MIB));
  return path;
}

/** Changes what is asked for, or what is answered, in `POST /prove`. */
function answering(answer: (asked: ProveRequest) => object): Lie {
  const respond = async (incoming: AsyncIterable<Buffer>): Promise<Response> =>
    Response.json(answer(JSON.parse(await text(incoming)) as ProveRequest));
  return ({ path, env }) => (path === '/prove' ? respond(env.incoming) : undefined);
}

test('a receiver that has the digests and not the blocks is found, also by --check', async () => {
  await using folder = await tempDir();
  const source = await sourceIn(folder);
  let transferId = '';
  let isLying = true;
  const asked: ProveRequest[] = [];
  const echo = answering((request) => {
    asked.push(request);
    const digests = request.blocks.map((index) =>
      digestNow(Buffer.from(request.nonce + index)).toString('hex'),
    );
    return { ...request, transferId, digests };
  });
  const lie: Lie = (request, truth) => (isLying ? echo(request, truth) : undefined);
  await using app = await startReceiverApp({ blockCount: null, isReadBack: true, lie });
  transferId = app.transfer.id;
  const receipt = join(folder.path, 'receipt.json');
  for (const more of [['--receipt', receipt], ['--check'], []]) {
    const { status, stdout, stderr } = await runSender([...ALWAYS, ...more, source, app.ticket]);
    assert.deepEqual([status, stdout], [5, ''], stderr);
    assert.match(stderr, /^ddt-send: error: 16 of 16 random blocks are not on \/memory as they were read, /m);
    assert.match(stderr, /^ddt-send: hint: do not erase the source; /m);
  }
  assert(!existsSync(receipt));
  assert.equal(new Set(asked.map(({ nonce }) => nonce)).size, asked.length, 'a nonce for each run');
  isLying = false;
  for (const more of [['--check'], []]) {
    const { status, stderr } = await runSender([...ALWAYS, ...more, source, app.ticket]);
    assert.deepEqual([status, PROVEN.test(stderr)], [0, true], stderr);
  }
});

test('an answer to another question is no proof', async () => {
  await using folder = await tempDir();
  const source = await sourceIn(folder);
  for (const change of [
    { nonce: '00'.repeat(32) },
    { transferId: 'another' },
    { digests: [] },
    { digests: Array(16).fill('x') },
  ]) {
    let transferId = '';
    const lie = answering((asked) => ({
      ...asked,
      transferId,
      digests: asked.blocks.map(() => '00'.repeat(32)),
      ...change,
    }));
    await using app = await startReceiverApp({ blockCount: null, isReadBack: true, lie });
    transferId = app.transfer.id;
    const ended = await runSender([...ALWAYS, '--retry-for', '1s', source, app.ticket]);
    assert.deepEqual([ended.status, ended.stdout], [6, ''], ended.stderr);
    assert.match(ended.stderr, /the response of the receiver is invalid: /);
  }
});

test('a block that another program overwrites after the seal is named', async () => {
  await using folder = await tempDir();
  const source = await sourceIn(folder);
  const target = new MemoryTarget();
  const lie: Lie = ({ path }) => {
    if (path === '/prove') target.writeAsOther(Buffer.alloc(512, 1), 5 * 64 * KIB);
    return undefined;
  };
  await using app = await startReceiverApp({ target, blockCount: null, isReadBack: true, lie });
  const { status, stderr } = await runSender([...ALWAYS, source, app.ticket]);
  assert.equal(status, 5);
  assert.match(stderr, /error: 1 of 16 random blocks are not on .* block 5, offset 327680 \(320 KiB\): /);
});

test('a receiver of an earlier version is warned about', async () => {
  await using folder = await tempDir();
  const source = await sourceIn(folder);
  const unknown = { code: 'not-found', detail: 'no such path' };
  const lie: Lie = ({ path }) =>
    path === '/prove' ? Promise.resolve(Response.json(unknown, { status: 404 })) : undefined;
  await using app = await startReceiverApp({ blockCount: null, isReadBack: true, lie });
  const { status, stderr } = await runSender([...ALWAYS, source, app.ticket]);
  assert.equal(status, 0, stderr);
  assert.match(
    stderr,
    /^ddt-send: warning: the receiver cannot prove that it has the blocks: only its receipt/m,
  );
});

async function receiverIn(folder: TempDir, options: string[] = []): Promise<Receiver> {
  return await startReceiver({ folder: folder.path, target: join(folder.path, 'target'), options });
}

test('a pipe is proven as a disk is; zeros need no proof, and with --verify none there is none', async () => {
  await using folder = await tempDir();
  const source = await sourceIn(folder);
  await using receiver = await receiverIn(folder);
  const send = `${PROGRAMS}/ddt-send ${ALWAYS.join(' ')} --ticket-file ${receiver.ticketFile} -`;
  const piped = await run('sh', ['-c', `cat ${source} | ${send}`]);
  assert.deepEqual([piped.status, PROVEN.test(piped.stderr)], [0, true], piped.stderr);
  await using other = await tempDir();
  await writeFile(source, Buffer.alloc(MIB));
  await using zeros = await receiverIn(other);
  const empty = await runSender([...ALWAYS, '--ticket-file', zeros.ticketFile, source]);
  assert.deepEqual([empty.status, empty.stderr.includes('proof ')], [0, false], empty.stderr);
  await using blind = await tempDir();
  await using unread = await receiverIn(blind, ['--verify', 'none']);
  await sourceIn(folder);
  const unproven = await runSender([...ALWAYS, '--ticket-file', unread.ticketFile, source]);
  assert.deepEqual([unproven.status, unproven.stderr.includes('proof ')], [3, false], unproven.stderr);
});
