import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isPin } from '../../common/trust/ticket.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  KIB,
  type Receiver,
  assertEqualFiles,
  sendAll,
  sha256sum,
  startReceiver,
} from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessInstalled('curl', 'openssl');
const seed = freshSeed();
const BLOCK_BYTES = 64 * KIB;
const SIZE_BYTES = 5 * BLOCK_BYTES + 777;
const CLAIM = JSON.stringify({
  size: SIZE_BYTES,
  blockSize: BLOCK_BYTES,
  source: { description: 'a disk, by hand' },
});

interface Desk extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
  /** The lines that are run once, as printed: token file, variables, the function `ddt`. */
  readonly preamble: string;
  /** The lines that do something, as printed but for the number of the block and the name of the disk. */
  readonly examples: readonly string[];
  /** Runs a script behind the preamble. */
  sh(script: string): Promise<Ended>;
}

/** A transfer that was claimed by hand, and what `--curl-help` prints for it. */
async function layDesk(): Promise<Desk> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  await writeFile(source, prng(seed).bytes(SIZE_BYTES));
  const receiver = stack.use(await startReceiver({ folder: folder.path, target, options: ['--curl-help'] }));
  assert.equal((await receiver.request('PUT', '/transfer', Buffer.from(CLAIM))).status, 201);
  // Only now it knows the size of the blocks.
  await receiver.end('SIGTERM');
  await receiver.start();
  await receiver.process.waitForLine(/^ddt -T b /);
  const { stdout } = receiver.process;
  const lines = stdout.slice(stdout.indexOf('# paste')).trim().split('\n');
  const begin = lines.findIndex((line) => line.startsWith('ddt()')) + 1;
  const preamble = lines.slice(0, begin).join('\n').replace(/^I=0 /m, 'I=2 ');
  const owned = stack.move();
  return {
    source,
    target,
    receiver,
    preamble,
    examples: lines.slice(begin).map((line) => line.replace('/dev/sdX', source)),
    sh: async (script) => await run('sh', ['-c', `${preamble}\n${script}`], { cwd: folder.path }),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** @throws AssertionError unless the script ends with 0. */
async function shOk(desk: Desk, script: string): Promise<string> {
  const { status, stdout, stderr } = await desk.sh(script);
  assert.equal(status, 0, `${script}\n${stdout}\n${stderr}`);
  return stdout;
}

const PUT_ALL = `for I in 0 1 2 3 4 5; do
  dd if=source of=b bs=$BS skip=$I count=1 iflag=fullblock status=none
  ddt -T b "$U/blocks/$I?digest=sha256:$(sha256sum <b | cut -c1-64)" || exit 1
done`;

test(
  'the lines of --curl-help, pasted into a shell, show the transfer and repair one block',
  { skip },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using desk = await layDesk();
    const [show, missing, look, read, put] = desk.examples;
    const status: Record<string, unknown> = JSON.parse(await shOk(desk, show ?? ''));
    assert.deepEqual(
      [status['state'], status['size'], status['blockSize'], status['blockCount']],
      ['open', SIZE_BYTES, BLOCK_BYTES, 6],
    );
    assert.equal(await shOk(desk, missing ?? ''), '0 1 2 3 4 5 '.replaceAll(' ', ' absent -\n'));
    const absent = await desk.sh(look ?? '');
    assert.match(absent.stdout, /^HTTP\/1\.1 404 /);
    const done = await shOk(desk, `${read}\n${put}`);
    const digest = await shOk(desk, `${read}\nsha256sum <b | cut -c1-64`);
    const receipt: Record<string, unknown> = JSON.parse(done);
    assert.deepEqual(
      [receipt['index'], receipt['offset'], receipt['length'], receipt['state'], receipt['sha256']],
      [2, 2 * BLOCK_BYTES, BLOCK_BYTES, 'durable', digest.trim()],
    );
    const head = await shOk(desk, look ?? '');
    assert.match(head, /^HTTP\/1\.1 200 /);
    assert.match(head, new RegExp(`^etag: "${digest.trim()}"\r$`, 'im'));
    assert.match(head, /^ddt-block-state: (durable|verified)\r$/im);
    assert.equal(await shOk(desk, missing ?? ''), '0 1 3 4 5 '.replaceAll(' ', ' absent -\n'));
    await shOk(desk, `${read}\ndd if=target bs=$BS skip=2 count=1 status=none | cmp - b`);
    const { mode } = await stat(join(desk.target, '..', 'ddt.hdr'));
    assert.equal(mode & 0o777, 0o600, 'the token is for its owner only');
    assert(!desk.examples.join('\n').includes(desk.receiver.token));
    const pin = /PIN='([^']*)'/.exec(desk.preamble)?.[1] ?? '';
    assert(isPin(pin));
    assert.equal(pin, desk.receiver.pin);
  },
);

test('curl copies a block on the target', { skip }, async () => {
  await using desk = await layDesk();
  const [, , , read, put] = desk.examples;
  await shOk(desk, `${read}\n${put}`);
  const copy = `D=sha256:$(sha256sum <b | cut -c1-64)
ddt -d '{"from":2,"to":4,"digest":"'$D'"}' "$U/copy"`;
  const result: Record<string, unknown> = JSON.parse(await shOk(desk, `${read}\n${copy}`));
  assert.deepEqual([result['index'], result['state']], [4, 'durable']);
  await shOk(desk, `${read}\ndd if=target bs=$BS skip=4 count=1 status=none | cmp - b`);
});

test(
  'a disk that was put by curl in every spelling needs nothing of ddt-send but the seal',
  { skip },
  async () => {
    await using desk = await layDesk();
    const hex = '?digest=sha256:$(sha256sum <b | cut -c1-64)"';
    const base64 = 'sha-256=:$(openssl dgst -sha256 -binary b | base64):"';
    const spellings = [
      `ddt -T b "$U/blocks/$I${hex}`,
      `ddt -T - "$U/blocks/$I${hex} <b`,
      `ddt -T b -H "Content-Digest: ${base64} "$U/blocks/$I"`,
      `zstd -qf b && ddt -T b.zst -H "Content-Encoding: zstd" "$U/blocks/$I${hex}`,
      `zstd -qf b && ddt -T b.zst -H "Content-Encoding: zstd" -H "Unencoded-Digest: ${base64} "$U/blocks/$I"`,
      `gzip -kf b && ddt -T b.gz -H "Content-Encoding: gzip" "$U/blocks/$I${hex}`,
    ];
    for (const [index, spelling] of spellings.entries()) {
      const read = `I=${index}; dd if=source of=b bs=$BS skip=$I count=1 iflag=fullblock status=none`;
      const receipt: Record<string, unknown> = JSON.parse(await shOk(desk, `${read}\n${spelling}`));
      assert.deepEqual([receipt['index'], receipt['state']], [index, 'durable'], spelling);
    }
    assert.equal(await shOk(desk, desk.examples[1] ?? ''), '', 'nothing is missing');
    await assertEqualFiles(desk.source, desk.target);
    const done = await sendAll('--ticket-file', desk.receiver.ticketFile, desk.source);
    assert.deepEqual([done.blocksSent, done.blocksZero, done.blocksSkipped], [0, 0, 6]);
  },
);

/** `other` has another content than the block, `b` is the block, `D` the query that describes `b`. */
const PREPARE = `I=2; dd if=source of=b bs=$BS skip=$I count=1 iflag=fullblock status=none
head -c $BS /dev/urandom >other; head -c 1000 b >short; (cat b; echo) >long
digest_of() { echo "digest=sha256:$(sha256sum <"$1" | cut -c1-64)"; }
D="$(digest_of b)" O="$(digest_of other)" CURL="curl -sS -k --pinnedpubkey $PIN --fail-with-body"`;
const OTHER_PIN = `sha256//${Buffer.alloc(32).toString('base64')}`;

/** What is tried, and the code in the problem document; null: curl itself refuses, and exits with 90. */
const REFUSALS: readonly (readonly [name: string, script: string, code: string | null])[] = [
  ['a wrong digest', 'ddt -T other "$U/blocks/2?$D"', 'digest-mismatch'],
  ['no digest', 'ddt -T other "$U/blocks/2"', 'digest-required'],
  ['a short body', 'ddt -T short "$U/blocks/2?$(digest_of short)"', 'length-mismatch'],
  ['a short body of no known length', 'ddt -T - "$U/blocks/2?$(digest_of short)" <short', 'length-mismatch'],
  ['a body that is too long', 'ddt -T long "$U/blocks/2?$(digest_of long)"', 'too-large'],
  ['a long body of no known length', 'ddt -T - "$U/blocks/2?$(digest_of long)" <long', 'too-large'],
  [
    'a zstd body with the digest of another block',
    'zstd -qf other; ddt -T other.zst -H "Content-Encoding: zstd" "$U/blocks/2?$D"',
    'digest-mismatch',
  ],
  [
    'a zstd body that grows beyond the block',
    `head -c 9000000 /dev/zero >bomb; zstd -qf bomb
     ddt -T bomb.zst -H "Content-Encoding: zstd" "$U/blocks/2?$(digest_of bomb)"`,
    'length-mismatch',
  ],
  ['no zstd at all', 'ddt -T other -H "Content-Encoding: zstd" "$U/blocks/2?$O"', 'decode-failed'],
  ['another coding', 'ddt -T other -H "Content-Encoding: br" "$U/blocks/2?$O"', 'unsupported-encoding'],
  ['a missing token', '$CURL -T other "$U/blocks/2?$O"', 'token-missing'],
  [
    'a damaged token',
    `sed 's/....$/AAAA/' ddt.hdr >bad.hdr; $CURL -H @bad.hdr -T other "$U/blocks/2?$O"`,
    'token-invalid',
  ],
  ['a wrong pin', `PIN='${OTHER_PIN}'; ddt -T other "$U/blocks/2?$O"`, null],
  ['a block beyond the last', 'ddt -T other "$U/blocks/6?$O"', 'block-out-of-range'],
  ['another spelling of a number', 'ddt -T other "$U/blocks/02?$O"', 'not-found'],
];
/** 22: an answer of 400 or more. A body that is refused while it comes may see the connection reset first. */
const EXITS_OF_REFUSAL: readonly (number | null)[] = [22, 55, 56];
const EXIT_WRONG_PIN = 90;

test('what is refused by curl leaves the target as it was', { skip }, async (t) => {
  await using desk = await layDesk();
  await shOk(desk, `${PREPARE}\n${PUT_ALL}`);
  const before = await sha256sum(desk.target);
  assert.equal(before, await sha256sum(desk.source));
  for (const [name, script, code] of REFUSALS) {
    await t.test(name, async () => {
      const ended = await desk.sh(`${PREPARE}\n${script}`);
      const output = `${ended.stdout} ${ended.stderr}`;
      if (code === null) assert.equal(ended.status, EXIT_WRONG_PIN, output);
      else assert(EXITS_OF_REFUSAL.includes(ended.status), output);
      if (ended.status === 22) assert.equal(JSON.parse(ended.stdout).code, code);
      else assert(code === null || code === 'too-large', output);
      assert.equal(await sha256sum(desk.target), before, 'the target is as it was');
      const look = await shOk(
        desk,
        `${PREPARE}\nddt -I "$U/blocks/2" | grep -c "$(sha256sum <b | cut -c1-64)"`,
      );
      assert.equal(look, '1\n', 'the block is listed as before');
    });
  }
});
