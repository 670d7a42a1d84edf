import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { bisectRead, type FailedRead } from '../../../sender/bad-sectors/bisect-read.ts';

interface Disk {
  readonly sizeBytes: number;
  readonly sectorBytes: number;
  /** Sector numbers. */
  readonly bad: ReadonlySet<number>;
  /** Reads return at most so many bytes. */
  readonly shortBytes: number;
}

const anyDisk: fc.Arbitrary<Disk> = fc
  .record({
    sizeBytes: fc.integer({ min: 1, max: 20_000 }),
    sectorBytes: fc.constantFrom(512, 2048, 4096),
    bad: fc.uniqueArray(fc.nat(40)),
    shortBytes: fc.constantFrom(Infinity, 512, 1536, 4096),
  })
  .map((disk) => ({ ...disk, bad: new Set(disk.bad) }));

/** Reads like the kernel: short before a bad sector, an error at one, nothing at the end. */
function readOf(disk: Disk, at: number, end: number, hasShortReads: boolean): number | FailedRead {
  const { sizeBytes, sectorBytes, bad, shortBytes } = disk;
  let reached = Math.min(end, sizeBytes, at + shortBytes);
  for (let sector = Math.floor(at / sectorBytes); sector * sectorBytes < reached; sector++) {
    if (!bad.has(sector)) continue;
    if (hasShortReads && sector * sectorBytes > at) reached = sector * sectorBytes;
    else return { error: new Error(`EIO at ${sector}`) };
  }
  return Math.max(0, reached - at);
}

test('every good byte is read once to its place, every bad sector is reported once, in order', async () => {
  await fc.assert(
    fc.asyncProperty(anyDisk, fc.boolean(), fc.nat(2), async (disk, hasShortReads, skipped) => {
      const { sizeBytes, sectorBytes, bad } = disk;
      const from = Math.min(skipped * 4096, Math.floor(sizeBytes / 4096) * 4096);
      const seen = new Map<number, string>();
      const places: number[] = [];
      const put = (at: number, length: number, what: string): void => {
        places.push(at);
        for (let byte = at; byte < at + length; byte++) {
          assert(!seen.has(byte), `${byte} twice`);
          seen.set(byte, what);
        }
      };
      const reached = await bisectRead({
        from,
        end: sizeBytes,
        sectorBytes,
        readSome: async (at, end) => {
          const result = readOf(disk, at, end, hasShortReads);
          if (typeof result === 'number') put(at, result, 'read');
          return result;
        },
        onUnreadable: (at, end) => put(at, end - at, 'bad'),
      });
      assert.equal(reached, sizeBytes);
      assert.deepEqual(
        places,
        [...places].sort((a, b) => a - b),
      );
      for (let byte = from; byte < sizeBytes; byte++) {
        assert.equal(seen.get(byte), bad.has(Math.floor(byte / sectorBytes)) ? 'bad' : 'read', `${byte}`);
      }
    }),
    { numRuns: 500 },
  );
});

test('a source that ends early is distinguished from one that cannot be read', async () => {
  const disk = { sizeBytes: 5000, sectorBytes: 512, bad: new Set([2]), shortBytes: Infinity };
  const bad: number[] = [];
  const reached = await bisectRead({
    from: 0,
    end: 65_536,
    sectorBytes: 512,
    readSome: async (at, end) => readOf(disk, at, end, false),
    onUnreadable: (at) => void bad.push(at),
  });
  assert.deepEqual([reached, bad], [5000, [1024]]);
});

test('one bad sector of a block costs a few reads, and an exception ends the reading at once', async () => {
  const disk = { sizeBytes: 4 * 2 ** 20, sectorBytes: 512, bad: new Set([5000]), shortBytes: Infinity };
  let reads = 0;
  const reading = {
    from: 0,
    end: disk.sizeBytes,
    sectorBytes: 512,
    readSome: async (at: number, end: number) => {
      reads++;
      return readOf(disk, at, end, false);
    },
  };
  await bisectRead({ ...reading, onUnreadable: () => {} });
  assert.equal(reads, 1 + 2 * 13);
  reads = 0;
  const stop = new Error('stop');
  const onUnreadable = (): never => {
    throw stop;
  };
  await assert.rejects(bisectRead({ ...reading, onUnreadable }), stop);
  assert(reads < 27);
});
