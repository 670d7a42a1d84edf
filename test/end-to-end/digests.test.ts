/** Transfers with BLAKE3 and SHA-256, also between ends of which one lacks BLAKE3. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { freshSeed, prng } from '../support/prng.ts';
import {
  KIB,
  type Receiver,
  PROGRAMS,
  assertEqualFiles,
  doneOf,
  environment,
  runSender,
  sendAll,
  startReceiver,
} from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';
import { projectWithoutBlake3 } from '../support/without-blake3.ts';

const seed = freshSeed();
const BLOCK_BYTES = 64 * KIB;
const SIZE_BYTES = 5 * BLOCK_BYTES + 777;
const BLOCKS = ['--block-size', '64KiB'];
const without = await projectWithoutBlake3();
after(async () => await without[Symbol.asyncDispose]());

interface Scene extends AsyncDisposable {
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
}

/** @param scripts folder of the receiver's command. */
async function makeScene(scripts = PROGRAMS): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  const bytes = prng(seed).bytes(SIZE_BYTES);
  bytes.fill(0, BLOCK_BYTES, 2 * BLOCK_BYTES);
  await writeFile(source, bytes);
  const receiver = stack.use(await startReceiver({ folder: folder.path, target, scripts }));
  const owned = stack.move();
  const dispose = async (): Promise<void> => await owned.disposeAsync();
  return { folder: folder.path, source, target, receiver, [Symbol.asyncDispose]: dispose };
}

/** A sender without the package. */
async function runWithout(...options: readonly string[]): Promise<Ended> {
  return await run(join(without.scripts, 'ddt-send'), options, { env: environment() });
}

function argumentsOf({ receiver, source }: Scene, ...options: readonly string[]): string[] {
  return [...BLOCKS, '--progress', 'json', '--ticket-file', receiver.ticketFile, ...options, source];
}

/** Algorithm of the transfer and of its receipt after sending it, and after sending it again. */
async function assertComplete(scene: Scene, digest: string): Promise<void> {
  const { receiver, source, target, folder } = scene;
  await assertEqualFiles(source, target);
  const { state, digest: claimed } = await receiver.status();
  assert.deepEqual([state, claimed], ['sealed', digest]);
  const path = join(folder, 'receipt.json');
  const again = await sendAll(...argumentsOf(scene, '--receipt', path));
  assert.deepEqual([again.blocksSent, again.blocksSkipped], [0, 6]);
  const receipt: Record<string, unknown> = JSON.parse(await readFile(path, 'utf8'));
  assert.deepEqual([receipt['digest'], receipt['root']], [digest, again.root]);
}

async function claimBlake3({ receiver }: Scene): Promise<void> {
  const source = { description: 'by hand' };
  const claim = { size: SIZE_BYTES, blockSize: BLOCK_BYTES, source, digest: 'blake3' };
  const { status } = await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  assert.equal(status, 201);
}

test('if both ends have BLAKE3 a new transfer uses it, unless --digest says otherwise', async (t) => {
  t.diagnostic(`seed ${seed}`);
  for (const [choice, digest] of [
    ['auto', 'blake3'],
    ['blake3', 'blake3'],
    ['sha-256', 'sha-256'],
  ] as const) {
    await using scene = await makeScene();
    doneOf(await runSender(argumentsOf(scene, '--digest', choice)));
    await assertComplete(scene, digest);
    const other = digest === 'blake3' ? 'sha-256' : 'blake3';
    const refused = await runSender(argumentsOf(scene, '--digest', other));
    assert.equal(refused.status, 4);
    assert.match(refused.stderr, new RegExp(`it uses ${digest} digests, not ${other}`));
    assert.match(refused.stderr, /hint: leave --digest out/);
  }
});

test('a pipe uses BLAKE3 as well, when its size is fixed and when it is resumed', async () => {
  await using scene = await makeScene();
  const { source, receiver } = scene;
  const pipe = async (size: number): Promise<Ended> => {
    const options = [...BLOCKS, '--progress', 'json', '--ticket-file', receiver.ticketFile, '-'];
    const command = `head -c ${size} "$0" | "$@"`;
    return await run('sh', ['-c', command, source, join(PROGRAMS, 'ddt-send'), ...options], {
      env: environment(),
    });
  };
  doneOf(await pipe(SIZE_BYTES));
  assert.deepEqual(
    [(await receiver.status()).digest, (await receiver.status()).size],
    ['blake3', SIZE_BYTES],
  );
  assert.equal(doneOf(await pipe(SIZE_BYTES)).blocksSkipped, 6);
  await assertEqualFiles(source, scene.target);
});

test('a sender without BLAKE3 uses SHA-256', async () => {
  await using scene = await makeScene();
  const refused = await runWithout(...argumentsOf(scene, '--digest', 'blake3'));
  assert.equal(refused.status, 4);
  assert.match(refused.stderr, /error: blake3 digests cannot be computed here\n.*hint: npm ci/s);
  assert.equal((await scene.receiver.status()).state, 'unclaimed');
  doneOf(await runWithout(...argumentsOf(scene)));
  await assertComplete(scene, 'sha-256');
});

test('a receiver without BLAKE3 gets SHA-256', async () => {
  await using scene = await makeScene(without.scripts);
  assert.deepEqual((await scene.receiver.status()).digests, ['sha-256']);
  const refused = await runSender(argumentsOf(scene, '--digest', 'blake3'));
  assert.equal(refused.status, 4);
  assert.match(refused.stderr, /error: the receiver cannot compute blake3 digests\n.*hint: run npm ci/s);
  doneOf(await runSender(argumentsOf(scene)));
  await assertComplete(scene, 'sha-256');
});

test('two ends without BLAKE3 use SHA-256', async () => {
  await using scene = await makeScene(without.scripts);
  doneOf(await runWithout(...argumentsOf(scene)));
  await assertComplete(scene, 'sha-256');
});

test('a transfer with BLAKE3 refuses a sender without it, and resumes with one that has it', async () => {
  await using scene = await makeScene();
  await claimBlake3(scene);
  for (const more of [[], ['--dry-run']]) {
    const refused = await runWithout(...argumentsOf(scene, ...more));
    assert.equal(refused.status, 4);
    assert.match(refused.stdout, /"code":"digest-unsupported"/);
    assert.match(refused.stderr, /uses blake3 digests, which cannot be .*hint: npm ci/s);
  }
  const asked = await runWithout(...argumentsOf(scene, '--digest', 'sha-256'));
  assert.deepEqual([asked.status, /leave --digest out/.test(asked.stderr)], [4, true]);
  doneOf(await runSender(argumentsOf(scene)));
  await assertComplete(scene, 'blake3');
});

test('a receiver that has lost BLAKE3 refuses to start on such a transfer, and nothing is lost', async () => {
  await using scene = await makeScene();
  const { receiver, target } = scene;
  await claimBlake3(scene);
  const first = (await readFile(scene.source)).subarray(0, BLOCK_BYTES);
  const sha256 = hash('sha256', first);
  assert.equal((await receiver.request('PUT', `/blocks/0?digest=sha256:${sha256}`, first)).status, 201);
  await receiver.end('SIGTERM');
  const place = ['--listen', `${receiver.host}:0`, '--state-dir', receiver.stateDir];
  const refused = await run(join(without.scripts, 'ddt-receive'), [...place, target], { env: environment() });
  assert.equal(refused.status, 4, refused.stderr);
  assert.match(
    refused.stderr,
    /can compute sha-256 digests, not blake3\n.*hint: npm ci.*--discard-transfer/s,
  );
  await receiver.start();
  const sent = doneOf(await runSender(argumentsOf(scene)));
  assert.deepEqual([sent.blocksSkipped, sent.blocksSent, sent.blocksZero], [1, 4, 1]);
  await assertComplete(scene, 'blake3');
});

test(
  'blocks that were put by curl with sha256sum are found by ddt-send in a BLAKE3 transfer',
  { skip: unlessInstalled('b3sum', 'curl') },
  async () => {
    await using scene = await makeScene();
    const { receiver, folder } = scene;
    await claimBlake3(scene);
    const header = join(folder, 'ddt.hdr');
    await writeFile(header, `Authorization: Bearer ${receiver.token}\n`);
    const script = `set -e
ddt() { curl -sS -k --pinnedpubkey '${receiver.pin}' -H @ddt.hdr --fail-with-body "$@"; }
U=https://${receiver.host}:${receiver.port}
for I in 0 1 2 3 4 5; do
  dd if=source of=b bs=${BLOCK_BYTES} skip=$I count=1 iflag=fullblock status=none
  ddt -T b "$U/blocks/$I?flush=n&digest=sha256:$(sha256sum <b | cut -c1-64)" >/dev/null
  echo "$I blake3:$(b3sum <b | cut -c1-64)" >>expected
done
dd if=source of=b bs=${BLOCK_BYTES} count=1 status=none
ddt -T b "$U/blocks/0?digest=blake3:$(b3sum <b | cut -c1-64)" >/dev/null
ddt -X POST "$U/flush" >/dev/null
ddt -H 'Accept: text/plain' "$U/blocks" | cut -d' ' -f1,3 | cmp - expected`;
    await runOk('sh', ['-c', script], { cwd: folder });
    const sent = await sendAll(...argumentsOf(scene));
    assert.deepEqual([sent.blocksSent, sent.blocksSkipped], [0, 6]);
    await assertComplete(scene, 'blake3');
  },
);
