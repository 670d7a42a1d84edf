import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { systemClock } from '../../../common/clock.ts';
import { BlockEncoder, shareOfSample, type Codec } from '../../../sender/compression/encode-block.ts';
import { parseCompression } from '../../../sender/compression/compress-option.ts';
import { coded } from '../../support/coded.ts';
import { freshSeed, prng } from '../../support/prng.ts';
import { KIB, MIB } from '../../support/processes.ts';

const seed = freshSeed();
const TEXT = Buffer.from('the quick brown fox jumps over the lazy dog, '.repeat(25_000)).subarray(0, MIB);
const NOISE = prng(seed).bytes(MIB);

function encoderOf(
  compression: 'auto' | number,
  codec?: Codec,
): { encoder: BlockEncoder; warnings: string[] } {
  const warnings: string[] = [];
  const warn = (warning: string): void => void warnings.push(warning);
  const parts = codec === undefined ? {} : { codec };
  return {
    encoder: new BlockEncoder({ compression, cores: 2, clock: systemClock, warn, ...parts }),
    warnings,
  };
}

/** Records the calls. */
function counting(encode: Codec['encode']): { codec: Codec; levels: number[] } {
  const levels: number[] = [];
  const codec: Codec = {
    encode: async (bytes, level) => {
      levels.push(level);
      return await encode(bytes, level);
    },
    decode: async () => await Promise.resolve(Buffer.from(TEXT)),
  };
  return { codec, levels };
}

test('auto, none, zstd and a level are accepted, nothing else', () => {
  assert.deepEqual(['auto', 'none', 'zstd', 'zstd:1', 'zstd:19'].map(parseCompression), [
    'auto',
    'none',
    3,
    1,
    19,
  ]);
  for (const text of ['', 'zstd:', 'zstd:0', 'zstd:01', 'zstd:20', 'zstd:-1', 'gzip', 'AUTO', '3']) {
    assert.throws(() => parseCompression(text), coded('usage'), text);
  }
});

test('an encoded block decodes to the block and is smaller, at every length', async (t) => {
  t.diagnostic(`seed ${seed}`);
  const random = prng(seed);
  for (const compression of ['auto', 1, 3, 19] as const) {
    const { encoder, warnings } = encoderOf(compression);
    const lengths = [1, 511, 512, 64 * KIB - 1, 64 * KIB, 1 + random.below(MIB), MIB];
    for (const length of lengths) {
      for (const bytes of [TEXT.subarray(0, length), NOISE.subarray(0, length), mixed(length)]) {
        const before = Buffer.from(bytes);
        const encoded = await encoder.encode(0, bytes);
        assert(before.equals(bytes));
        if (encoded === undefined) continue;
        assert(encoded.length < length);
        assert(zstdDecompressSync(encoded).equals(before), `${compression}, ${length} bytes`);
      }
    }
    assert.deepEqual(warnings, []);
  }
});

function mixed(length: number): Buffer {
  const half = Math.floor(length / 2);
  return Buffer.concat([TEXT.subarray(0, half), NOISE.subarray(half, length)]);
}

test('text is encoded, noise is not', async () => {
  for (const compression of ['auto', 3] as const) {
    const { encoder } = encoderOf(compression);
    assert(((await encoder.encode(0, TEXT))?.length ?? Infinity) < MIB / 100);
    assert.equal(await encoder.encode(1, NOISE), undefined);
  }
  assert(shareOfSample(NOISE) > 0.99);
  assert(shareOfSample(TEXT) < 0.1);
  const half = shareOfSample(mixed(MIB));
  assert(half > 0.45 && half < 0.6, `${half}`);
});

test('after noise the next text is found within sixteen blocks', async () => {
  const { encoder } = encoderOf('auto');
  for (let index = 0; index < 100; index++) assert.equal(await encoder.encode(index, NOISE), undefined);
  let missed = 0;
  while ((await encoder.encode(missed, TEXT)) === undefined) missed++;
  assert(missed <= 15, `${missed}`);
  for (let index = 0; index < 4; index++) assert.notEqual(await encoder.encode(index, TEXT), undefined);
});

test('a block that a faulty machine encodes wrongly is sent plain, with a warning', async () => {
  const faults: readonly Codec['decode'][] = [
    async () => await Promise.resolve(Buffer.concat([TEXT.subarray(1), TEXT.subarray(0, 1)])),
    async () => await Promise.resolve(Buffer.from(TEXT.subarray(1))),
    async () => await Promise.reject(new Error('corrupt')),
  ];
  for (const decode of faults) {
    const encode = async (): Promise<Buffer> => await Promise.resolve(Buffer.from('x'));
    const { encoder, warnings } = encoderOf(3, { encode, decode });
    assert.equal(await encoder.encode(812, TEXT), undefined);
    assert.deepEqual(warnings, [
      'block 812 differed after compressing and decompressing, and is sent uncompressed: ' +
        "this machine's memory or processor may be faulty",
    ]);
  }
});

test('the slower the line the higher the level; a very fast one gets none', async () => {
  for (const [sendingMs, expected] of [
    [1e6, 9],
    [0.001, 0],
  ] as const) {
    const { codec, levels } = counting(async () => await Promise.resolve(Buffer.from('x')));
    const { encoder } = encoderOf('auto', codec);
    for (let block = 0; block < 20; block++) {
      const encoded = await encoder.encode(block, TEXT);
      encoder.noteSent({ wireBytes: MIB, isEncoded: encoded !== undefined, sendingMs, lanes: 1 });
      if (encoded === undefined) levels.push(0);
    }
    assert.equal(levels[0], 1);
    assert.equal(levels.at(-1), expected, levels.join());
  }
});

test('a line counts as slow only after a plain block was sent', async () => {
  const { codec, levels } = counting(async () => await Promise.resolve(Buffer.from('x')));
  const { encoder } = encoderOf('auto', codec);
  for (let block = 0; block < 12; block++) {
    const isEncoded = (await encoder.encode(block, TEXT)) !== undefined;
    if (!isEncoded) levels.push(0);
    encoder.noteSent({ wireBytes: 1, isEncoded, sendingMs: 1000, lanes: 1 });
  }
  const plainAt = levels.indexOf(0);
  assert.deepEqual(new Set(levels.slice(0, plainAt)), new Set([1]), levels.join());
  assert((levels.at(-1) ?? 0) > 1, levels.join());
});

test('on a slow line blocks are encoded even if the sample missed what shrinks', async () => {
  const { encoder } = encoderOf('auto');
  // The sample sees only noise.
  const missed = Buffer.concat([NOISE.subarray(0, MIB / 8), TEXT]).subarray(0, MIB);
  NOISE.copy(missed, 0);
  for (let at = 4096; at < MIB; at += MIB / 8) TEXT.copy(missed, at, 0, MIB / 16);
  assert(shareOfSample(missed) > 0.95);
  for (const [sendingMs, isEncoded] of [
    [1, false],
    [1e6, true],
  ] as const) {
    for (let block = 0; block < 50; block++)
      encoder.noteSent({ wireBytes: MIB, isEncoded: false, sendingMs, lanes: 1 });
    assert.equal((await encoder.encode(0, missed)) !== undefined, isEncoded);
    assert.equal((await encoder.encode(1, NOISE)) !== undefined, false);
  }
});

test('no more blocks are encoded at once than there are cores', async () => {
  let [running, most] = [0, 0];
  const { codec } = counting(async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    return Buffer.from('x');
  });
  const { encoder } = encoderOf(3, codec);
  await Promise.all(Array.from({ length: 20 }, async (_, index) => await encoder.encode(index, TEXT)));
  assert.equal(most, 2);
});
