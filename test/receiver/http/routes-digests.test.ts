/** Blocks with SHA-256 and with BLAKE3 in transfers of either kind. */
import assert from 'node:assert/strict';
import type { OutgoingHttpHeaders } from 'node:http';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { SHA256, digestIn, DIGESTS, type DigestAlgorithm } from '../../../common/digest/digest.ts';
import { startReceiverApp } from '../../support/receiver-app.ts';
import { BODY, BODY_BLAKE3, BODY_HEX, startUntouched } from '../../support/untouched.ts';

const KINDS = ['sha-256', 'blake3'] as const;
const WRONG = '00'.repeat(32);
const RIGHT = { 'sha-256': BODY_HEX, blake3: BODY_BLAKE3 } as const;

function hexOf(kind: DigestAlgorithm, bytes: Buffer): string {
  return digestIn(DIGESTS, kind)?.now(bytes).toString('hex') ?? assert.fail(`no ${kind}`);
}

function field(kind: string, hex: string): string {
  return `${kind}=:${Buffer.from(hex, 'hex').toString('base64')}:`;
}

/** In the query, in each of the headers, and in a header beside an unknown algorithm. */
function spellings(kind: DigestAlgorithm, hex: string): [string, OutgoingHttpHeaders][] {
  return [
    [`?digest=${kind.replace('-', '')}:${hex}`, {}],
    ['', { 'content-digest': field(kind, hex) }],
    ['', { 'unencoded-digest': field(kind, hex) }],
    ['', { 'unencoded-digest': `sha-512=:AAAA:, ${field(kind, hex)}` }],
  ];
}

test('a block may come with either digest; the transfer records its own', async () => {
  for (const own of KINDS) {
    await using at = await startUntouched({ digest: own });
    const { table } = at.app.transfer.claimed();
    for (const given of KINDS) {
      for (const [query, headers] of spellings(given, RIGHT[given])) {
        const answer = await at.put(query, headers);
        assert.equal(answer.status, 200, `${given} ${query}`);
        const name = own === 'sha-256' ? 'sha256' : 'blake3';
        const other = own === 'sha-256' ? 'blake3' : 'sha256';
        assert.deepEqual([answer.json()[name], answer.json()[other]], [RIGHT[own], undefined]);
        assert.equal(table.digestOf(2).toString('hex'), RIGHT[own]);
        // Back to the old content, so that the next one must be written.
        const old = Buffer.alloc(BODY.length, 1);
        await at.put(`?digest=sha256:${hexOf('sha-256', old)}`, {}, old);
        assert.equal(table.digestOf(2).toString('hex'), hexOf(own, old));
      }
    }
  }
});

test('nothing is written unless every given digest matches', async () => {
  for (const own of KINDS) {
    await using at = await startUntouched({ digest: own });
    for (const given of KINDS) {
      for (const [query, headers] of spellings(given, WRONG)) {
        await at.refuses(400, 'digest-mismatch', query, headers);
      }
      const other = given === 'blake3' ? 'sha-256' : 'blake3';
      const query = `?digest=${other.replace('-', '')}:${RIGHT[other]}`;
      await at.refuses(400, 'digest-mismatch', query, { 'content-digest': field(given, WRONG) });
      const both = `${field(other, RIGHT[other])}, ${field(given, WRONG)}`;
      await at.refuses(400, 'digest-mismatch', '', { 'unencoded-digest': both });
      await at.refuses(400, 'digest-mismatch', '', { 'unencoded-digest': field(given, RIGHT[other]) });
    }
    const [one, two] = KINDS.map((kind) => field(kind, RIGHT[kind]));
    assert.equal((await at.put('', { 'content-digest': `${one}, ${two}` })).status, 200);
  }
});

test('Content-Digest of an encoded body is compared with the encoded bytes', async () => {
  for (const own of KINDS) {
    await using at = await startUntouched({ digest: own });
    const body = zstdCompressSync(BODY);
    const coding = { 'content-encoding': 'zstd', 'unencoded-digest': field('sha-256', BODY_HEX) };
    for (const given of KINDS) {
      const wrong = { ...coding, 'content-digest': field(given, RIGHT[given]) };
      await at.refuses(400, 'digest-mismatch', '', wrong, body);
    }
    for (const given of KINDS) {
      const right = { ...coding, 'content-digest': field(given, hexOf(given, body)) };
      assert.equal((await at.put('', right, body, 4)).status, given === 'sha-256' ? 201 : 200);
    }
  }
});

test('every response about a block of a blake3 transfer names the algorithm', async () => {
  await using at = await startUntouched({ digest: 'blake3' });
  const put = await at.put(`?digest=sha256:${BODY_HEX}`, {}, BODY, 5);
  assert.deepEqual([put.status, put.json()['blake3'], put.json()['sha256']], [201, BODY_BLAKE3, undefined]);
  for (const method of ['HEAD', 'GET']) {
    const { headers } = await at.app.request(method, '/blocks/5');
    assert.equal(headers.etag, `"blake3:${BODY_BLAKE3}"`);
    assert.equal(headers['repr-digest'], field('blake3', BODY_BLAKE3));
  }
  const { body } = await at.app.request('GET', '/blocks?from=5&count=1', {
    headers: { accept: 'text/plain' },
  });
  assert.equal(body.toString(), `5 durable blake3:${BODY_BLAKE3}\n`);
  const again = await at.put(`?digest=sha256:${BODY_HEX}`, { 'if-none-match': '*' }, BODY, 5);
  assert.deepEqual([again.status, again.json()['blake3']], [412, BODY_BLAKE3]);
  const named = { 'if-none-match': `"blake3:${BODY_BLAKE3}"` };
  assert.equal((await at.put(`?digest=sha256:${BODY_HEX}`, named, BODY, 5)).status, 412);
  const unnamed = { 'if-none-match': `"${BODY_BLAKE3}"` };
  assert.equal((await at.put(`?digest=sha256:${BODY_HEX}`, unnamed, BODY, 5)).status, 200);
});

test('a receiver without BLAKE3 says so, and accepts a SHA-256 beside it', async () => {
  await using at = await startUntouched({ digests: [SHA256] });
  const status = await at.app.request('GET', '/transfer');
  assert.deepEqual([status.json()['digest'], status.json()['digests']], ['sha-256', ['sha-256']]);
  for (const [query, headers] of spellings('blake3', BODY_BLAKE3)) {
    await at.refuses(400, 'digest-unsupported', query, headers);
  }
  const both = `${field('blake3', WRONG)}, ${field('sha-256', BODY_HEX)}`;
  assert.equal((await at.put('', { 'unencoded-digest': both })).status, 200);
});

test('the claim chooses the digest; a claim with another digest is refused', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const claim = async (members: object): ReturnType<typeof app.request> =>
    await app.request('PUT', '/transfer', {
      body: JSON.stringify({ size: 65_536, blockSize: 65_536, source: {}, ...members }),
    });
  const before = await app.request('GET', '/transfer');
  assert.deepEqual([before.json()['digest'], before.json()['digests']], [null, KINDS]);
  for (const digest of ['sha256', 'BLAKE3', 'md5', '', null, 3, ['blake3']]) {
    const answer = await claim({ digest });
    assert.deepEqual([answer.status, answer.code], [400, 'digest-unsupported'], JSON.stringify(digest));
    assert.equal(answer.json()['hint'], 'without "digest" it is sha-256');
  }
  const first = await claim({ digest: 'blake3' });
  assert.deepEqual([first.status, first.json()['digest']], [201, 'blake3']);
  assert.equal((await claim({ digest: 'blake3' })).status, 200);
  for (const digest of ['sha-256', undefined]) {
    const answer = await claim({ digest });
    assert.deepEqual([answer.status, answer.code], [409, 'transfer-mismatch']);
    assert.match(String(answer.json()['detail']), /it uses blake3 digests, not sha-256; leave --digest out/);
  }
  const other = await claim({ size: 65_537, digest: 'sha-256' });
  assert.match(String(other.json()['detail']), /bytes.*--discard-transfer/);
});

test('a claim without a digest gets SHA-256', async () => {
  await using app = await startReceiverApp({ blockCount: null, digests: [SHA256] });
  const claim = async (members: object): ReturnType<typeof app.request> =>
    await app.request('PUT', '/transfer', {
      body: JSON.stringify({ size: 65_536, blockSize: 65_536, source: {}, ...members }),
    });
  const refused = await claim({ digest: 'blake3' });
  assert.deepEqual([refused.status, refused.code], [400, 'digest-unsupported']);
  assert.match(String(refused.json()['detail']), /can compute sha-256 digests, not blake3; npm ci/);
  assert.deepEqual([(await claim({})).status, (await claim({ digest: 'sha-256' })).status], [201, 200]);
});
