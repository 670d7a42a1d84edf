/** A copy is proven once more: by a repeated run and by --check; what others wrote, or changed, is listed. */
import assert from 'node:assert/strict';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  eventsOf,
  runReceiver,
  runSender,
  sendAll,
  sha256sum,
  startReceiver,
  startSender,
  until,
} from '../support/processes.ts';
import { runOk, type Ended } from '../support/run.ts';
import { isGoodForSshKeygen } from '../support/ssh-keygen.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const SIZE = 8 * MIB;
const BLOCK = 64 * 1024;
const JSON_LINES = ['--progress', 'json'];
const NONE = { count: 0, ranges: [] };

async function changeByte(path: string, offset: number): Promise<void> {
  await using file = await open(path, 'r+');
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, offset);
  await file.write(Buffer.of((buffer[0] ?? 0) ^ 1), 0, 1, offset);
}

function lastOf({ stdout }: Ended): Record<string, unknown> {
  return eventsOf(stdout).at(-1) ?? {};
}

function differencesOf(ended: Ended): unknown[] {
  const { event, sourceDifferent, targetDifferent, missing } = lastOf(ended);
  return [ended.status, event, sourceDifferent, targetDifferent, missing];
}

for (const kind of ['file', 'device'] as const) {
  const options = { skip: kind === 'device' && skipUnlessLoop };
  test(`a second run and --check read a ${kind} again, and tell what differs`, options, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    const source = join(folder.path, 'source');
    await writeFile(source, prng(seed).bytes(SIZE));
    await using device = kind === 'device' ? await loopDevice(SIZE, { directIo: true }) : undefined;
    const target = device?.path ?? join(folder.path, 'target');
    await using receiver = await startReceiver({ folder: folder.path, target });
    const directly = [...JSON_LINES, '--ticket-file', receiver.ticketFile];
    await sendAll('--block-size', '64KiB', '--ticket-file', receiver.ticketFile, source);
    const sealedAt = Number(new Date((await receiptOf(receiver)).verifiedAt));

    const again = lastOf(await runSender([...directly, source]));
    assert.equal(again['event'], 'done');
    const { verifiedAt } = await receiptOf(receiver);
    assert(Number(new Date(verifiedAt)) > sealedAt, 'the receipt has a new date');
    assert.equal(again['verifiedAt'], verifiedAt);
    assert.deepEqual(differencesOf(await runSender([...directly, '--check', source])), [
      0,
      'compared',
      NONE,
      NONE,
      NONE,
    ]);

    // dd(1), by somebody else.
    const places = ['conv=notrunc', 'status=none', 'bs=1', 'count=9', `seek=${3 * BLOCK + 5}`];
    await runOk('dd', ['if=/dev/urandom', `of=${target}`, ...places]);
    await changeByte(target, 77 * BLOCK);
    const before = await sha256sum(target);
    const ranges = [
      [3, 1],
      [77, 1],
    ];
    for (const check of [[], ['--check']]) {
      const ended = await runSender([...directly, ...check, source]);
      assert.deepEqual(differencesOf(ended), [3, 'compared', NONE, { count: 2, ranges }, NONE], ended.stderr);
    }
    for (const index of [40, 41, 77]) await changeByte(source, index * BLOCK + 9);
    const sourceDifferent = { count: 3, ranges: [[40, 2], ranges[1]] };
    for (const check of [[], ['--check']]) {
      const ended = await runSender([...directly, ...check, source]);
      assert.deepEqual(differencesOf(ended), [3, 'compared', sourceDifferent, { count: 2, ranges }, NONE]);
      assert.match(ended.stderr, /hint: to bring the copy up to date, run 'ddt-receive --update \S+' on the/);
    }
    const text = await runSender(['--ticket-file', receiver.ticketFile, '--check', source]);
    assert.match(text.stdout, /^differs {2}3 of 128 blocks of the source are not .*: blocks 40-41, 77$/m);
    assert.match(text.stdout, /^differs {2}2 of 128 blocks on \S+ are not what was sealed: blocks 3, 77$/m);
    assert.equal(await sha256sum(target), before, 'nothing was written');
  });
}

async function receiptOf(receiver: {
  request(method: string, path: string): Promise<{ body: Buffer }>;
}): Promise<{ verifiedAt: string }> {
  return JSON.parse((await receiver.request('GET', '/receipt')).body.toString()) as { verifiedAt: string };
}

test('--check of a copy that --keep-open left open names what is missing or different', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(SIZE));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const directly = [...JSON_LINES, '--ticket-file', receiver.ticketFile];
  const nothing = await runSender([...directly, '--check', source]);
  assert.deepEqual([nothing.status, lastOf(nothing)['code']], [4, 'not-claimed']);
  const pass = await runSender([...directly, '--keep-open', '--block-size', '64KiB', source]);
  assert.deepEqual([pass.status, lastOf(pass)['event']], [3, 'kept-open'], pass.stderr);
  assert.match(pass.stderr, /not sealed: .*\n.*without --keep-open/);
  assert.equal((await receiver.status()).state, 'open');
  assert.equal((await runSender([...directly, '--check', source])).status, 0);
  await changeByte(target, 5 * BLOCK);
  await changeByte(source, 6 * BLOCK);
  assert.deepEqual(differencesOf(await runSender([...directly, '--check', source])), [
    3,
    'compared',
    { count: 1, ranges: [[6, 1]] },
    { count: 1, ranges: [[5, 1]] },
    NONE,
  ]);
  const missing = await runSender([...directly, '--check', source]);
  assert.deepEqual(differencesOf(missing)[4], { count: 1, ranges: [[5, 1]] });
  const other = join(folder.path, 'other');
  await writeFile(other, Buffer.alloc(MIB));
  const mismatch = await runSender([...directly, '--check', other]);
  assert.deepEqual([mismatch.status, lastOf(mismatch)['code']], [4, 'transfer-mismatch']);
  const done = await sendAll('--ticket-file', receiver.ticketFile, source);
  assert.deepEqual(done.blocksSent, 2);
  await assertEqualFiles(source, target);
});

test('kill -9 of both sides while a sealed copy is checked: the next run reads all of it', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(64 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const directly = [...JSON_LINES, '--ticket-file', receiver.ticketFile];
  await sendAll('--block-size', '64KiB', '--ticket-file', receiver.ticketFile, source);
  for (const check of [['--check'], []]) {
    await using sender = await startSender([...directly, ...check, source]);
    await until('some of it is read', async () => (await receiver.status()).blocks.durable > 0);
    await receiver.end('SIGKILL');
    // Behind the back of both: no old reading, and no old receipt, may hide it.
    await changeByte(target, 900 * BLOCK);
    await receiver.start();
    const ended = await bounded('the sender to end', sender.ended, 60_000);
    assert.equal(ended.status, 3, ended.stderr);
    assert.deepEqual(lastOf(ended)['targetDifferent'], { count: 1, ranges: [[900, 1]] }, ended.stderr);
    await changeByte(target, 900 * BLOCK);
    await using killed = await startSender([...directly, ...check, source]);
    await until('it is read', async () => (await receiver.status()).blocks.durable > 0);
    killed.kill('SIGKILL');
    await killed.ended;
    assert.equal((await runSender([...directly, ...check, source])).status, 0);
  }
});

test('with --verify none --check is refused, and a second run proves nothing', async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const directly = ['--ticket-file', receiver.ticketFile, source];
  await sendAll(...directly);
  await receiver.end('SIGTERM');
  await receiver.start({ options: ['--verify', 'none'] });
  const refused = await runSender(['--check', ...directly]);
  assert.equal(refused.status, 4, refused.stderr);
  assert.match(
    refused.stderr,
    /error: the receiver says: this receiver reads nothing back: it was started with --verify none/,
  );
  const again = await runSender(directly);
  assert.equal(again.status, 3, again.stderr);
  assert.match(again.stdout, /durable, NOT read back/);
});

test('--receipt writes three files that ssh-keygen and ddt-receive --check-receipt take', async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(3 * MIB + 77));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const receipt = join(folder.path, 'receipt.json');
  await sendAll('--block-size', '64KiB', '--receipt', receipt, '--ticket-file', receiver.ticketFile, source);
  const checked = await runReceiver(['--check-receipt', receipt, target]);
  assert.equal(checked.status, 0, checked.stderr);
  const [message, signature] = [await readFile(receipt), await readFile(`${receipt}.sig`, 'utf8')];
  const { root, receiverKey } = JSON.parse(message.toString()) as { root: string; receiverKey: string };
  const namespace = 'ddt-receipt-v1@dd-transfer';
  assert(await isGoodForSshKeygen({ message, signature, namespace }, receiverKey));
  assert.equal(`sha256:${await sha256sum(`${receipt}.digests`)}`, root);
  await changeByte(target, BLOCK);
  const differs = await runReceiver(['--check-receipt', receipt, target]);
  assert.deepEqual([differs.status, /blocks? 1$/m.test(differs.stdout)], [3, true], differs.stderr);
  const other = await runReceiver(['--check-receipt', receipt, join(folder.path, 'ticket')]);
  assert.equal(other.status, 4, 'a receipt of another disk');
  for (const pair of [
    ['--keep-open', '--receipt', receipt],
    ['--check', '--dry-run'],
  ]) {
    const ended = await runSender([...pair, source, receiver.ticket]);
    assert.deepEqual([ended.status, /exclude each other/.test(ended.stderr)], [2, true]);
  }
});
